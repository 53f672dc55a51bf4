"""``app``: what was typed reaches the page."""

from pathlib import Path

import pytest

pytest.importorskip("streamlit", reason="the page needs the extra 'app'")

from hematovision.app import launch as module


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    seen: list[dict] = []

    def launch(**how: object) -> int:
        seen.append(how)
        return 0

    monkeypatch.setattr(module, "launch", launch)
    return seen


def test_the_page_opens_on_this_computer_alone(run, launched):
    assert run("app").exit_code == 0
    (how,) = launched
    assert (how["address"], how["port"], how["browser"]) == ("127.0.0.1", 8501, True)
    assert how["environment"] == {"HEMATOVISION_MAX_IMAGES": "2000"}


def test_limits_place_and_proxy_can_be_set(run, launched, tmp_path: Path):
    options = ["--max-images", 9, "--max-upload", 5, "--base-path", "x", "--no-browser"]
    assert run("app", "--port", 9000, "--home", tmp_path, *options).exit_code == 0
    (how,) = launched
    assert (how["port"], how["max_upload_mb"], how["base_path"]) == (9000, 5, "x")
    assert not how["browser"]
    assert how["environment"] == {
        "HEMATOVISION_MAX_IMAGES": "9",
        "HEMATOVISION_HOME": str(tmp_path),
    }


def test_the_exit_code_of_the_page_is_that_of_the_command(run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "launch", lambda **_: 7)
    assert run("app").exit_code == 7


def test_an_impossible_port_is_wrong_usage(run):
    assert run("app", "--port", 70000).exit_code == 2
