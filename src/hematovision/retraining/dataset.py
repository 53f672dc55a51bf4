"""Cells on whose class people have settled, as a dataset that `train` and `adapt` take."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hematovision.data.destination import appearing
from hematovision.errors import DatasetError, OutputError
from hematovision.files import ensure_folder, write_text, writing
from hematovision.paths import csv_row, is_reserved
from hematovision.review.records import Reviewed

__all__ = ["COLUMNS", "TABLE", "Exported", "export_reviewed"]

TABLE = "reviewed.csv"
COLUMNS = (
    "sha256", "file", "name", "model", "model_sha256", "model_label", "confidence", "label",
    "reviewer", "at",
)  # fmt: skip

_DIGITS = 16  # of a SHA-256: 64 bits, so that among a million images two alike are not to be met


@dataclass(frozen=True)
class Exported:
    """What an export led to.

    Parameters
    ----------
    folder : Path
    counts : mapping of str to int
        Images of each class, sorted by class.
    n : int
        Images in all.
    notes : tuple of str
        Images on which decisions differ, and which of these counts.
    """

    folder: Path
    counts: Mapping[str, int]
    n: int
    notes: tuple[str, ...] = ()


def export_reviewed(reviewed: Iterable[Reviewed], out: Path) -> Exported:
    """Write reviewed cells into class folders: ``OUT/<class>/<16 digits of its SHA-256>.png``.

    ``OUT/reviewed.csv`` says of each who decided what and when, and what the model had said. An
    image that was decided several times, in several batches or on answers of several models, comes
    once, as it was decided last. The folder appears when all is written.

    Parameters
    ----------
    reviewed : iterable of Reviewed
        Read one by one; at most one picture is in memory.
    out : Path
        A folder that does not exist yet, or is empty.

    Raises
    ------
    DatasetError
        If there is no reviewed cell.
    OutputError
        If `out` is in use or cannot be written.
    """
    _check_free(out)
    with appearing(out) as folder:
        export = _Export(folder)
        for one in reviewed:
            export.add(one)
        if not export.rows:
            raise DatasetError(
                "There is no reviewed cell to export: none has been given a class by a person, "
                "or the pictures of all of them have been deleted. Review some first."
            )
        write_text(folder / TABLE, _table(export.rows))
    counts = Counter(row["label"] for row in export.rows.values())
    return Exported(out, dict(sorted(counts.items())), len(export.rows), export.notes())


class _Export:
    """Takes reviewed cells as they come, and keeps the newest decision on each image."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: dict[str, dict[str, str]] = {}
        self._decided: dict[str, tuple[datetime, int]] = {}
        self._said: dict[str, set[str]] = {}

    def add(self, one: Reviewed) -> None:
        image, decided = one.prediction.image, (one.at, one.prediction.id)
        self._said.setdefault(image, set()).add(one.label)
        if image in self.rows:
            if self._decided[image] > decided:
                return
            with writing(self.folder):
                (self.folder / self.rows[image]["file"]).unlink()
        row = _row(one)
        path = self.folder / row["file"]
        ensure_folder(path.parent)
        with writing(path):
            path.write_bytes(one.png)
        self.rows[image], self._decided[image] = row, decided

    def notes(self) -> tuple[str, ...]:
        return tuple(
            f"{row['name']} was decided differently: {', '.join(sorted(self._said[image]))}. The "
            f"newest decision counts: {row['label']}, by {row['reviewer']}."
            for image, row in sorted(self.rows.items())
            if len(self._said[image]) > 1
        )


def _row(one: Reviewed) -> dict[str, str]:
    answer = one.prediction
    return {
        "sha256": answer.image,
        "file": f"{_folder(one.label)}/{answer.image[:_DIGITS]}.png",
        "name": answer.name,
        "model": answer.model.name,
        "model_sha256": answer.model.sha256,
        "model_label": answer.label,
        "confidence": f"{answer.confidence:.6f}",
        "label": one.label,
        "reviewer": one.reviewer,
        "at": one.at.astimezone(UTC).isoformat(timespec="seconds"),
    }


def _folder(label: str) -> str:
    """Return a folder's name for a class, on every system, that `read_dataset` takes for it.

    A model's classes are whatever its maker called them; signs that a system reads otherwise
    become underscores, which make no difference to `taxonomy.normalise`.
    """
    plain = re.sub(r"[^\w ()+,=@~.-]", "_", label).strip(" .")
    return f"_{plain}" if is_reserved(plain) else plain


def _table(rows: Mapping[str, Mapping[str, str]]) -> str:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in sorted(rows.values(), key=lambda row: row["file"]):
        writer.writerow(csv_row(row[column] for column in COLUMNS))
    return stream.getvalue()


def _check_free(out: Path) -> None:
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise OutputError(
            f"{out} is there already; nothing in it was touched. Choose a new folder."
        )
