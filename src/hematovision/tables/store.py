"""The resumable store: the rows of an unfinished table, in an SQLite file next to it.

The store of ``cells.csv`` is ``cells.csv.resume``. It contains each image's rows and file stamp,
the run's identity (model and thresholds), and whether the table is finished. It is committed every
two seconds, the most work that a killed process or a power failure can lose. A process that uses a
store locks ``cells.csv.resume-running``.

An item of a run is an image, or one region of a large image.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from hematovision.errors import OutputError
from hematovision.files import (
    delete_leftovers,
    ensure_folder,
    hold_lock,
    open_own,
    writing,
)
from hematovision.paths import name_bytes
from hematovision.rows import ERROR, Schema, Value

__all__ = [
    "Identity", "RunImages", "RunItem", "Stamp", "Store", "Stored", "can_resume", "check_identity",
    "file_stamp", "open_store", "run_identity", "store_path",
]  # fmt: skip

COMMIT_SECONDS = 2.0
"""Seconds between commits. A commit takes about 35 ms on a hard disk, less than 2% of this."""

_LOG = logging.getLogger(__name__)

_VERSION = {"application_id": 0x48765273, "user_version": 1}
_TABLES = (
    "CREATE TABLE run (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    """CREATE TABLE results (
        path BLOB PRIMARY KEY, stamp TEXT NOT NULL, rows BLOB NOT NULL, checksum INTEGER NOT NULL
    ) WITHOUT ROWID""",
    *(f"PRAGMA {name} = {value}" for name, value in _VERSION.items()),
)
_ERRORS = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
    sqlite3.SQLITE_PERM: errno.EACCES,
    sqlite3.SQLITE_BUSY: errno.EBUSY,
}
_JOURNAL = b'{"hematovision_journal": 1'
_MAX_LINE = 2**20
_REGION = b"\xff"

Stamp: TypeAlias = Callable[["RunItem"], str]
"""Returns the state of an item's file; rows are valid as long as it is the same."""

Identity: TypeAlias = Mapping[str, Any]
"""What rows depend on: hashes and thresholds, as JSON values."""


class RunItem(NamedTuple):
    """An image of a run, or one region of it."""

    path: Path
    region: str = ""  # any text that identifies a region; empty for the whole image

    def __str__(self) -> str:
        return f"{self.path} ({self.region})" if self.region else str(self.path)


class Stored(NamedTuple):
    """An item whose rows are stored."""

    stamp: str  # the state of its file when it was read; see `file_stamp`
    # whether it could not be read and must be tried again
    retry: bool

    def is_done(self, stamp: str | None) -> bool:
        """Return whether the rows are valid for an image with this stamp."""
        return not self.retry and self.stamp == stamp


