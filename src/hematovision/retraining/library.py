"""The model library: bundled models, given models, and models trained in the app."""

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
    """A model of the library."""

    name: str  # display name, unique in the library
    folder: Path  # the bundle
    is_bundled: bool  # whether it is part of the package

    @property
    def report(self) -> Path | None:
        """The model's ``report.html``, if any."""
        path = self.folder / "report.html"
        return path if path.is_file() else None


class ModelLibrary:
    """The models to choose from, by name.

    `folder` contains the run folders of models trained in the app; `given` are other run folders,
    in which bundled names are ignored. Raises `ModelNotFoundError` if a folder is not a bundle, or
    two models have the same name.
    """

    def __init__(self, folder: Path, given: Iterable[str | Path] = ()) -> None:
        self.folder = folder
        bundled = {find_model(name) for name in bundled_models()}
        self._given = [path.resolve() for path in map(find_model, given) if path not in bundled]
        names = Counter(model.name for model in self.models())
        for name in (path.name for path in self._given if names[path.name] > 1):
            raise ModelNotFoundError(f"Two models are called {name!r}. Rename the run folder.")

    def models(self) -> list[LibraryModel]:
        """Return the bundled models, the given ones, then those trained here, newest first."""
        trained = sorted(
            (path.parent for path in self.folder.glob(f"*/{MANIFEST}")),
            key=lambda path: (path / MANIFEST).stat().st_mtime,
            reverse=True,
        )
        names = sorted(bundled_models(), key=lambda name: name != DEFAULT_MODEL)
        bundled = [LibraryModel(name, find_model(name), is_bundled=True) for name in names]
        found = [path for path in trained if path.resolve() not in self._given]
        return bundled + [
            LibraryModel(path.name, path, is_bundled=False) for path in (*self._given, *found)
        ]

    def find(self, name: str) -> LibraryModel:
        """Return a model by name; raise `ModelNotFoundError` if there is none."""
        for model in self.models():
            if model.name == name:
                return model
        names = ", ".join(model.name for model in self.models())
        raise ModelNotFoundError(f"There is no model {name!r} here. Choose one of: {names}.")

    def fresh(self, name: str) -> Path:
        """Return a new folder for a model: a safe form of the name, the date, and a number."""
        plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "model"
        stem = f"{plain}-{datetime.now(UTC):%Y-%m-%d}"
        taken = {path.name for path in self.folder.glob(f"{stem}*")}
        number = 1
        while (chosen := stem if number == 1 else f"{stem}-{number}") in taken:
            number += 1
        return self.folder / chosen

    def in_use(self, store: ReviewStore) -> LibraryModel:
        """Return the chosen model, or the default if none is chosen or it was deleted."""
        chosen = store.setting(_IN_USE)
        names = {model.name for model in self.models()}
        return self.find(chosen if chosen in names else DEFAULT_MODEL)

    def use(self, model: LibraryModel, store: ReviewStore, by: str) -> None:
        """Use a model for everybody from now on; `by` is recorded."""
        store.set_setting(_IN_USE, model.name, by)
