"""A table in parts: a folder of Parquet files, one per shard of the images.

A part is either complete or absent. Its metadata record the state of its images, so a later run on
any machine can resume from the folder alone. Readers of partitioned Parquet open the folder as one
table; they ignore names that begin with ``_``.
"""

from __future__ import annotations

import io
import json
import re
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hematovision.errors import OutputError
from hematovision.extras import needs_extra
from hematovision.files import ensure_folder, hold_lock, sha256_bytes, writing
from hematovision.paths import name_bytes, unescape_name
from hematovision.rows import ERROR, Schema, Value
from hematovision.scale.addresses import ImageFile, filesystem, is_uri
from hematovision.tables.sinks import parquet_table
from hematovision.tables.store import Identity, Stored, check_identity

__all__ = ["JOB", "Part", "Parts", "open_parts", "part_name", "write_part"]

JOB = "_job.json"
_LOCK = "_running"
_UNFINISHED = "_unfinished-"
_PART = re.compile(r"part-(\d{6,})-[0-9a-f]{12}\.parquet")
_META = b"hematovision"


@dataclass(frozen=True)
class Part:
    """One file of the table."""

    name: str  # file name
    stamps: Mapping[str, str]  # `ImageFile.stamp` of each image, by name
    # number of rows by label and decision; empty text for rows without them
    counts: Mapping[tuple[str, str], int]
    errors: tuple[tuple[str, str], ...] = ()  # name and error of unreadable images
    unread: int = 0  # how many of these could not be fetched; a resumed run retries them

    def is_done(self, now: Mapping[str, str]) -> bool:
        """Return whether all of the part's images are done, given their current stamps."""
        retry = self.unread > 0
        return all(Stored(old, retry).is_done(now.get(name)) for name, old in self.stamps.items())


def part_name(number: int, files: Sequence[ImageFile]) -> str:
    """Return a part's name: its number, and a hash of its images."""
    text = "\0".join(f"{file.name}\0{file.stamp}" for file in files)
    return f"part-{number:06d}-{sha256_bytes(name_bytes(text))[:12]}.parquet"


def write_part(
    folder: str,
    name: str,
    stamps: Mapping[str, str],
    rows: Sequence[Mapping[str, Value]],
    schema: Schema,
    unread: int,
) -> Part:
    """Write one part atomically.

    `folder` is the table's path or URI, `name` is from `part_name`, and `stamps` are the states of
    the images in order. `rows` has 0 to n rows per image, in the same order; `unread` as in `Part`.
    Raises `OutputError` if it cannot be written.
    """
    meta: dict[str, Any] = {"stamps": list(stamps.values()), "unread": unread}
    if [row[schema.key] for row in rows] != list(stamps):
        meta["names"] = list(stamps)
    stream = io.BytesIO()
    table = parquet_table(stream, schema, metadata={_META.decode(): json.dumps(meta)})
    for row in rows:
        table.write(row)
    table.finish()
    system, root = filesystem(folder)
    temporary = f"{root}/{_UNFINISHED}{secrets.token_hex(6)}"
    with writing(Path(f"{root}/{name}")):
        system.pipe_file(temporary, stream.getvalue())
        system.mv(temporary, f"{root}/{name}")
    return _counted(name, stamps, schema.key, rows, unread)


