"""Where the user's data are, and what is only remembered."""

from pathlib import Path

import pytest

from hematovision import home


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own, xdg = ("HEMATOVISION_HOME", "HEMATOVISION_CACHE"), ("XDG_DATA_HOME", "XDG_CACHE_HOME")
    for name in (*own, *xdg, "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)


def test_the_folders_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("HEMATOVISION_HOME", str(tmp_path / "mine"))
    monkeypatch.setenv("HEMATOVISION_CACHE", str(tmp_path / "fast"))
    assert home.data_folder() == tmp_path / "mine"
    assert home.cache_folder() == tmp_path / "fast"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("platform", "data", "cache"),
    [
        ("linux", ".local/share/hematovision", ".cache/hematovision"),
        (
            "darwin",
            "Library/Application Support/hematovision",
            "Library/Caches/hematovision",
        ),
        ("win32", "AppData/Local/hematovision", "AppData/Local/hematovision"),
    ],
)
def test_else_they_are_the_platforms(monkeypatch, tmp_path, platform, data, cache):
    monkeypatch.setattr(home.sys, "platform", platform)
    assert home.data_folder() == tmp_path / data
    assert home.cache_folder() == tmp_path / cache


@pytest.mark.parametrize(
    ("platform", "data", "cache"),
    [("linux", "XDG_DATA_HOME", "XDG_CACHE_HOME"), ("win32", "LOCALAPPDATA", "LOCALAPPDATA")],
)
def test_the_platforms_own_variables_are_followed(monkeypatch, tmp_path, platform, data, cache):
    monkeypatch.setattr(home.sys, "platform", platform)
    for variable, found in ((data, home.data_folder), (cache, home.cache_folder)):
        monkeypatch.setenv(variable, str(tmp_path / variable))
        assert found() == tmp_path / variable / "hematovision"
