"""The new model beside the old one, on cells that the new one has not learnt from."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from hematovision.data.folders import read_dataset
from hematovision.data.samples import Dataset, Split
from hematovision.data.splits import SPLIT_FILE
from hematovision.evaluation import Metrics
from hematovision.model.bundle import Bundle, read_bundle
from hematovision.model.registry import find_model
from hematovision.paths import from_csv_cell
from hematovision.progress import Progress, no_progress
from hematovision.retraining.events import Figures, SideBySide
from hematovision.workflows.compare import compare

if TYPE_CHECKING:
    from hematovision.workflows.adapt import AdaptResult

__all__ = ["adapted_beside_old", "compare_models"]

_UNKNOWN = (
    "The folder of the old model does not list its training images, so it is not known whether "
    "it was trained on some of these cells."
)

# How `export` calls an image: by its content. Other names tell only where an image lay.
_BY_CONTENT = re.compile(r"[0-9a-f]{16}\.png")


def compare_models(
    old: str | Path,
    new: Path,
    dataset: Path,
    out: Path | None = None,
    *,
    progress: Progress = no_progress,
) -> SideBySide:
    """Let both models answer the cells that a training kept apart.

    Parameters
    ----------
    old : str or Path
        A bundled model's name or a run folder.
    new : Path
        The run folder of a model that was trained on `dataset`: its ``split.csv`` says which cells
        it has not learnt from. Where there is no test part, those count by which training was
        stopped; the note says so.
    dataset : Path
        What the new model was trained on.
    out : Path, optional
        A folder to make, for ``compare.html`` and its files.
    progress : Progress

    Raises
    ------
    HematoVisionError
        If the two cannot be compared; see `jobs.compare`.
    """
    bundles = read_bundle(find_model(old)), read_bundle(new)
    splits = new / SPLIT_FILE
    data = read_dataset(dataset, bundles[1].taxonomy, splits=splits)
    part: Split = "test" if "test" in data.splits else "valid"
    result = compare(old, new, dataset, split=part, splits=splits, out=out, progress=progress)
    notes = ["The first model is the old one, the second the new one.", *result.notes]
    if part == "valid":
        notes.append(
            "The dataset is too small or was made without a test part: these cells stopped and "
            "calibrated the training, and flatter the new model."
        )
    notes += _notes(bundles, data.subset(part))
    found = result.comparison
    names = (bundle.name for bundle in bundles)
    old_figures, new_figures = map(_figures, names, (found.first, found.second))
    return SideBySide(found.n, old_figures, new_figures, result.verdict, " ".join(notes))


def adapted_beside_old(old: str | Path, result: AdaptResult) -> SideBySide | None:
    """Return the figures that adapting has measured, of both models on the same cells.

    They are those of the Test part, or without one of each cell by a model that was adapted
    without its group. None where adapting had no labels.
    """
    before, after = result.before, result.metrics
    if before is None or after is None:
        return None
    bundles = read_bundle(find_model(old)), read_bundle(result.folder)
    rows = _split_rows(result.folder)
    tested = [row["file"] for row in rows if row["split"] == "test"]
    judged = tested or [row["file"] for row in rows]
    notes = [
        "These cells are the dataset's Test part, to which the model was not adapted."
        if tested
        else "Each cell was predicted by a model that was adapted without it (cross-validation)."
    ]
    notes += [*_classes_note(bundles), *_seen_note(bundles[0], judged)]
    names = (bundle.name for bundle in bundles)
    old_figures, new_figures = map(_figures, names, (before, after))
    return SideBySide(after.n, old_figures, new_figures, _verdict(before, after), " ".join(notes))


def _figures(name: str, metrics: Metrics) -> Figures:
    return Figures(name, metrics.balanced_accuracy, metrics.accuracy, metrics.errors)


def _verdict(before: Metrics, after: Metrics) -> str:
    """Say which is better only where the 95 % intervals of accuracy do not touch.

    That is stricter than a paired test, for which the old model's single answers would be needed.
    """
    said = (
        f"Of {after.n} cells the adapted model tells {after.n - after.errors} rightly, the old one "
        f"{before.n - before.errors}."
    )
    one, two = before.intervals.get("accuracy"), after.intervals.get("accuracy")
    if one and two and two[0] > one[1]:
        return f"The adapted model is better. {said}"
    if one and two and one[0] > two[1]:
        return f"The old model is better. {said}"
    return f"No significant difference: so few cells tell little. {said}"


def _notes(bundles: tuple[Bundle, Bundle], judged: Dataset) -> list[str]:
    notes = [
        *_classes_note(bundles),
        *_seen_note(bundles[0], [judged.relative(sample) for sample in judged]),
    ]
    if all(sample.group == judged.relative(sample) for sample in judged):
        notes.append(
            "Nothing says which cells come from one slide or patient: such cells may be on both "
            "sides, which flatters the new model."
        )
    return notes


def _classes_note(bundles: tuple[Bundle, Bundle]) -> list[str]:
    old, new = (bundle.taxonomy.classes for bundle in bundles)
    if set(old) == set(new):
        return []
    return [f"The classes differ: {', '.join(old)} and {', '.join(new)}."]


def _seen_note(old: Bundle, files: Iterable[str]) -> list[str]:
    """Say whether the old model has seen the cells, as far as its folder tells."""
    rows = _split_rows(old.folder)
    if not rows:
        return [_UNKNOWN]
    learnt = {_identity(row["file"]) for row in rows if row["split"] != "test"}
    seen = sum(_identity(file) in learnt for file in files)
    if not seen:
        return []
    return [f"The old model was trained on {seen} of these cells, so it looks better than it is."]


def _split_rows(run: Path) -> list[dict[str, str]]:
    path = run / SPLIT_FILE
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        rows = csv.DictReader(stream)
        return [{name: from_csv_cell(value or "") for name, value in row.items()} for row in rows]


def _identity(file: str) -> str:
    """Return what tells an image: its name where that comes of its content, else its place."""
    name = file.rpartition("/")[2]
    return name if _BY_CONTENT.fullmatch(name) else file
