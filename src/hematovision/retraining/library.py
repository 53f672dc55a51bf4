"""The models that a laboratory has: those that come with the program, and those it made here."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hematovision.errors import ModelNotFoundError
from hematovision.model.bundle import MANIFEST
from hematovision.model.registry import DEFAULT_MODEL, bundled_models, find_model
from hematovision.review.store import ReviewStore

__all__ = ["LibraryModel", "ModelLibrary"]

_IN_USE = "model in use"


@dataclass(frozen=True)
class LibraryModel:
    """A model that can be chosen.

    Parameters
    ----------
    name : str
        What it is called here.
    folder : Path
        The bundle.
    is_bundled : bool
        Whether it came with the program.
    """

    name: str
    folder: Path
    is_bundled: bool

    @property
    def report(self) -> Path | None:
        """Its ``report.html``, where it has one."""
        path = self.folder / "report.html"
        return path if path.is_file() else None


class ModelLibrary:
    """Models by their names.

    Parameters
    ----------
    folder : Path
        Where the models made here are.
    given : iterable of str or Path
        Run folders that lie elsewhere; a bundled name adds nothing.

    Raises
    ------
    ModelNotFoundError
        If a folder is not a bundle, or two models have one name.
    """

    def __init__(self, folder: Path, given: Iterable[str | Path] = ()) -> None:
        self.folder = folder
        bundled = {find_model(name) for name in bundled_models()}
        self._given = [path.resolve() for path in map(find_model, given) if path not in bundled]
        names = Counter(model.name for model in self.models())
        for name in (path.name for path in self._given if names[path.name] > 1):
            raise ModelNotFoundError(
                f"Two models are called {name!r}. Rename the run folder to tell them apart."
            )

    def models(self) -> list[LibraryModel]:
        """Return the bundled models, those given, then those made here, newest first."""
        made = sorted(
            (path.parent for path in self.folder.glob(f"*/{MANIFEST}")),
            key=lambda path: (path / MANIFEST).stat().st_mtime,
            reverse=True,
        )
        names = sorted(bundled_models(), key=lambda name: name != DEFAULT_MODEL)
        bundled = [LibraryModel(name, find_model(name), is_bundled=True) for name in names]
        found = [path for path in made if path.resolve() not in self._given]
        return bundled + [
            LibraryModel(path.name, path, is_bundled=False) for path in (*self._given, *found)
        ]

    def find(self, name: str) -> LibraryModel:
        """Return the model of that name.

        Raises
        ------
        ModelNotFoundError
            If there is none.
        """
        for model in self.models():
            if model.name == name:
                return model
        names = ", ".join(model.name for model in self.models())
        raise ModelNotFoundError(f"There is no model {name!r} here. Choose one of: {names}.")

    def fresh(self, name: str) -> Path:
        """Return a folder for a new model: the name, made safe, with the date and a number."""
        plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "model"
        stem = f"{plain}-{datetime.now(UTC):%Y-%m-%d}"
        taken = {path.name for path in self.folder.glob(f"{stem}*")}
        number = 1
        while (chosen := stem if number == 1 else f"{stem}-{number}") in taken:
            number += 1
        return self.folder / chosen

    def in_use(self, store: ReviewStore) -> LibraryModel:
        """Return the model that answers; where the chosen one is gone, the one that came along."""
        chosen = store.setting(_IN_USE)
        names = {model.name for model in self.models()}
        return self.find(chosen if chosen in names else DEFAULT_MODEL)

    def use(self, model: LibraryModel, store: ReviewStore, by: str) -> None:
        """Let a model answer from now on, for everybody; who chose it is kept."""
        store.set_setting(_IN_USE, model.name, by)
