"""``app``: options reach the web app."""

import os
from pathlib import Path

import pytest

pytest.importorskip("streamlit", reason="the page needs the extra 'app'")

from hematovision.app import launch as module
from hematovision.app.launch import Settings


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Settings, dict[str, str]]]:
    seen: list[tuple[Settings, dict[str, str]]] = []

    def launch(settings: Settings, environment: dict[str, str], *, ready: object) -> int:
        seen.append((settings, environment))
        return 0

    monkeypatch.setattr(module, "launch", launch)
    return seen


def test_the_app_listens_on_this_computer_only(run, launched):
    assert run("app").exit_code == 0
    limits = {"HEMATOVISION_MAX_IMAGES": "2000", "HEMATOVISION_MAX_PIXELS": "25000000"}
    assert launched == [(Settings(), limits)]


def test_limits_data_folder_and_proxy_can_be_set(run, launched, tmp_path: Path):
    options = ["--max-images", 9, "--max-pixels", 10**6, "--max-upload", 5, "--base-path", "x"]
    hosts = ["--allowed-host", "a.example", "--allowed-host", "b.example", "--no-browser"]
    assert run("app", "--port", 9000, "--home", tmp_path, *options, *hosts).exit_code == 0
    ((settings, environment),) = launched
    assert settings == Settings(
        port=9000,
        max_upload_mb=5,
        base_path="x",
        browser=False,
        allowed_hosts=("a.example", "b.example"),
    )
    assert environment == {
        "HEMATOVISION_MAX_IMAGES": "9",
        "HEMATOVISION_MAX_PIXELS": "1000000",
        "HEMATOVISION_HOME": str(tmp_path),
    }


def test_run_folders_can_be_given(run, launched, tmp_path: Path):
    assert run("app", "--model", tmp_path / "a", "--model", tmp_path / "b").exit_code == 0
    ((_, environment),) = launched
    given = environment["HEMATOVISION_APP_MODELS"].split(os.pathsep)
    assert given == [str(tmp_path / "a"), str(tmp_path / "b")]


def test_the_exit_code_is_that_of_the_app(run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "launch", lambda *_, **__: 7)
    assert run("app").exit_code == 7


def test_an_impossible_port_is_wrong_usage(run):
    assert run("app", "--port", 70000).exit_code == 2


def test_a_file_as_home_is_wrong_usage(run, tmp_path: Path):
    (tmp_path / "file").touch()
    result = run("app", "--home", tmp_path / "file")
    assert result.exit_code == 2
    assert "is a file" in result.stderr
