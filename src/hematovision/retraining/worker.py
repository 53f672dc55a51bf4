"""The training process: ``python -m hematovision.retraining.worker EVENTS``.

The first event is the request; the worker appends the others. See `run.start_retraining`.
"""

from __future__ import annotations

import csv
import logging
import os
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hematovision.data.folders import read_dataset
from hematovision.data.samples import Dataset, Split
from hematovision.data.splits import SPLIT_FILE
from hematovision.errors import HematoVisionError
from hematovision.files import ensure_folder, open_own, wait_for_lock, writing
from hematovision.model.bundle import Bundle, read_bundle
from hematovision.model.registry import find_model
from hematovision.paths import from_csv_cell
from hematovision.plurals import counted
from hematovision.progress import Progress, no_progress
from hematovision.retraining.run import (
    EventLog,
    ModelComparison,
    Scores,
    lock_file,
    read_events,
    work_folder,
)
from hematovision.taxonomy import TAXONOMIES

if TYPE_CHECKING:
    from hematovision.evaluation import Metrics
    from hematovision.workflows.adapt import AdaptResult

__all__ = ["compare_adapted", "compare_models", "main"]

_COMPARISON = "comparison"  # subfolder of a run folder, with compare.html
_NICENESS = 5  # classification has priority
_UNKNOWN = (
    "The old model's folder does not list its training images, so it is not known whether it was "
    "trained on some of these cells."
)
# `dataset.export_reviewed` names images by content; other names identify only a location.
_BY_CONTENT = re.compile(r"[0-9a-f]{16}\.png")


def main(arguments: Sequence[str]) -> int:
    """Run the training requested in an event file; return the exit code."""
    events = Path(arguments[0])
    with wait_for_lock(lock_file(events)), open_own(events) as stream:
        read = list(read_events(events))
        if any(event["event"] == "stopped" for event in read):
            return 0
        log = EventLog(stream)
        log.write("running", pid=os.getpid())
        try:
            _run(read[0], log)
        except HematoVisionError as error:
            log.write("error", message=str(error))
            return 1
        log.write("done")
    return 0


def _run(started: dict[str, Any], log: EventLog) -> None:
    """Build the run folder in `work_folder`, and move it into place when complete."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    out = Path(started["folder"])
    work = work_folder(out)
    run = ensure_folder(work) / out.name
    try:
        (_adapt if started["kind"] == "adapt" else _train)(started, run, log)
        with writing(out):
            if out.exists():
                out.rmdir()
            run.rename(out)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _adapt(started: dict[str, Any], run: Path, log: EventLog) -> None:
    from hematovision.workflows.adapt import adapt_classifier

    model, dataset = started["model"], Path(started["dataset"])
    result = adapt_classifier(model, dataset, out=run, seed=started["seed"], progress=log)
    comparison = compare_adapted(model, result)
    if comparison is not None:
        log.write("compared", figures=comparison.to_json())


def _train(started: dict[str, Any], run: Path, log: EventLog) -> None:
    from hematovision.workflows.train import TrainOptions, train

    old, dataset = started["model"], Path(started["dataset"])
    options = TrainOptions(taxonomy=_taxonomy(old), seed=started["seed"])
    train(dataset, run, options, progress=log)
    if old is None:
        return
    try:
        # Only progress: training has already reported the notes on the dataset.
        comparison = compare_models(old, run, dataset, run / _COMPARISON, progress=log.__call__)
    except HematoVisionError as error:  # the new model is complete, with its own metrics
        log.write("not compared", reason=str(error))
    else:
        log.write("compared", figures=comparison.to_json())


def _taxonomy(model: str | None) -> str | None:
    """Return the old model's taxonomy; folder names could suggest fewer classes."""
    if model is None:
        return None
    name = read_bundle(find_model(model)).taxonomy.name
    return name if name in TAXONOMIES else "folders"


# --- comparing the new model with the old one ----------------------------------------------------


def compare_models(
    old: str | Path,
    new: Path,
    dataset: Path,
    out: Path | None = None,
    *,
    progress: Progress = no_progress,
) -> ModelComparison:
    """Compare both models on the cells that the new one was not trained on.

    `new` is the run folder of a model trained on `dataset`, with ``split.csv``. Without a test
    split, the validation split is used, with a note. ``compare.html`` and its files are written
    into the new folder `out`, if given. Raises `HematoVisionError` if the two can't be compared;
    see `workflows.compare`.
    """
    from hematovision.workflows.compare import compare

    bundles = read_bundle(find_model(old)), read_bundle(new)
    splits = new / SPLIT_FILE
    data = read_dataset(dataset, bundles[1].taxonomy, splits=splits)
    split: Split = "test" if "test" in data.splits else "valid"
    result = compare(old, new, dataset, split=split, splits=splits, out=out, progress=progress)
    notes = ["The first model is the old one, the second the new one.", *result.notes]
    if split == "valid":
        notes.append(
            "The dataset is too small for a test split, or has none: these cells were "
            "used for early stopping and calibration, which favours the new model."
        )
    notes += _notes(bundles, data.subset(split))
    first, second = result.comparison.first, result.comparison.second
    return _comparison(bundles, (first, second), result.verdict, notes)


