"""``adapt`` for detectors: fit calibration, thresholds and box size to a few annotated fields.

The network stays as it is. Every change is evaluated on fields it was not fitted to, by
cross-validation with whole groups. Where it does not improve the results, the old value is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hematovision.data.labelled_fields import LabelledFields, read_labelled_fields
from hematovision.errors import DatasetError, ImageError
from hematovision.evaluation.metrics import write_json
from hematovision.figures import show
from hematovision.files import sha256_bytes, sha256_file, write_text
from hematovision.frames import plain_frame
from hematovision.model.bundle import ONNX, Bundle, finish_bundle, stage_bundle, with_self_test
from hematovision.model.detector import Detector
from hematovision.model.manifest import Detection
from hematovision.paths import name_bytes, shown
from hematovision.plurals import counted
from hematovision.progress import Progress, no_progress
from hematovision.reporting.detector_adaptation import (
    BoxSize,
    ClassChange,
    ClassScores,
    DetectorChanges,
    changes_figure,
    detector_card,
    write_detector_report,
)
from hematovision.reporting.report import ReportFacts
from hematovision.training.correction import group_folds
from hematovision.training.detector_fit import (
    LEAST_CELLS,
    Peaks,
    best_threshold,
    box_ratio,
    fit_logits,
    is_gain,
    log_loss,
    logit,
    sigmoid,
)
from hematovision.workflows.adapt.field_peaks import (
    FieldPeaks,
    Values,
    detection_of,
    look,
    with_detection,
)

if TYPE_CHECKING:
    from hematovision.figures import Figure
    from hematovision.frames import DataFrame

__all__ = ["AdaptDetectorResult", "FieldSource", "adapt_detector", "adapt_to_fields"]

ADAPTATION, CARD = "adaptation.json", "MODEL_CARD.md"

_LEAST_FIELDS = 5
_FOLDS = 5
_LEAST_CORRECTION = 0.02  # a smaller one of the box size is noise

_Counts = NDArray[np.int64]
"""Matched, found and annotated cells, by field and class: (F, C, 3)."""


@dataclass(frozen=True)
class AdaptDetectorResult:
    """The result of `adapt_detector`.

    Parameters
    ----------
    folder : Path
        The run folder: a bundle for ``analyze --detector``.
    report : Path
        ``report.html``.
    n : int
        Number of annotated fields.
    changes : DetectorChanges
        What changed, and the scores on held-out fields before and after.
    refused : tuple of ImageError
        Fields that could not be read.
    notes : tuple of str
        Caveats.

    Examples
    --------
    >>> import hematovision
    >>> result = hematovision.adapt("blood-fields", "lab", out="runs/detector")
    >>> result.n, list(result.changes.classes)
    (5, ['RBC', 'WBC', 'Platelets'])
    >>> result.to_pandas()["annotated"].index.tolist()
    ['RBC', 'WBC', 'Platelets']
    >>> result.plot().savefig("f1.png")
    """

    folder: Path
    report: Path
    n: int
    changes: DetectorChanges
    refused: tuple[ImageError, ...]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        result = "nothing changed" if self.changes.unchanged else "adapted"
        return f"AdaptDetectorResult({str(self.folder)!r}, {counted(self.n, 'field')}: {result})"

    def to_pandas(self) -> DataFrame:
        """Return a data frame with a row per class: scores on held-out fields, and threshold.

        ``annotated`` is the number of cells; ``f1_before`` and ``f1_after`` are by centre distance,
        ``count_error_before`` and ``count_error_after`` in cells per field.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        names = ("f1", "count_error", "threshold")
        return plain_frame(
            (
                {"class": label, "annotated": one.annotated}
                | {f"{name}_before": getattr(one.before, name) for name in names}
                | {f"{name}_after": getattr(one.after, name) for name in names}
                for label, one in self.changes.classes.items()
            ),
            index="class",
        )

    def plot(self) -> Figure:
        """Return a matplotlib figure of F1 on held-out fields, before and after, by class.

        Raises
        ------
        MissingExtraError
            If matplotlib is not installed.
        """
        return show(changes_figure(self.changes))