def file_stamp(path: Path) -> str:
    """Return a file's size in bytes and modification time in ns; empty if there is no file."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # ValueError: not a valid file name
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"


def _stamp_of(item: RunItem) -> str:
    return file_stamp(item.path)


def run_identity(identity: Identity, schema: Schema) -> dict[str, Any]:
    """Return the identity of a table: what its rows depend on, and their columns."""
    return {**identity, "columns": list(schema.names)}


def check_identity(place: object, found: Identity, expected: Identity) -> None:
    """Raise an `OutputError` if the rows in `place` have a different identity than new rows."""
    others = [key.replace("_", " ") for key in expected if found.get(key) != expected[key]]
    if others:
        raise OutputError(
            f"{place} was started with different settings ({', '.join(others)}), so its rows "
            "cannot be mixed with new rows. Use the same options as before, or choose another "
            "--out."
        )


class RunImages:
    """The images of a run, or their regions, in order and without duplicates.

    They are in a temporary SQLite table. Memory use is constant: the table moves to disk above
    2 MB, about 20,000 images.
    """

    def __init__(self, items: Iterable[Path | RunItem]) -> None:
        self._db = sqlite3.connect("")
        with self._using():
            self._db.execute("CREATE TABLE images (path BLOB UNIQUE)")
            keys = ((_key(_item(item)),) for item in items)
            self._db.executemany("INSERT OR IGNORE INTO images VALUES (?)", keys)
            self._n: int = self._db.execute("SELECT count(*) FROM images").fetchone()[0]

    def __len__(self) -> int:
        return self._n

    def __iter__(self) -> Iterator[RunItem]:
        with self._using():
            for (key,) in self._db.execute("SELECT path FROM images ORDER BY rowid"):
                yield _from_key(key)

    def digest(self) -> str:
        """Return a SHA-256 of the list."""
        digest = hashlib.sha256()
        for item in self:
            digest.update(_key(item) + b"\0")
        return digest.hexdigest()

    def close(self) -> None:
        """Delete the table."""
        self._db.close()

    @contextmanager
    def _using(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise OutputError(
                f"The list of images cannot be written to the folder for temporary files: {error}. "
                "Free some space there, or set TMPDIR to another folder."
            ) from error


class Store:
    """The rows of a run's items; see `open_store`.

    An item is done if its rows are stored without an error and its file is unchanged. Rows of
    items that are not in the run stay in the file and are ignored.

    Attributes
    ----------
    left : int
        Number of items to process.
    before : int
        Number of items done before. An item with an error counts once `add` receives the same
        error again.
    changed : bool
        Whether the table must be written.
    """

    def __init__(
        self,
        path: Path,
        db: sqlite3.Connection,
        images: RunImages,
        schema: Schema,
        stamp: Stamp,
    ) -> None:
        self.path, self._db, self._images, self._schema = path, db, images, schema
        self._stamp = stamp
        self._reading: dict[RunItem, str] = {}
        self._committed = time.monotonic()
        self._digest = images.digest()
        with _using(path):
            finished = db.execute("SELECT value FROM run WHERE key = 'finished'").fetchone()
            self._left = bytearray(not self._is_done(item) for item in images)
        self.changed = finished != (self._digest,)
        self.left = sum(self._left)
        self.before = len(images) - self.left

    def todo(self) -> Iterator[RunItem]:
        """Yield the items to process, in order; then `add` the rows of each."""
        for item, left in zip(self._images, self._left, strict=True):
            if left:
                # Before reading, so that a change during reading is noticed by the next run.
                self._reading[item] = self._stamp(item)
                yield item

    def add(self, rows: Iterable[Mapping[str, Value]], item: RunItem | None = None) -> None:
        """Store the rows of an item of `todo`, by default of the first that has none.

        Raises `OutputError` if they cannot be written. Committed rows stay.
        """
        item = next(iter(self._reading)) if item is None else item
        stamp = self._reading.pop(item)
        data = json.dumps([list(row.values()) for row in rows]).encode()
        with _using(self.path):
            if _find(self._db, item) == (stamp, data):
                self.before += 1
                return
            _set_finished(self._db, "")
            _put(self._db, _key(item), stamp, data)
        self.changed = True
        if time.monotonic() - self._committed >= COMMIT_SECONDS:
            self.commit()

    def rows(self) -> Iterator[dict[str, Value]]:
        """Yield all rows in the order of the items; every item must have been added.

        Raises `OutputError` if the store is damaged.
        """
        for item in self._images:
            yield from self.rows_of(item)

    def rows_of(self, item: RunItem) -> list[dict[str, Value]]:
        """Return the rows of an item that was added.

        Raises `OutputError` if the store is damaged.
        """
        with _using(self.path):
            found = _find(self._db, item)
        if found is None:
            raise _damaged(self.path, f"the rows of {item} are missing")
        return list(self._read(found[1]))

    @contextmanager
    def finishing(self) -> Iterator[None]:
        """Record that the table is finished after the block has written it."""
        self._finish("")
        yield
        self._finish(self._digest)

    def commit(self) -> None:
        """Write everything to disk."""
        with _using(self.path):
            self._db.commit()
        self._committed = time.monotonic()

    def _finish(self, digest: str) -> None:
        with _using(self.path):
            _set_finished(self._db, digest)
        self.commit()

    def _is_done(self, item: RunItem) -> bool:
        found = _find(self._db, item)
        if found is None:
            return False
        try:
            failed = any(row[ERROR] for row in self._read(found[1]))
        except (ValueError, TypeError, RecursionError):  # Another program wrote them.
            return False
        return Stored(found[0], failed).is_done(self._stamp(item))

    def _read(self, data: bytes) -> Iterator[dict[str, Value]]:
        for values in json.loads(data):
            row = dict(zip(self._schema.names, values, strict=True))
            self._schema.check(row)
            yield row


def store_path(table: Path) -> Path:
    """Return the path of a table's store."""
    return table.with_name(f"{table.name}.resume")


