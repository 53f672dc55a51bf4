"""Folders with settings files, and the options that a command then gets."""

from pathlib import Path

import pytest

from hematovision.cli import files

__all__ = ["Folders", "folders_of"]


class Folders:
    """A home with a project in it, in which the test runs, and the user's folder of settings."""

    def __init__(self, root: Path) -> None:
        self.home = root / "home"
        self.project = self.home / "project"
        self.current = self.project / "fields"
        self.user = root / "config" / files.NAME
        for folder in (self.current, self.user.parent):
            folder.mkdir(parents=True)

    def write(self, text: str, folder: Path | None = None) -> Path:
        """Write a settings file, by default into the current folder."""
        path = (folder or self.current) / files.NAME
        path.write_text(text, encoding="utf-8")
        return path

    def write_own(self, text: str) -> Path:
        """Write the user's own settings file."""
        return self.write(text, self.user.parent)


def folders_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folders:
    """Make the folders, and let the program run in them."""
    found = Folders(tmp_path.resolve())
    monkeypatch.delenv(files.VARIABLE, raising=False)
    monkeypatch.setenv("HOME", str(found.home))
    monkeypatch.setenv("USERPROFILE", str(found.home))
    monkeypatch.setattr(files, "config_folder", lambda: found.user.parent)
    monkeypatch.setattr("hematovision.cli.settings.config_folder", lambda: found.user.parent)
    monkeypatch.chdir(found.current)
    return found
