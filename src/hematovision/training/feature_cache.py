"""The features that were computed before: one SQLite file per backbone.

Its name holds the backbone's SHA-256; its keys are the SHA-256 of the image's bytes and the view,
so that a renamed, copied or re-split image is still known. It may be deleted at any time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import OutputError
from hematovision.files import ensure_folder
from hematovision.home import cache_folder
from hematovision.model.architecture import FEATURES

__all__ = ["FeatureCache", "open_cache"]


class FeatureCache:
    """Features by image content and view, on disk.

    Several threads may use it at once, and several processes.

    Parameters
    ----------
    backbone : str
        SHA-256 of the backbone's weights.
    folder : Path, optional
        Where the file lies; `home.cache_folder` by default.

    Raises
    ------
    OutputError
        If the file cannot be made, or is there but damaged.
    """

    _ROW = FEATURES + 3  # the features, then the mean colour

    def __init__(self, backbone: str, folder: Path | None = None) -> None:
        folder = ensure_folder(folder or cache_folder())
        self._lock = Lock()  # SQLite may have been built without its own.
        # The decoder's rules are part of the key: if they change, so does the version here.
        self.path = folder / f"features-v1-{backbone[:32]}.sqlite"
        try:
            self._connection = sqlite3.connect(self.path, timeout=60, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            # Not WITHOUT ROWID: rows of 5 KB do not fit an index's pages. So they lie one after the
            # other, are written twice as fast and read four times as fast, in two thirds the space.
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS features (key BLOB PRIMARY KEY, row BLOB NOT NULL)"
            )
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def get(self, key: bytes) -> NDArray[np.float32] | None:
        """Return the row (1283,) of `key`: features, then mean colour; None if it is not known."""
        try:
            with self._lock:
                found = self._connection.execute(
                    "SELECT row FROM features WHERE key = ?", (key,)
                ).fetchone()
        except sqlite3.Error as error:
            raise self._failed(error) from error
        if found is None or len(found[0]) != 4 * self._ROW:
            return None
        return np.frombuffer(found[0], "<f4")

    def known(self, keys: Iterable[bytes]) -> set[bytes]:
        """Return those of `keys` that `get` would find, without reading their rows."""
        query = "SELECT 1 FROM features WHERE key = ? AND length(row) = ?"
        try:
            with self._lock:
                return {
                    key
                    for key in keys
                    if self._connection.execute(query, (key, 4 * self._ROW)).fetchone()
                }
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def put(self, rows: Iterable[tuple[bytes, NDArray[np.float32]]]) -> None:
        """Remember rows; all of them or, if the disk is full, none."""
        values = [(key, row.astype("<f4").tobytes()) for key, row in rows]
        try:
            with self._lock, self._connection:
                self._connection.executemany(
                    "INSERT OR REPLACE INTO features VALUES (?, ?)", values
                )
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: sqlite3.Error) -> OutputError:
        return OutputError(
            f"The feature cache {self.path} cannot be used: {error}. Delete the file (it is made "
            "anew), free some space, or set HEMATOVISION_CACHE to another folder."
        )


def open_cache(backbone: str) -> closing[FeatureCache]:
    """Open the cache of a backbone for a ``with`` block."""
    return closing(FeatureCache(backbone))
