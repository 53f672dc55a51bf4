"""A table in parts: a folder of Parquet files, one for each shard of the images.

Each part is whole or not there, and says in its metadata which state of which images it answers,
so that a later run can tell what is missing by looking at the folder alone. Every reader of
partitioned Parquet reads the folder as one table; names that begin with ``_`` do not count there.
"""

from __future__ import annotations

import io
import json
import re
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hematovision.errors import OutputError
from hematovision.extras import needs_extra
from hematovision.files import ensure_folder, open_own, sha256_bytes, try_hold, writing
from hematovision.model.prediction import Prediction
from hematovision.paths import name_bytes, unescape_name
from hematovision.rows import Schema
from hematovision.scale.addresses import Source, filesystem, is_uri
from hematovision.tables.sinks import parquet_table
from hematovision.tables.store import Identity, check_identity

__all__ = ["JOB", "Part", "Parts", "open_parts", "part_name", "write_part"]

JOB = "_job.json"
_LOCK = "_running"
_UNFINISHED = "_unfinished-"
_PART = re.compile(r"part-(\d{6,})-[0-9a-f]{12}\.parquet")
_META = b"hematovision"


@dataclass(frozen=True)
class Part:
    """What one file of the table holds.

    Parameters
    ----------
    name : str
        The file's.
    stamps : mapping of str to str
        The state of each of its images (`Source.stamp`), by name.
    labels : mapping of str to int
        Answers of each class.
    review : int
        Answers that a person should look at.
    refused : tuple of (str, str)
        Name and reason of images that were not answered.
    unread : int
        How many of those could not even be fetched, which may be otherwise next time.
    """

    name: str
    stamps: Mapping[str, str]
    labels: Mapping[str, int] = field(default_factory=dict)
    review: int = 0
    refused: tuple[tuple[str, str], ...] = ()
    unread: int = 0


def part_name(number: int, sources: Sequence[Source]) -> str:
    """Return a part's name: its number, and what tells these images from others."""
    said = "\0".join(f"{source.name}\0{source.stamp}" for source in sources)
    return f"part-{number:06d}-{sha256_bytes(name_bytes(said))[:12]}.parquet"