def can_resume(table: Path) -> bool:
    """Return whether a table has a store, or a journal of version 0.2."""
    path = store_path(table)
    return (path.exists() and path.stat().st_size > 0) or _has_journal(table)


@contextmanager
def open_store(
    table: Path,
    identity: Identity,
    schema: Schema,
    images: RunImages,
    *,
    resume: bool,
    keep: bool | None = None,
    stamp: Stamp | None = None,
) -> Iterator[Store]:
    """Open the store of a table, for this process alone.

    With `resume` the rows in the store of `table` are kept; otherwise the run starts over. The
    store is deleted when the block ends without an error, unless `keep`, which is `resume` by
    default. `identity` is what the rows will be computed with; `stamp` returns the state of an
    item's file, by default `file_stamp`. Raises `OutputError` if another process is writing the
    same table; the store cannot be written; or, to resume, it is damaged or has another identity.
    """
    path = store_path(table)
    ensure_folder(path.parent)
    with _held(table, path):
        with open_own(path) as stream, writing(path):  # rejects links, which SQLite would follow
            if not resume:
                stream.truncate(0)
        delete_leftovers(table)
        if not resume:
            _remove(path.with_name(f"{path.name}-journal"))  # SQLite's, left by a killed process
            _remove(_journal_path(table) if _has_journal(table) else None)
        with closing(_connect(path)) as db:
            with _using(path):
                _prepare(db, path, run_identity(identity, schema))
                _adopt_journal(db, table, schema)
            store = Store(path, db, images, schema, stamp or _stamp_of)
            if resume:
                _LOG.info("%d of %d images are in %s.", store.before, len(images), path)
            try:
                yield store
            except BaseException:
                with suppress(OutputError):
                    store.commit()
                raise
            store.commit()
        if not (resume if keep is None else keep):
            _remove(path)


def _held(table: Path, path: Path) -> AbstractContextManager[None]:
    """Prevent other processes from writing the same table."""
    lock = path.with_name(f"{path.name}-running")
    return hold_lock(
        lock,
        f"Another process is writing the table {table} (lock file {lock}). Wait until it has "
        "finished, or choose another --out.",
    )