def compare_adapted(old: str | Path, result: AdaptResult) -> ModelComparison | None:
    """Return the scores of both models on the same cells, as measured while adapting.

    The cells are the test split. Without one, they are all cells, each predicted by a model adapted
    without its group. None if the dataset has no labels.
    """
    before, after = result.before, result.metrics
    if before is None or after is None:
        return None
    bundles = read_bundle(find_model(old)), read_bundle(result.folder)
    rows = _split_rows(result.folder)
    test = [row["file"] for row in rows if row["split"] == "test"]
    notes = [
        "These cells are the dataset's test split, to which the model was not adapted."
        if test
        else "Each cell was predicted by a model that was adapted without it (cross-validation)."
    ]
    notes += _classes_note(bundles)
    notes += _overlap_note(bundles[0], test or [row["file"] for row in rows])
    return _comparison(bundles, (before, after), _verdict(before, after), notes)


def _comparison(
    bundles: tuple[Bundle, Bundle],
    metrics: tuple[Metrics, Metrics],
    verdict: str,
    notes: Sequence[str],
) -> ModelComparison:
    old, new = (
        Scores(bundle.name, each.balanced_accuracy, each.accuracy, each.errors)
        for bundle, each in zip(bundles, metrics, strict=True)
    )
    return ModelComparison(metrics[1].n, old, new, verdict, " ".join(notes))


def _verdict(before: Metrics, after: Metrics) -> str:
    """Return a verdict; a model is better only if the 95% intervals of accuracy do not overlap.

    This is stricter than a paired test, which would need the old model's predictions by cell.
    """
    counts = (
        f"Of {counted(after.n, 'cell')} the adapted model predicts {after.n - after.errors} "
        f"correctly, the old one {before.n - before.errors}."
    )
    old, new = before.intervals.get("accuracy"), after.intervals.get("accuracy")
    if old and new and new[0] > old[1]:
        return f"The adapted model is better. {counts}"
    if old and new and old[0] > new[1]:
        return f"The old model is better. {counts}"
    return f"No significant difference on so few cells. {counts}"


def _notes(bundles: tuple[Bundle, Bundle], cells: Dataset) -> list[str]:
    files = [cells.relative(sample) for sample in cells]
    notes = [*_classes_note(bundles), *_overlap_note(bundles[0], files)]
    if all(sample.group == file for sample, file in zip(cells, files, strict=True)):
        notes.append(
            "It is not known which cells come from the same slide or patient. Such cells may be in "
            "both training and test data, which favours the new model."
        )
    return notes


def _classes_note(bundles: tuple[Bundle, Bundle]) -> list[str]:
    old, new = (bundle.taxonomy.classes for bundle in bundles)
    if set(old) == set(new):
        return []
    return [f"The classes differ: {', '.join(old)} and {', '.join(new)}."]


def _overlap_note(old: Bundle, files: Iterable[str]) -> list[str]:
    """Return a note on how many of the cells the old model was trained on, if known."""
    rows = _split_rows(old.folder)
    if not rows:
        return [_UNKNOWN]
    trained = {_identity(row["file"]) for row in rows if row["split"] != "test"}
    overlap = sum(_identity(file) in trained for file in files)
    if not overlap:
        return []
    return [f"The old model was trained on {overlap} of these cells, so its scores are too high."]


def _split_rows(run: Path) -> list[dict[str, str]]:
    path = run / SPLIT_FILE
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        rows = csv.DictReader(stream)
        return [{name: from_csv_cell(value or "") for name, value in row.items()} for row in rows]


def _identity(file: str) -> str:
    """Return an image's identity: its name if derived from the content, else its path."""
    name = file.rpartition("/")[2]
    return name if _BY_CONTENT.fullmatch(name) else file


if __name__ == "__main__":  # pragma: no cover - run as a process
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    logging.basicConfig(format="%(message)s")  # warnings, into the training's log file
    sys.exit(main(sys.argv[1:]))
