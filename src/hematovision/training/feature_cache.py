"""The features that were computed before: one SQLite file per backbone.

Its name holds the backbone's SHA-256; its keys are the SHA-256 of the image's bytes and the view,
so that a renamed, copied or re-split image is still known. Every row ends with a checksum over its
key and its values: a row that was altered, or stands under another key, is computed anew. The file
may be deleted at any time.
"""

from __future__ import annotations

import logging
import sqlite3
import zlib
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import OutputError
from hematovision.files import ensure_folder
from hematovision.model.architecture import FEATURES
from hematovision.paths import cache_folder

__all__ = ["FeatureCache", "open_cache"]

_LOG = logging.getLogger(__name__)


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
    _VALUES = 4 * _ROW
    _BYTES = _VALUES + 4  # the values, then their checksum

    def __init__(self, backbone: str, folder: Path | None = None) -> None:
        folder = ensure_folder(folder or cache_folder())
        self._lock = Lock()  # SQLite may have been built without its own.
        self._is_damage_told = False
        # The decoder's rules are part of the key: if they change, so does the version here.
        # 2: checksums; declared ranges of 16-bit TIFFs.
        self.path = folder / f"features-v2-{backbone[:32]}.sqlite"
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
        """Return the row (1283,) of `key`: features, then mean colour; None if it is not known.

        A row that fails its checksum is not known. That is logged once.
        """
        try:
            with self._lock:
                found = self._connection.execute(
                    "SELECT row FROM features WHERE key = ?", (key,)
                ).fetchone()
        except sqlite3.Error as error:
            raise self._failed(error) from error
        if found is None:
            return None
        stored: bytes = found[0]
        values = memoryview(stored)[: self._VALUES]
        if len(stored) != self._BYTES or stored[self._VALUES :] != _checksum(key, values):
            self._tell_damage()
            return None
        return np.frombuffer(values, "<f4")

    def known(self, keys: Iterable[bytes]) -> set[bytes]:
        """Return those of `keys` that have a row, without reading it: a damaged one counts, too."""
        query = "SELECT 1 FROM features WHERE key = ? AND length(row) = ?"
        try:
            with self._lock:
                return {
                    key
                    for key in keys
                    if self._connection.execute(query, (key, self._BYTES)).fetchone()
                }
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def put(self, rows: Iterable[tuple[bytes, NDArray[np.float32]]]) -> None:
        """Remember rows; all of them or, if the disk is full, none."""
        values = [(key, data + _checksum(key, data)) for key, data in _as_bytes(rows)]
        try:
            with self._lock, self._connection:
                self._connection.executemany(
                    "INSERT OR REPLACE INTO features VALUES (?, ?)", values
                )
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _tell_damage(self) -> None:
        if not self._is_damage_told:
            self._is_damage_told = True
            _LOG.warning(
                "The feature cache %s holds damaged rows; they are computed again. If this happens "
                "repeatedly, check the disk.",
                self.path,
            )

    def _failed(self, error: sqlite3.Error) -> OutputError:
        return OutputError(
            f"The feature cache {self.path} cannot be used: {error}. Delete the file (it is made "
            "anew), free some space, or set HEMATOVISION_CACHE to another folder."
        )


def _as_bytes(
    rows: Iterable[tuple[bytes, NDArray[np.float32]]],
) -> Iterable[tuple[bytes, bytes]]:
    return ((key, row.astype("<f4").tobytes()) for key, row in rows)


def _checksum(key: bytes, values: bytes | memoryview) -> bytes:
    """Return 4 bytes: CRC-32, which is for accidents; whoever may write here may do worse."""
    return zlib.crc32(values, zlib.crc32(key)).to_bytes(4, "little")


def open_cache(backbone: str) -> closing[FeatureCache]:
    """Open the cache of a backbone for a ``with`` block."""
    return closing(FeatureCache(backbone))
