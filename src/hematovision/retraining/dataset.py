"""Export of reviewed cells as a dataset for `train` and `adapt`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from hematovision.data.destination import appearing
from hematovision.errors import DatasetError, OutputError
from hematovision.files import ensure_folder, write_text, writing
from hematovision.paths import csv_text, is_reserved
from hematovision.review.records import Reviewed

__all__ = ["COLUMNS", "TABLE", "Exported", "export_reviewed"]

TABLE = "reviewed.csv"
COLUMNS = (
    "sha256", "file", "name", "model", "model_sha256", "model_label", "confidence", "label",
    "reviewer", "at",
)  # fmt: skip

_DIGITS = 16  # of a SHA-256: with 64 bits, no collision is expected among a million images


@dataclass(frozen=True)
class Exported:
    """The result of an export."""

    folder: Path
    counts: Mapping[str, int]  # images per class, sorted by class
    n: int  # total number of images
    notes: tuple[str, ...] = ()  # images with conflicting decisions, and which decision was used


def export_reviewed(reviewed: Iterable[Reviewed], out: Path) -> Exported:
    """Write reviewed cells into class folders: ``OUT/<class>/<16 digits of the SHA-256>.png``.

    ``OUT/reviewed.csv`` lists each image's decision, reviewer, time and prediction. An image with
    several decisions is written once, with the newest. The folder appears when it is complete.

    `reviewed` is read one cell at a time; `out` must be missing or empty. Raises `DatasetError` if
    there is no reviewed cell. Raises `OutputError` if `out` is in use or can't be written.
    """
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise OutputError(f"{out} already exists; it was not changed. Choose a new folder.")
    newest: dict[str, Reviewed] = {}
    rows: dict[str, dict[str, str]] = {}
    labels: dict[str, set[str]] = {}
    with appearing(out) as folder:
        for cell in reviewed:
            image = cell.prediction.image
            labels.setdefault(image, set()).add(cell.label)
            if image in newest and _order(newest[image]) > _order(cell):
                continue
            if image in newest:
                with writing(folder):
                    (folder / rows[image]["file"]).unlink()
            rows[image], newest[image] = _row(cell), replace(cell, png=b"")
            path = folder / rows[image]["file"]
            ensure_folder(path.parent)
            with writing(path):
                path.write_bytes(cell.png)
        if not rows:
            raise DatasetError(
                "There is no reviewed cell to export: no cell has a class from a reviewer, or "
                "their images have been deleted. Review some cells first."
            )
        write_text(folder / TABLE, _table(rows))
    counts = Counter(row["label"] for row in rows.values())
    return Exported(out, dict(sorted(counts.items())), len(rows), _notes(rows, labels))


def _order(cell: Reviewed) -> tuple[datetime, int]:
    return cell.at, cell.prediction.id


def _notes(
    rows: Mapping[str, Mapping[str, str]], labels: Mapping[str, set[str]]
) -> tuple[str, ...]:
    return tuple(
        f"{row['name']} has conflicting decisions: {', '.join(sorted(labels[image]))}. The newest "
        f"was used: {row['label']}, by {row['reviewer']}."
        for image, row in sorted(rows.items())
        if len(labels[image]) > 1
    )


def _row(cell: Reviewed) -> dict[str, str]:
    prediction = cell.prediction
    return {
        "sha256": prediction.image,
        "file": f"{_folder(cell.label)}/{prediction.image[:_DIGITS]}.png",
        "name": prediction.name,
        "model": prediction.model.name,
        "model_sha256": prediction.model.sha256,
        "model_label": prediction.label,
        "confidence": f"{prediction.confidence:.6f}",
        "label": cell.label,
        "reviewer": cell.reviewer,
        "at": cell.at.astimezone(UTC).isoformat(timespec="seconds"),
    }


def _folder(label: str) -> str:
    """Return a folder name for a class that is valid on every system.

    Reserved characters become underscores, which `taxonomy.normalise` ignores.
    """
    plain = re.sub(r"[^\w ()+,=@~.-]", "_", label).strip(" .")
    return f"_{plain}" if is_reserved(plain) else plain


def _table(rows: Mapping[str, Mapping[str, str]]) -> str:
    ordered = sorted(rows.values(), key=lambda row: row["file"])
    return csv_text((COLUMNS, *([row[column] for column in COLUMNS] for row in ordered)))
