"""``evaluate`` for detectors: find the cells of annotated fields, and compare them with the boxes.

The whole analysis is evaluated, with its search for the scale, next to two simple baselines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hematovision.data.labelled_fields import LabelledFields, read_labelled_fields
from hematovision.errors import AnnotationError, ImageError
from hematovision.evaluation.detection import DetectionMetrics, write_detection_metrics
from hematovision.evaluation.detection.baselines import Baselines
from hematovision.extras import require
from hematovision.fields.rows import CELL_CLASSES
from hematovision.figures import show
from hematovision.model.bundle import read_bundle
from hematovision.model.registry import DEFAULT_MODEL, find_model
from hematovision.paths import shown
from hematovision.plurals import counted
from hematovision.progress import Progress, no_progress
from hematovision.reporting.detection import (
    DrawnField,
    worst_fields,
    write_cell_table,
    write_detection_report,
    write_field_table,
    write_figures,
)
from hematovision.reporting.detection.figures import precision_figure
from hematovision.reporting.report import ReportFacts
from hematovision.workflows.detection.finding import (
    FieldOutcome,
    Pipeline,
    find_cells,
    metrics_of,
)
from hematovision.workflows.labelled import Part, choose_split
from hematovision.workflows.outputs import claimed_folder

if TYPE_CHECKING:
    from hematovision.figures import Figure
    from hematovision.frames import DataFrame

__all__ = ["DetectionOptions", "DetectionResult", "evaluate_detector"]

_LISTED = 5  # unreadable fields and problems in the notes
_CAVEAT = (
    "Found cells without a box count as false, also where the box is missing: precision is no "
    "better than the annotation."
)


@dataclass(frozen=True)
class DetectionOptions:
    """How to read annotated fields, and what to evaluate.

    Examples
    --------
    >>> import hematovision
    >>> hematovision.DetectionOptions(format="csv", baselines=False).known_scale
    False
    """

    # as in `read_labelled_fields`
    format: str | None = None
    annotations: Path | None = None
    names: Sequence[str] | None = None
    lab: str | None = None
    known_scale: bool = False  # use the scale of the annotated red cells, and don't search for it
    detector_only: bool = False  # leave out the crop classifier that checks doubtful cells
    baselines: bool = True  # also evaluate the baselines


@dataclass(frozen=True)
class DetectionResult:
    """The folder of an evaluation, the report in it, the metrics, and unreadable fields.

    Examples
    --------
    >>> import hematovision
    >>> options = hematovision.DetectionOptions(baselines=False)
    >>> result = hematovision.evaluate("blood-fields", "annotated", out="found", fields=options)
    >>> result.metrics.n, list(result.to_pandas().index)
    (2, ['RBC', 'WBC', 'Platelets'])
    >>> result.plot().savefig("precision.png")
    """

    folder: Path
    report: Path
    metrics: DetectionMetrics
    refused: tuple[ImageError | AnnotationError, ...]

    def __repr__(self) -> str:
        return f"DetectionResult({str(self.folder)!r}, {self.metrics.summary})"

    def to_pandas(self) -> DataFrame:
        """Return the scores of each class; see `DetectionMetrics.to_pandas`."""
        return self.metrics.to_pandas()

    def plot(self) -> Figure:
        """Return a matplotlib figure of precision against recall, at an overlap of 0.5."""
        return show(precision_figure(self.metrics.per_class))


def evaluate_detector(
    detector: str | Path,
    dataset: Path,
    *,
    out: Path,
    split: Part = "test",
    options: DetectionOptions | None = None,
    progress: Progress = no_progress,
) -> DetectionResult:
    """Evaluate a detector on annotated fields.

    Writes ``metrics.json``, ``fields.csv`` (a row per field), ``predictions.csv`` (a row per found
    or missed cell), ``report.html`` and its figures. The baselines are fitted on the dataset's
    training split, if it has one.

    Parameters
    ----------
    detector : str or Path
        A bundled detector's name or a folder.
    dataset : Path
        Annotated fields in any format of `hematovision.data.formats`.
    out : Path
        The folder to create; must be new or empty.
    split : {"train", "valid", "test", "all"}
        Fields without splits are evaluated whole.
    options : DetectionOptions, optional
    progress : Progress

    Raises
    ------
    DatasetError
        If there are no annotated fields, no such split, or no readable field.
    ModelNotFoundError, BundleError
        If the detector cannot be used.
    OutputError
        If `out` is in use or cannot be written.
    MissingExtraError
        Immediately, if a package of the extra ``eval`` is missing.
    """
    require("evaluate detector")
    how = options or DetectionOptions()
    pipeline = Pipeline.load(detector, detector_only=how.detector_only)
    data = read_labelled_fields(
        Path(dataset),
        format=how.format,
        annotations=how.annotations,
        names=how.names,
        lab=how.lab,
    )
    chosen = choose_split(data, split)
    with claimed_folder(out, inputs=[dataset]):
        baselines = Baselines.fit_split(data, split, progress) if how.baselines else None
        outcomes, refused = find_cells(
            pipeline, chosen, baselines, known_scale=how.known_scale, progress=progress
        )
        metrics = metrics_of(outcomes, baselines)
        notes = _notes(data, outcomes, refused)
        metrics = replace(metrics, warnings=(*metrics.warnings, *notes))
        report = _write(out, metrics, _facts(detector, data, split, how), outcomes)
    return DetectionResult(out, report, metrics, refused)


def _facts(
    detector: str | Path, data: LabelledFields, split: Part, how: DetectionOptions
) -> ReportFacts:
    manifest = read_bundle(find_model(detector)).manifest
    whole = split == "all" or not data.splits
    return ReportFacts(
        title=f"{shown(data.root.name)}: {'all fields' if whole else f'{split} split'}",
        model=manifest.name,
        dataset=shown(data.root.name),
        split="all" if whole else split,
        details={
            "Backbone": manifest.backbone.name,
            "Scale": "of the annotated red cells" if how.known_scale else "found by the analysis",
            "Crop classifier": "left out" if how.detector_only else DEFAULT_MODEL,
            "Created": manifest.created,
        },
        labs=tuple(map(str, manifest.data.get("labs", ()))),
        notes=(_CAVEAT,),
    )


def _notes(
    data: LabelledFields,
    outcomes: Sequence[FieldOutcome],
    refused: Sequence[ImageError | AnnotationError],
) -> tuple[str, ...]:
    missing = [name for name in data.taxonomy.classes if name not in data.annotated]
    left_out = [problem for outcome in outcomes for problem in outcome.problems]
    notes = list(data.notes) + [shown(problem) for problem in data.problems[:_LISTED]]
    if missing:
        notes.append(f"Not evaluated, because no field has a box of it: {', '.join(missing)}.")
    if left_out:
        notes.append(f"{counted(len(left_out), 'box', 'boxes')} left out: {shown(left_out[0])}.")
    notes += [shown(f"Not evaluated, cannot be read: {error}") for error in refused[:_LISTED]]
    return tuple(notes)


def _write(
    out: Path, metrics: DetectionMetrics, facts: ReportFacts, outcomes: Sequence[FieldOutcome]
) -> Path:
    fields = [outcome.evaluated for outcome in outcomes]
    write_detection_metrics(out / "metrics.json", metrics)
    write_field_table(out / "fields.csv", fields, CELL_CLASSES, [one.flags for one in outcomes])
    write_cell_table(out / "predictions.csv", fields, CELL_CLASSES)
    write_figures(out, metrics, fields)
    worst = []
    for place in worst_fields(fields):
        pixels = outcomes[place].field.load().pixels
        worst.append(DrawnField.of(fields[place], pixels))
    return write_detection_report(out, metrics, facts, fields, worst)