@dataclass(frozen=True, eq=False)
class _Fields:
    """Annotated fields as one detector sees them, and the folds that are held out in turn."""

    detector: Detector
    seen: Sequence[FieldPeaks]
    folds: NDArray[np.int64]  # (F,)
    annotated: Sequence[int]  # the classes that the lab annotates

    @property
    def old(self) -> list[Values]:
        """The detector's own values."""
        thresholds = self.detector.thresholds
        return [Values(1.0, 0.0, thresholds[name]) for name in self.detector.classes]

    def peaks(self, label: int, chosen: NDArray[np.bool_]) -> Peaks:
        """Return the possible cells of a class in some fields."""
        some = [self.seen[i].peaks(self.detector, label) for i in np.flatnonzero(chosen).tolist()]
        return Peaks(
            np.concatenate([one.logits for one in some]),
            np.concatenate([one.right for one in some]),
            sum(one.annotated for one in some),
        )

    def counts(self, values: Sequence[Values], chosen: NDArray[np.bool_]) -> _Counts:
        """Count the cells that the detector finds in some fields with other values."""
        rows = []
        for i in np.flatnonzero(chosen).tolist():
            one = self.seen[i]
            found = one.cells(self.detector, values)
            pairs = [one.matches(found, label)[1] for label in range(len(values))]
            rows.append([
                (int(right.sum()), len(right), int((one.labels == label).sum()))
                for label, right in enumerate(pairs)
            ])  # fmt: skip
        return np.array(rows, np.int64)


@dataclass(frozen=True)
class FieldSource:
    """How to read annotated fields, as in `read_labelled_fields`.

    Examples
    --------
    >>> import hematovision
    >>> hematovision.FieldSource(format="yolo", names=("RBC", "WBC", "Platelets")).lab is None
    True
    """

    format: str | None = None
    annotations: Path | None = None
    names: tuple[str, ...] | None = None
    lab: str | None = None


def adapt_detector(
    bundle: Bundle,
    folder: Path,
    *,
    out: Path,
    source: FieldSource | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
) -> AdaptDetectorResult:
    """Adapt a detector to annotated fields of a lab; see `adapt`.

    `out` is an empty folder that the caller has claimed; the Test split in `folder`, if it has one,
    is not used. Raises `DatasetError` if there are fewer than five readable fields, or no class
    with ten annotated cells.
    """
    data = read_labelled_fields(folder, taxonomy=bundle.taxonomy, **vars(source or FieldSource()))
    return adapt_to_fields(bundle, data, out=out, seed=seed, progress=progress)


def adapt_to_fields(
    bundle: Bundle,
    data: LabelledFields,
    *,
    out: Path,
    seed: int = 0,
    progress: Progress = no_progress,
) -> AdaptDetectorResult:
    """Adapt a detector to fields that have been read; see `adapt_detector`."""
    folder = data.root
    chosen = data.with_fields(field for field in data if field.split != "test")
    _check_enough(len(chosen), folder)
    seen, refused = look(bundle, chosen.fields, progress, "finding cells")
    _check_enough(len(seen), folder)
    labels = [bundle.taxonomy.index(name) for name in data.annotated]
    before = _Fields(Detector(bundle), seen, _folds(seen, seed), labels)
    _check_cells(before, folder)
    after, box_size = _rescaled(bundle, chosen, before, progress)
    detection, changes = _fitted(before, after, box_size)
    notes = _notes(data, chosen, changes)
    adapted = _stage(out, bundle, detection, data, chosen, seed)
    report = _write(adapted, bundle, chosen, changes, notes)
    return AdaptDetectorResult(out, report, len(seen), changes, tuple(refused), notes)


def _check_enough(count: int, folder: Path) -> None:
    if count < _LEAST_FIELDS:
        raise DatasetError(
            f"{folder} has {count} readable annotated fields to adapt to; at least "
            f"{_LEAST_FIELDS} are needed, and 20 are better. Annotate every cell of some more."
        )


def _check_cells(fields: _Fields, folder: Path) -> None:
    counts = _annotated(fields)
    if max(counts) < LEAST_CELLS:
        found = ", ".join(f"{n} {c}" for n, c in zip(counts, fields.detector.classes, strict=True))
        raise DatasetError(
            f"{folder} has too few annotated cells to adapt to: {found}. At least {LEAST_CELLS} of "
            "a class are needed. Annotate more fields."
        )