def write_part(
    folder: str,
    name: str,
    stamps: Mapping[str, str],
    predictions: Sequence[Prediction],
    schema: Schema,
    unread: int,
) -> Part:
    """Write one part; whoever looks sees all of it or nothing.

    Parameters
    ----------
    folder : str
        Path or URI of the table.
    name : str
        As `part_name` gives it.
    stamps : mapping of str to str
        The state of each image, in the order of `predictions`.
    predictions : sequence of Prediction
    schema : Schema
    unread : int

    Returns
    -------
    Part

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    stream = io.BytesIO()
    meta = json.dumps({"stamps": list(stamps.values()), "unread": unread})
    table = parquet_table(stream, schema, metadata={_META.decode(): meta})
    for prediction in predictions:
        table.write(prediction.values())
    table.finish()
    system, root = filesystem(folder)
    temporary = f"{root}/{_UNFINISHED}{secrets.token_hex(6)}"
    with writing(Path(f"{root}/{name}")):
        system.pipe_file(temporary, stream.getvalue())
        system.mv(temporary, f"{root}/{name}")
    refused = tuple((p.path, p.error or "") for p in predictions if p.label is None)
    return Part(
        name,
        stamps,
        Counter(p.label for p in predictions if p.label is not None),
        sum(p.decision == "review" for p in predictions),
        refused,
        unread,
    )


class Parts:
    """The folder of a table in parts; see `open_parts`.

    Parameters
    ----------
    folder : str
        A path or a URI.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._system, self._root = filesystem(folder)

    def names(self) -> list[str]:
        """List the parts that are there, in order."""
        try:
            found = self._system.ls(self._root, detail=False, refresh=True)
        except FileNotFoundError:
            return []
        names = (str(path).rstrip("/").rpartition("/")[2] for path in found)
        return sorted((name for name in names if _PART.fullmatch(name)), key=_number)

    def next_number(self) -> int:
        """Return the number of the next part: above all that are there."""
        return max((_number(name) for name in self.names()), default=-1) + 1

    def standing(self, sources: Sequence[Source]) -> list[Part]:
        """Return the parts that still answer images as they are now, and delete all others.

        A part stands if every one of its images is among `sources`, is unchanged, and is in no
        earlier part, and all of them could be fetched; so that every image is in one part at most.

        Raises
        ------
        OutputError
            If a part cannot be deleted, or the parts have none of these images: then it is the
            table of others, and all of it stays.
        """
        wanted = {source.name: source.stamp for source in sources}
        there = {name: self._read(name) for name in self.names()}
        known = [part for part in there.values() if part is not None]
        if known and not any(name in wanted for part in known for name in part.stamps):
            raise OutputError(
                f"{self.folder} has the answers for other images, such as "
                f"{next(iter(known[0].stamps))}; nothing in it was touched. Choose a new folder "
                "with --out."
            )
        found = []
        for name, part in there.items():
            if part is not None and not part.unread and _all_in(part.stamps, wanted):
                found.append(part)
                for image in part.stamps:
                    del wanted[image]
            else:
                self._delete(name)
        return found

    def clean(self) -> None:
        """Delete what workers that died left half-written."""
        with writing(Path(self.folder)):
            for path in self._system.ls(self._root, detail=False, refresh=True):
                if str(path).rpartition("/")[2].startswith(_UNFINISHED):
                    self._system.rm_file(str(path))

    def is_empty(self) -> bool:
        """Tell whether there is nothing, or no such folder."""
        try:
            found = self._system.ls(self._root, detail=False, refresh=True)
        except FileNotFoundError:
            return True
        return not any(str(path).rpartition("/")[2] != _LOCK for path in found)

    def begin(self, identity: Identity) -> None:
        """Write down what the rows are computed with; if that is done, check that it is the same.

        Raises
        ------
        OutputError
            If the parts have another identity, or none.
        """
        path = f"{self._root}/{JOB}"
        if self._system.exists(path):
            found = json.loads(self._system.cat_file(path))
            check_identity(f"{self.folder}/{JOB}", found, identity)
            return
        if self.names():
            raise OutputError(
                f"{self.folder} has parts of a table, but no {JOB} that says what made them. "
                "Choose a new folder with --out."
            )
        with writing(Path(f"{self.folder}/{JOB}")):
            self._system.makedirs(self._root, exist_ok=True)
            self._system.pipe_file(path, json.dumps(identity).encode())

    def _read(self, name: str) -> Part | None:
        """Return what a part holds; None if it is damaged."""
        with needs_extra("data", "Reading Parquet"):
            from pyarrow import ArrowException
            from pyarrow.parquet import ParquetFile
        try:
            with self._system.open(f"{self._root}/{name}", "rb") as stream:
                file = ParquetFile(stream)
                meta = json.loads(file.schema_arrow.metadata[_META])
                columns = file.read(["path", "label", "decision", "error"]).to_pydict()
            columns["path"] = list(map(unescape_name, columns["path"]))
            stamps = dict(zip(columns["path"], meta["stamps"], strict=True))
            return _summed(name, stamps, columns, int(meta["unread"]))
        except (ArrowException, OSError, ValueError, TypeError, KeyError):
            return None

    def _delete(self, name: str) -> None:
        with writing(Path(f"{self.folder}/{name}")):
            self._system.rm_file(f"{self._root}/{name}")


@contextmanager
def open_parts(folder: str, identity: Identity, *, resume: bool) -> Iterator[Parts]:
    """Open the folder of a table in parts, for this process alone where the folder is local.

    Parameters
    ----------
    folder : str
        A path or a URI.
    identity : Identity
        What the rows are computed with.
    resume : bool
        Whether parts may be there.

    Raises
    ------
    OutputError
        If it is not empty and not to be resumed, is of another model, cannot be made, or another
        process works on it.
    """
    parts = Parts(folder)
    with ExitStack() as stack:
        if not is_uri(folder):
            _hold(stack, ensure_folder(Path(folder)))
        if not resume and not parts.is_empty():
            raise OutputError(
                f"The folder {folder} is not empty; nothing in it was touched. Add --resume to go "
                "on with it, or choose a new one with --out."
            )
        parts.begin(identity)
        parts.clean()
        yield parts


def _hold(stack: ExitStack, folder: Path) -> None:
    stream: Any = stack.enter_context(open_own(folder / _LOCK))
    with writing(folder / _LOCK):  # Some network file systems have no locks.
        held = try_hold(stream)
    if not held:
        raise OutputError(
            f"Another process is writing the table {folder}. Wait for it, or choose another --out."
        )


def _number(name: str) -> int:
    matched = _PART.fullmatch(name)
    return int(matched[1]) if matched else -1


def _all_in(stamps: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(wanted.get(name) == stamp for name, stamp in stamps.items())


def _summed(
    name: str, stamps: Mapping[str, str], columns: Mapping[str, Sequence[str]], unread: int
) -> Part:
    labels, decisions = Counter(columns["label"]), Counter(columns["decision"])
    labels.pop("", None)
    rows = zip(columns["path"], columns["decision"], columns["error"], strict=True)
    refused = tuple((path, error) for path, decision, error in rows if decision == "refused")
    return Part(name, stamps, labels, decisions["review"], refused, unread)
