"""Where the user's data are."""

from pathlib import Path

import pytest

from hematovision import home


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HEMATOVISION_HOME", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)


def test_the_folder_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("HEMATOVISION_HOME", str(tmp_path / "mine"))
    assert home.data_folder() == tmp_path / "mine"
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("platform", "folder"),
    [
        ("linux", ".local/share/hematovision"),
        ("darwin", "Library/Application Support/hematovision"),
        ("win32", "AppData/Local/hematovision"),
    ],
)
def test_else_it_is_the_platforms(monkeypatch, tmp_path, platform, folder):
    monkeypatch.setattr(home.sys, "platform", platform)
    assert home.data_folder() == tmp_path / folder


@pytest.mark.parametrize(
    ("platform", "variable"), [("linux", "XDG_DATA_HOME"), ("win32", "LOCALAPPDATA")]
)
def test_the_platforms_own_variables_are_followed(monkeypatch, tmp_path, platform, variable):
    monkeypatch.setattr(home.sys, "platform", platform)
    monkeypatch.setenv(variable, str(tmp_path / "elsewhere"))
    assert home.data_folder() == tmp_path / "elsewhere" / "hematovision"
