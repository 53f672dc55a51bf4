"""The feature cache: one SQLite file per backbone, named by the backbone's SHA-256.

Features of images that are framed before they reach the backbone are in a file of their own.

Keys are the SHA-256 of the image file and the view, so renamed, copied or re-split images are
found. Every row ends with a checksum of its key and values; rows that fail it are computed again.
The file may be deleted at any time.
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
from hematovision.files import ensure_folder, sha256_bytes
from hematovision.model.architecture import FEATURES
from hematovision.paths import cache_folder

__all__ = ["EXTRA", "FeatureCache", "open_cache"]

EXTRA = 4
"""Numbers after the features in a row: mean red, green and blue, and the field score."""

_LOG = logging.getLogger(__name__)


class FeatureCache:
    """Features by image content and view, on disk; safe for threads and processes.

    `backbone` is the SHA-256 of the backbone's weights; the file's `folder` is `paths.cache_folder`
    by default. `inputs` is what the backbone's input depends on, if images are not only resized.
    Raises `OutputError` if the file cannot be created, or is damaged.
    """

    def __init__(
        self,
        backbone: str,
        folder: Path | None = None,
        *,
        n_features: int = FEATURES,
        inputs: str = "",
    ) -> None:
        self.n_features = n_features
        self._values = 4 * (n_features + EXTRA)  # the features, then colour and field score
        self._bytes = self._values + 4  # the values, then their checksum
        folder = ensure_folder(folder or cache_folder())
        self._lock = Lock()  # SQLite may be built without thread safety
        self._reported_damage = False
        # Change the version if decoding or the field score changes. 2: checksums; declared ranges
        # of 16-bit TIFFs. 3: the field score.
        own = f"-{sha256_bytes(inputs.encode())[:16]}" if inputs else ""
        self.path = folder / f"features-v3-{backbone[:32]}{own}.sqlite"
        try:
            self._connection = sqlite3.connect(self.path, timeout=60, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            # Not WITHOUT ROWID: rows of 5 kB don't fit an index page. Writing is twice as fast this
            # way, reading four times, in two thirds of the space.
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS features (key BLOB PRIMARY KEY, row BLOB NOT NULL)"
            )
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def get(self, key: bytes) -> NDArray[np.float32] | None:
        """Return the row (n_features + `EXTRA`,) of `key`, or None.

        A row that fails its checksum counts as missing; the first is logged.
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
        values = memoryview(stored)[: self._values]
        if len(stored) != self._bytes or stored[self._values :] != _checksum(key, values):
            self._report_damage()
            return None
        return np.frombuffer(values, "<f4")

    def known(self, keys: Iterable[bytes]) -> set[bytes]:
        """Return the `keys` that have a row, without verifying checksums."""
        query = "SELECT 1 FROM features WHERE key = ? AND length(row) = ?"
        try:
            with self._lock:
                return {
                    key
                    for key in keys
                    if self._connection.execute(query, (key, self._bytes)).fetchone()
                }
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def put(self, rows: Iterable[tuple[bytes, NDArray[np.float32]]]) -> None:
        """Store all rows, or none if the disk is full."""
        data = ((key, row.astype("<f4").tobytes()) for key, row in rows)
        values = [(key, row + _checksum(key, row)) for key, row in data]
        try:
            with self._lock, self._connection:
                self._connection.executemany(
                    "INSERT OR REPLACE INTO features VALUES (?, ?)", values
                )
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _report_damage(self) -> None:
        if not self._reported_damage:
            self._reported_damage = True
            _LOG.warning(
                "The feature cache %s has damaged rows; they are computed again. If this happens "
                "repeatedly, check the disk.",
                self.path,
            )

    def _failed(self, error: sqlite3.Error) -> OutputError:
        return OutputError(
            f"The feature cache {self.path} cannot be used: {error}. Delete the file (it will be "
            "recreated), free some space, or set HEMATOVISION_CACHE to another folder."
        )


def _checksum(key: bytes, values: bytes | memoryview) -> bytes:
    """Return the CRC-32 in 4 bytes; it detects accidental damage, not tampering."""
    return zlib.crc32(values, zlib.crc32(key)).to_bytes(4, "little")


def open_cache(
    backbone: str, n_features: int = FEATURES, inputs: str = ""
) -> closing[FeatureCache]:
    """Open the cache of a backbone for a ``with`` block; see `FeatureCache`."""
    return closing(FeatureCache(backbone, n_features=n_features, inputs=inputs))