def _annotated(fields: _Fields) -> list[int]:
    """Return the number of annotated cells of each class; 0 for those not annotated."""
    return [
        sum(int((one.labels == label).sum()) for one in fields.seen)
        for label in range(len(fields.detector.classes))
    ]


def _folds(seen: Sequence[FieldPeaks], seed: int) -> NDArray[np.int64]:
    """Return the fold of each field; groups stay together, and classes are spread."""
    labels = [one.labels if len(one.labels) else np.zeros(1, np.int64) for one in seen]
    groups = [one.group for one, own in zip(seen, labels, strict=True) for _ in own]
    of_cell = group_folds(np.concatenate(labels), groups, _FOLDS, seed)
    starts = np.cumsum([0, *map(len, labels[:-1])])
    return np.asarray(of_cell[starts], np.int64)


def _rescaled(
    bundle: Bundle, data: LabelledFields, before: _Fields, progress: Progress
) -> tuple[_Fields, BoxSize]:
    """Correct the size of boxes by that of annotated red cells, if that is better everywhere."""
    ratios = np.array([one.ratio or np.nan for one in before.seen])
    known = np.isfinite(ratios)
    if known.sum() < _LEAST_FIELDS:
        return before, BoxSize(1.0, None, None, int(known.sum()))
    errors = np.abs(np.log(ratios))
    corrected = np.full(len(ratios), np.nan)
    for fold in np.unique(before.folds):
        inside, outside = known & (before.folds != fold), known & (before.folds == fold)
        corrected[outside] = np.abs(np.log(ratios[outside] / box_ratio(ratios[inside])))
    factor = box_ratio(ratios[known])
    old, new = (float(np.exp(error[known].mean()) - 1) for error in (errors, corrected))
    gains = (errors - corrected)[known]
    if abs(factor - 1) < _LEAST_CORRECTION or not is_gain(gains):
        return before, BoxSize(1.0, old, old, int(known.sum()))
    old_values = detection_of(bundle)
    # Both change, so that the network sees the fields at the same scale as before.
    new_values = replace(
        old_values,
        box_scale=old_values.box_scale * factor,
        red_cell_px=old_values.red_cell_px * factor,
    )
    scaled = with_detection(bundle, new_values)
    again, _ = look(scaled, data.fields, progress, "finding cells at the new scale")
    after = replace(before, detector=Detector(scaled), seen=again)
    if not _no_worse(after, before):  # other duplicates are removed
        return before, BoxSize(1.0, old, old, int(known.sum()))
    return after, BoxSize(factor, old, new, int(known.sum()))


def _no_worse(after: _Fields, before: _Fields) -> bool:
    """Return whether the F1 of all cells together is as good with the detector's own values."""
    every = np.ones(len(before.seen), np.bool_)
    new, old = (
        one.counts(one.old, every)[:, before.annotated].sum(axis=(0, 1)) for one in (after, before)
    )
    return _f1(new) >= _f1(old)


def _is_no_worse(new: _Counts, old: _Counts, labels: Sequence[int]) -> bool:
    """Return whether no class has a lower F1 over all fields."""
    return all(_f1(new[:, k].sum(axis=0)) >= _f1(old[:, k].sum(axis=0)) for k in labels)


def _f1(counts: NDArray[np.int64]) -> float:
    matched, found, annotated = map(int, counts)
    return 2 * matched / (found + annotated) if found + annotated else 1.0


@dataclass(frozen=True)
class _Kept:
    """Which values of each class are replaced."""

    calibration: tuple[bool, ...]
    threshold: tuple[bool, ...]

    def choose(self, old: Sequence[Values], new: Sequence[Values]) -> list[Values]:
        """Return the new values where they replace the old ones.

        An old threshold is moved with a new calibration, so that the same cells are found.
        """
        chosen = []
        for label, (one, other) in enumerate(zip(old, new, strict=True)):
            a, b = (other.a, other.b) if self.calibration[label] else (one.a, one.b)
            source = other if self.threshold[label] else one
            limit = (logit(source.threshold) - source.b) / source.a
            chosen.append(Values(a, b, sigmoid(a * limit + b)))
        return chosen


