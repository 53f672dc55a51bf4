"""``app``: what was typed reaches the page."""

from pathlib import Path

import pytest

pytest.importorskip("streamlit", reason="the page needs the extra 'app'")

from hematovision.app import launch as module


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], dict[str, str]]]:
    seen: list[tuple[list[str], dict[str, str]]] = []

    def launch(arguments: list[str], environment: dict[str, str]) -> int:
        seen.append((arguments, environment))
        return 0

    monkeypatch.setattr(module, "launch", launch)
    return seen


def test_the_page_opens_on_this_computer_alone(run, launched):
    assert run("app").exit_code == 0
    assert launched == [(module.command(), {"HEMATOVISION_MAX_IMAGES": "2000"})]


def test_limits_place_and_proxy_can_be_set(run, launched, tmp_path: Path):
    options = ["--max-images", 9, "--max-upload", 5, "--base-path", "x", "--no-browser"]
    assert run("app", "--port", 9000, "--home", tmp_path, *options).exit_code == 0
    ((arguments, environment),) = launched
    assert arguments == module.command(port=9000, max_upload_mb=5, base_path="x", browser=False)
    assert environment == {
        "HEMATOVISION_MAX_IMAGES": "9",
        "HEMATOVISION_HOME": str(tmp_path),
    }


def test_the_exit_code_of_the_page_is_that_of_the_command(run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "launch", lambda *_: 7)
    assert run("app").exit_code == 7


def test_an_impossible_port_is_wrong_usage(run):
    assert run("app", "--port", 70000).exit_code == 2