class Parts:
    """The folder of a table in parts; see `open_parts`.

    `folder` is a path or a URI.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._system, self._root = filesystem(folder)

    def names(self) -> list[str]:
        """List the parts, in order."""
        try:
            found = self._system.ls(self._root, detail=False, refresh=True)
        except FileNotFoundError:
            return []
        names = (str(path).rstrip("/").rpartition("/")[2] for path in found)
        return sorted((name for name in names if _PART.fullmatch(name)), key=_number)

    def next_number(self) -> int:
        """Return the number of the next part, above all existing numbers."""
        return max((_number(name) for name in self.names()), default=-1) + 1

    def done(self, files: Sequence[ImageFile]) -> list[Part]:
        """Return the parts whose images are all done, and delete the others.

        An image may be in one part only: a part that repeats an image of an earlier one is deleted.

        Raises `OutputError` if a part cannot be deleted. Also raises it, and deletes nothing, if no
        image of any part is in `files`: the table then belongs to other images.
        """
        now = {file.name: file.stamp for file in files}
        there = {name: self._read(name) for name in self.names()}
        known = [part for part in there.values() if part is not None]
        if known and not any(name in now for part in known for name in part.stamps):
            raise OutputError(
                f"{self.folder} contains rows for other images, such as "
                f"{next(iter(known[0].stamps))}; it was not changed. Choose a new "
                "folder with --out."
            )
        found = []
        for name, part in there.items():
            if part is not None and part.is_done(now):
                found.append(part)
                for image in part.stamps:
                    del now[image]
            else:
                self._delete(name)
        return found

    def clean(self) -> None:
        """Delete incomplete files left by killed workers."""
        with writing(Path(self.folder)):
            for path in self._system.ls(self._root, detail=False, refresh=True):
                if str(path).rpartition("/")[2].startswith(_UNFINISHED):
                    self._system.rm_file(str(path))

    def is_empty(self) -> bool:
        """Return whether the folder has no files but our lock."""
        try:
            found = self._system.ls(self._root, detail=False, refresh=True)
        except FileNotFoundError:
            return True
        return all(str(path).rpartition("/")[2] == _LOCK for path in found)

    def begin(self, identity: Identity) -> None:
        """Record the identity of the rows, or check that it has not changed.

        Raises `OutputError` if the parts have another identity, or none.
        """
        path = f"{self._root}/{JOB}"
        if self._system.exists(path):
            try:
                found = dict(json.loads(self._system.cat_file(path)))
            except (ValueError, TypeError):  # damaged
                found = {}
            check_identity(f"{self.folder}/{JOB}", found, identity)
            return
        if self.names():
            raise OutputError(
                f"{self.folder} has parts of a table, but no {JOB} that records the model. Choose "
                "a new folder with --out."
            )
        with writing(Path(f"{self.folder}/{JOB}")):
            self._system.makedirs(self._root, exist_ok=True)
            self._system.pipe_file(path, json.dumps(identity).encode())

    def _read(self, name: str) -> Part | None:
        """Read a part; None if it is damaged."""
        with needs_extra("data", "Reading Parquet"):
            from pyarrow import ArrowException
            from pyarrow.parquet import ParquetFile
        try:
            with self._system.open(f"{self._root}/{name}", "rb") as stream:
                file = ParquetFile(stream)
                meta = json.loads(file.schema_arrow.metadata[_META])
                key = file.schema_arrow.names[0]
                rows = file.read([key, "label", "decision", ERROR]).to_pylist()
            for row in rows:
                row[key] = unescape_name(row[key])
            names = meta.get("names") or [row[key] for row in rows]
            stamps = dict(zip(names, meta["stamps"], strict=True))
            return _counted(name, stamps, key, rows, int(meta["unread"]))
        except (ArrowException, OSError, ValueError, TypeError, KeyError):
            return None

    def _delete(self, name: str) -> None:
        with writing(Path(f"{self.folder}/{name}")):
            self._system.rm_file(f"{self._root}/{name}")


@contextmanager
def open_parts(folder: str, identity: Identity, *, resume: bool) -> Iterator[Parts]:
    """Open the folder of a table in parts; a local folder is locked.

    `folder` is a path or a URI. With `resume`, existing parts are kept; otherwise the folder must
    be empty. Raises `OutputError` if it is not empty and `resume` is false, its parts have another
    identity, it cannot be written, or another process is writing to it.
    """
    parts = Parts(folder)
    with _held(folder):
        if not resume and not parts.is_empty():
            raise OutputError(
                f"The folder {folder} is not empty; it was not changed. Add --resume to "
                "continue it, or choose a new one with --out."
            )
        parts.begin(identity)
        parts.clean()
        yield parts


def _held(folder: str) -> AbstractContextManager[None]:
    if is_uri(folder):
        return nullcontext()
    return hold_lock(
        ensure_folder(Path(folder)) / _LOCK,
        f"Another process is writing the table {folder}. Wait until it has finished, or choose "
        "another folder with --out.",
    )


def _number(name: str) -> int:
    matched = _PART.fullmatch(name)
    return int(matched[1]) if matched else -1


def _counted(
    name: str,
    stamps: Mapping[str, str],
    key: str,
    rows: Iterable[Mapping[str, Any]],
    unread: int,
) -> Part:
    counts: Counter[tuple[str, str]] = Counter()
    errors: list[tuple[str, str]] = []
    for row in rows:
        counts[row.get("label") or "", row.get("decision") or ""] += 1
        if row[ERROR]:
            errors.append((row[key], row[ERROR]))
    return Part(name, stamps, counts, tuple(errors), unread)