def _fitted(
    before: _Fields, after: _Fields, box_size: BoxSize
) -> tuple[Detection, DetectorChanges]:
    """Fit calibration and thresholds, and compare them on the fields held out."""
    every = np.ones(len(after.seen), np.bool_)
    numbers = np.unique(after.folds)
    fits = {int(fold): _fit(after, after.folds != fold) for fold in numbers}
    first = _counts(before, dict.fromkeys(fits, before.old))
    rescaled = _counts(after, dict.fromkeys(fits, after.old))
    better = _compared(after, fits)
    none = (False,) * len(better.threshold)
    # Classes suppress one another: what is better for each alone may be worse together.
    for kept in (better, replace(better, threshold=none), _Kept(none, none)):
        chosen = {fold: kept.choose(after.old, new) for fold, new in fits.items()}
        last = _counts(after, chosen)
        if _is_no_worse(last, rescaled, after.annotated):
            break
    values = kept.choose(after.old, _fit(after, every))
    old = detection_of(after.detector.bundle)
    names = after.detector.classes
    detection = replace(
        old,
        thresholds={name: round(v.threshold, 4) for name, v in zip(names, values, strict=True)},
        calibration={
            name: (
                round(v.a * old.calibration[name][0], 4),
                round(v.a * old.calibration[name][1] + v.b, 4),
            )
            for name, v in zip(names, values, strict=True)
        },
    )
    return detection, _changes(before, detection, kept, box_size, first, last)


def _fit(fields: _Fields, chosen: NDArray[np.bool_]) -> list[Values]:
    """Fit the values of each class to some fields; those of classes with few cells are kept."""
    values = fields.old
    for label in fields.annotated:
        peaks = fields.peaks(label, chosen)
        if peaks.annotated < LEAST_CELLS or not len(peaks.logits):
            continue
        a, b = fit_logits(peaks)
        values[label] = Values(a, b, best_threshold(peaks._replace(logits=a * peaks.logits + b)))
    return values


def _compared(fields: _Fields, fits: dict[int, list[Values]]) -> _Kept:
    """Return which values are better on the fields held out."""
    calibration, threshold = [], []
    old = fields.old
    new_counts, old_counts = _counts(fields, fits), _counts(fields, dict.fromkeys(fits, old))
    fewer = _errors(old_counts) - _errors(new_counts)
    for label in range(len(old)):
        gains = [
            log_loss(peaks, 1.0, 0.0) - log_loss(peaks, own.a, own.b)
            for one, fold in zip(fields.seen, fields.folds.tolist(), strict=True)
            for peaks, own in [(one.peaks(fields.detector, label), fits[fold][label])]
        ]
        before, after = (_f1(counts[:, label].sum(axis=0)) for counts in (old_counts, new_counts))
        is_annotated = label in fields.annotated
        calibration.append(is_annotated and is_gain(np.array(gains)))
        threshold.append(is_annotated and after > before and is_gain(fewer[:, label]))
    return _Kept(tuple(calibration), tuple(threshold))


def _errors(counts: _Counts) -> NDArray[np.int64]:
    """Return the false and missed cells by field and class."""
    return np.asarray(counts[..., 1] + counts[..., 2] - 2 * counts[..., 0])


def _counts(fields: _Fields, values: dict[int, list[Values]]) -> _Counts:
    """Count the cells of each field with the values of the fold that holds it out."""
    counts = np.zeros((len(fields.seen), len(fields.detector.classes), 3), np.int64)
    for fold, own in values.items():
        chosen = fields.folds == fold
        counts[chosen] = fields.counts(own, chosen)
    return counts


def _changes(
    before: _Fields,
    new: Detection,
    kept: _Kept,
    box_size: BoxSize,
    first: _Counts,
    last: _Counts,
) -> DetectorChanges:
    old = detection_of(before.detector.bundle)
    classes = {
        name: ClassChange(
            annotated=int(first[:, label, 2].sum()),
            before=_scores(first[:, label], old, name),
            after=_scores(last[:, label], new, name),
            new_threshold=kept.threshold[label],
            new_calibration=kept.calibration[label],
        )
        for label, name in enumerate(before.detector.classes)
        if label in before.annotated
    }
    return DetectorChanges(len(before.seen), len(np.unique(before.folds)), classes, box_size)