@contextmanager
def _using(path: Path) -> Iterator[None]:
    """Turn errors of SQLite into an `OutputError` that names the store."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:  # UnicodeDecodeError: damaged text
        number = _ERRORS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
        if number is None:
            raise _damaged(path, str(error)) from error
        with writing(path):
            raise OSError(number, os.strerror(number)) from error


def _damaged(path: Path, what: str) -> OutputError:
    return OutputError(
        f"{path} cannot be resumed: {what}. Expected the store of a run with --out. To start over, "
        "delete or move it and run again."
    )


def _connect(path: Path) -> sqlite3.Connection:
    with _using(path):
        return sqlite3.connect(path)


def _prepare(db: sqlite3.Connection, path: Path, identity: Identity) -> None:
    """Create the tables in a new file; check the format and identity of an existing file."""
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA cache_size = -256")  # kB; the default of 2 MB is no faster here
    if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        db.execute("BEGIN")
        for statement in _TABLES:
            db.execute(statement)
        db.commit()
    found = {name: db.execute(f"PRAGMA {name}").fetchone()[0] for name in _VERSION}
    if found != _VERSION:
        raise _damaged(path, "another program or version wrote it")
    if not db.execute("SELECT 1 FROM results").fetchone():
        values = ("identity", json.dumps(identity))
        db.execute("INSERT OR REPLACE INTO run VALUES (?, ?)", values)
        db.commit()
        return
    try:
        stored = _identity(db)
    except (ValueError, TypeError) as error:
        raise _damaged(path, "its identity is damaged") from error
    check_identity(path, stored, identity)


def _identity(db: sqlite3.Connection) -> dict[str, Any]:
    (text,) = db.execute("SELECT value FROM run WHERE key = 'identity'").fetchone()
    return dict(json.loads(text))


def _item(given: Path | RunItem) -> RunItem:
    return given if isinstance(given, RunItem) else RunItem(given)


def _key(item: RunItem) -> bytes:
    """Return the key of an item: its path, after its region if it has one.

    No path begins with the separator, a byte that is not UTF-8.
    """
    path = name_bytes(str(item.path))
    return _REGION + item.region.encode() + _REGION + path if item.region else path


def _from_key(key: bytes) -> RunItem:
    region = b""
    if key.startswith(_REGION):
        _, region, key = key.split(_REGION, 2)
    return RunItem(Path(key.decode("utf-8", "surrogatepass")), region.decode())


def _set_finished(db: sqlite3.Connection, images: str) -> None:
    db.execute("INSERT OR REPLACE INTO run VALUES ('finished', ?)", (images,))


def _find(db: sqlite3.Connection, item: RunItem) -> tuple[str, bytes] | None:
    """Return the stamp and the rows of an item; None if missing or damaged."""
    key = _key(item)
    query = "SELECT stamp, rows, checksum FROM results WHERE path = ?"
    found = db.execute(query, (key,)).fetchone()
    if found is None or [*map(type, found)] != [str, bytes, int]:
        return None
    stamp, rows, checksum = found
    return (stamp, rows) if checksum == _checksum(key, stamp, rows) else None


def _put(db: sqlite3.Connection, key: bytes, stamp: str, rows: bytes) -> None:
    values = (key, stamp, rows, _checksum(key, stamp, rows))
    db.execute("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?)", values)


def _checksum(key: bytes, stamp: str, rows: bytes) -> int:
    return zlib.crc32(b"\0".join((key, name_bytes(stamp), rows)))


def _remove(path: Path | None) -> None:
    if path is not None:
        with writing(path):
            path.unlink(missing_ok=True)


def _journal_path(table: Path) -> Path:
    return table.with_name(f"{table.name}.journal")


def _has_journal(table: Path) -> bool:
    path = _journal_path(table)
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(len(_JOURNAL)) == _JOURNAL


def _adopt_journal(db: sqlite3.Connection, table: Path, schema: Schema) -> None:
    """Move the results in a journal of version 0.2 into an empty store."""
    if not _has_journal(table) or db.execute("SELECT 1 FROM results").fetchone():
        return
    journal, finished = _journal_path(table), ""
    # Reading stops at a damaged line; the images after it are processed again.
    with journal.open("rb") as stream, suppress(ValueError, TypeError, LookupError, RecursionError):
        check_identity(journal, json.loads(stream.readline(_MAX_LINE)), _identity(db))
        while line := stream.readline(_MAX_LINE):
            entry = json.loads(line)
            finished = ""
            if isinstance(entry, dict):
                finished = entry["finished"]
                continue
            path, stamp, label, numbers, confidence, novelty, decision, reason, error = entry
            numbers = numbers or [None] * (len(schema.columns) - 7)
            row = [path, label or "", confidence, decision, reason, novelty, *numbers, error or ""]
            schema.check(dict(zip(schema.names, row, strict=True)))
            _put(db, name_bytes(path), " ".join(map(str, stamp or ())), json.dumps([row]).encode())
    _set_finished(db, finished)
    db.commit()
    _remove(journal)
