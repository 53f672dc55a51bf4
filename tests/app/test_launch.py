"""How the page is started."""

import subprocess
import sys

import pytest

from hematovision.app.launch import command, launch
from hematovision.errors import MissingExtraError


def options(arguments: list[str]) -> dict[str, str]:
    return dict(a.removeprefix("--").split("=", 1) for a in arguments if a.startswith("--"))


def test_only_this_computer_reaches_it_and_nothing_is_reported():
    found = options(command())
    assert found["server.address"] == "127.0.0.1"
    assert found["server.port"] == "8501"
    assert found["browser.gatherUsageStats"] == "false"
    assert found["client.showErrorDetails"] == "none"
    assert "server.baseUrlPath" not in found


def test_what_was_asked_for_is_passed_on():
    found = options(
        command(port=9000, address="0.0.0.0", max_upload_mb=7, browser=False, base_path="blood")
    )
    assert found["server.port"] == "9000"
    assert found["server.address"] == "0.0.0.0"
    assert found["server.maxUploadSize"] == "7"
    assert found["server.headless"] == "true"
    assert found["server.baseUrlPath"] == "blood"


def test_a_missing_library_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "streamlit", None)
    with pytest.raises(
        MissingExtraError, match=r"web app needs .*'streamlit'.*hematovision\[app\]"
    ):
        launch(command())


def test_the_exit_code_is_that_of_the_page_and_ctrl_c_is_no_failure(
    monkeypatch: pytest.MonkeyPatch,
):
    seen = []

    def run(arguments, *, env, check):
        seen.append((arguments, env["A"]))
        return subprocess.CompletedProcess(arguments, 3)

    monkeypatch.setattr(subprocess, "run", run)
    assert launch(command(port=8765), {"A": "b"}) == 3
    assert seen == [(command(port=8765), "b")]

    def interrupted(*_: object, **__: object):
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "run", interrupted)
    assert launch(command()) == 0