def _scores(counts: NDArray[np.int64], detection: Detection, name: str) -> ClassScores:
    matched, found, annotated = (int(n) for n in counts.sum(axis=0))
    errors = counts[:, 1] - counts[:, 2]
    return ClassScores(
        f1=_f1(counts.sum(axis=0)),
        precision=matched / found if found else None,
        recall=matched / annotated if annotated else None,
        count_error=float(np.abs(errors).mean()),
        count_bias=float(errors.mean()),
        threshold=detection.thresholds[name],
        calibration=detection.calibration[name],
    )


def _notes(
    data: LabelledFields, chosen: LabelledFields, changes: DetectorChanges
) -> tuple[str, ...]:
    notes = [
        (
            f"Each field was evaluated with values fitted to the other folds ({changes.folds} "
            "folds, whole groups together). Which values to replace was decided on the same "
            "results, so they are slightly optimistic."
        )
    ]
    left_out = len(data) - len(chosen)
    if left_out:
        notes.append(f"The {counted(left_out, 'field')} of the Test split were not used.")
    absent = [name for name in chosen.taxonomy.classes if name not in changes.classes]
    if absent:
        notes.append(f"Not annotated, so unchanged: {', '.join(absent)}.")
    few = [name for name, one in changes.classes.items() if one.annotated < LEAST_CELLS]
    if few:
        notes.append(f"Fewer than {LEAST_CELLS} annotated cells, so unchanged: {', '.join(few)}.")
    if changes.unchanged:
        notes.append("No change improved the results on held-out fields: the detector is the same.")
    return tuple(notes)


def _stage(
    out: Path,
    source: Bundle,
    detection: Detection,
    data: LabelledFields,
    chosen: LabelledFields,
    seed: int,
) -> Bundle:
    """Write the model without ``bundle.json``."""
    old = source.manifest
    lineage = {
        "name": old.name,
        "model_sha256": old.files[ONNX],
        "detection": detection_of(source).to_json(),
        "data": dict(old.data),
        "fields": len(chosen),
    }
    manifest = replace(
        old,
        name=shown(out.resolve().name),
        detection=detection,
        data={
            "dataset": shown(data.root.name),
            "fingerprint": _fingerprint(chosen),
            "labs": sorted({field.lab for field in chosen}),
            "adapted_from": lineage,
        },
        seed=seed,
        options={"adapt": {"seed": seed}},
        versions={},
        created="",
    )
    return with_self_test(stage_bundle(out, manifest, {ONNX: source.read(ONNX)}))


def _fingerprint(fields: LabelledFields) -> str:
    """Return the SHA-256 of all images and their boxes, independent of file names."""
    lines = sorted(
        f"{sha256_file(field.image)} {[(one.label, one.box) for one in field.source.boxes]}"
        for field in fields
    )
    return sha256_bytes(name_bytes("\n".join(lines)))


def _write(
    bundle: Bundle,
    source: Bundle,
    data: LabelledFields,
    changes: DetectorChanges,
    notes: tuple[str, ...],
) -> Path:
    """Write report and card, then ``bundle.json``; return the report."""
    title = f"{source.name} (SHA-256 {source.manifest.files[ONNX][:12]}...)"
    details: dict[str, Any] = {
        "Adapted from": title,
        "Adapted to": f"{changes.n} annotated fields",
        "Fingerprint (SHA-256)": bundle.manifest.data["fingerprint"],
    }
    facts = ReportFacts(
        title=f"{shown(data.root.name)}: adapted detector",
        model=bundle.name,
        dataset=shown(data.root.name),
        split="cross-validation",
        details=details,
        labs=tuple(bundle.manifest.data["labs"]),
        notes=notes,
    )
    write_json(bundle.folder / ADAPTATION, changes.to_json())
    report = write_detector_report(bundle.folder, changes, facts)
    card = source.read(CARD).decode("utf-8", "replace") if CARD in source.manifest.files else ""
    write_text(bundle.folder / CARD, detector_card(bundle.name, title, changes, notes, card))
    finish_bundle(bundle, also=[ADAPTATION])
    return report
