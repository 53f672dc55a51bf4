"""``adapt``: adapt a model to another lab with a few dozen of its images.

With labels, the adapted model is evaluated on the Test split if there is one, otherwise by
cross-validation over whole groups. Without labels, the report shows how many images are sent for
review before and after, and which predictions changed.

A detector is adapted to annotated fields (`detector`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hematovision.data.folders import read_dataset
from hematovision.data.samples import Dataset
from hematovision.errors import DatasetError, ImageError, TaxonomyError, TrainingError
from hematovision.evaluation import Metrics, TrainingSplit
from hematovision.evaluation.metric import METRICS
from hematovision.extras import needs_extra, require
from hematovision.figures import show
from hematovision.files import sha256_bytes
from hematovision.frames import plain_frame
from hematovision.images import find_images
from hematovision.model.bundle import read_bundle
from hematovision.model.prediction import RawPredictions
from hematovision.model.registry import find_model
from hematovision.model.thresholds import Thresholds, accepts, fit_max_field
from hematovision.paths import name_bytes, shown
from hematovision.plurals import counted
from hematovision.progress import Progress, no_progress
from hematovision.reporting.adaptation import PredictionChanges, prediction_changes
from hematovision.reporting.plots import confusion_figure, metrics_figure
from hematovision.taxonomy import Taxonomy
from hematovision.workflows.outputs import claimed_folder
from hematovision.workflows.scoring import LabelledPredictions, boxes_of, score_model, split_counts

if TYPE_CHECKING:
    from hematovision.figures import Figure
    from hematovision.frames import DataFrame

with needs_extra("train", "Adapting a model"):
    from hematovision.training.adapting import (
        FeatureModel,
        adapt_labelled,
        adapt_unlabelled,
        out_of_fold_predictions,
    )
    from hematovision.training.correction import Examples
    from hematovision.training.feature_cache import open_cache
    from hematovision.training.features import N_VIEWS, Features, View, extract
    from hematovision.workflows.adapt.bundle import (
        Lab,
        Source,
        changed_examples,
        labelled_notes,
        open_source,
        predictions_table,
        write_adapted,
        write_evaluated,
        write_unevaluated,
    )
    from hematovision.workflows.adapt.detector import (
        AdaptDetectorResult,
        FieldSource,
        adapt_detector,
    )

__all__ = ["AdaptDetectorResult", "AdaptResult", "FieldSource", "adapt", "adapt_classifier"]

_LEAST_UNLABELLED = 20
_LEAST_LABELLED = 10
_LEAST_OF_CLASS = 3
_LEAST_GROUPS = 3
"""Fewer images or fields do not represent a lab."""

_MOST_UNREADABLE = 0.5
_MOST_ROWS = 1600  # 8 views of 200 images take seconds

NOT_EVALUATED = (
    "The images have no labels: temperature and thresholds are unchanged, and the accuracy of the "
    "adapted model is unknown."
)

# In four labs, at most 7 of 30 images to review and 4 changed; at least half and a third when
# adapting made the model worse.
_MOST_REVIEWED = 0.5
_MOST_CHANGED = 0.2


@dataclass(frozen=True)
class _LabFeatures:
    """The readable images among some files, with their features."""

    kept: NDArray[np.int64]  # shape (N,): their positions among the files
    features: NDArray[np.float32]  # shape (N, 1280)
    colours: NDArray[np.float32]  # shape (N, 3): mean red, green and blue, 0 to 255
    fields: NDArray[np.float32]  # shape (N,): field scores
    digests: tuple[str, ...]  # SHA-256 of each file
    refused: tuple[ImageError, ...]  # one per unreadable file

    def fingerprint(self, labels: Sequence[str] = ()) -> str:
        """Return the SHA-256 of all images and labels, independent of file names."""
        names = labels or [""] * len(self.digests)
        lines = sorted(f"{label} {d}" for label, d in zip(names, self.digests, strict=True))
        return sha256_bytes(name_bytes("\n".join(lines)))


@dataclass(frozen=True)
class AdaptResult:
    """The result of `adapt`.

    Parameters
    ----------
    folder : Path
        The run folder, which is a bundle.
    report : Path
        ``report.html``.
    n : int
        Number of images the model was adapted to.
    before, metrics : Metrics or None
        Metrics of the old and the adapted model on the same held-out images; None without labels.
    changes : PredictionChanges or None
        Changed predictions; None with labels.
    refused : tuple of ImageError
        Images that could not be read.
    notes : tuple of str
        Caveats of the metrics.

    Examples
    --------
    >>> import hematovision
    >>> result = hematovision.adapt("rbc-wbc-platelets", "cells", out="runs/adapted")
    >>> result.n, result.metrics.n
    (24, 6)
    >>> list(result.to_pandas().columns)
    ['before', 'after']
    >>> result.plot().savefig("adapted.png")
    """

    folder: Path
    report: Path
    n: int
    before: Metrics | None
    metrics: Metrics | None
    changes: PredictionChanges | None
    refused: tuple[ImageError, ...]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        scores = "not evaluated"
        if self.before is not None and self.metrics is not None:
            one, two = self.before.balanced_accuracy, self.metrics.balanced_accuracy
            scores = f"balanced accuracy {one:.1%}, adapted {two:.1%}"
        return f"AdaptResult({str(self.folder)!r}, {counted(self.n, 'image')}: {scores})"

    def to_pandas(self) -> DataFrame:
        """Return a data frame with the columns ``before`` and ``after``.

        A row is a score on the held-out images; without labels, a class with the number of images
        that were predicted as it.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        if self.changes is not None:
            old, new = self.changes.before, self.changes.after
            counts = ({"class": one, "before": old[one], "after": new[one]} for one in old)
            return plain_frame(counts, index="class")
        return plain_frame(
            (
                {
                    "score": name,
                    "before": getattr(self.before, name),
                    "after": getattr(self.metrics, name),
                }
                for name in METRICS.builtin
            ),
            index="score",
        )

    def plot(self) -> Figure:
        """Return a matplotlib figure of the adapted model's confusion matrix.

        Without labels, rows are the predictions before, and columns those after.

        Raises
        ------
        MissingExtraError
            If matplotlib is not installed.
        """
        if self.changes is None:
            assert self.metrics is not None  # one of both is known
            return show(metrics_figure(self.metrics))
        title = f"Predictions, {counted(self.changes.n, 'image')}"
        axes = ("adapted model", "model before")
        return show(confusion_figure(self.changes.moves, self.changes.classes, title, axes))


def adapt(
    model: str | Path,
    folder: str | Path,
    *,
    out: str | Path,
    unlabelled: bool = False,
    fields: FieldSource | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
) -> AdaptResult | AdaptDetectorResult:
    """Adapt a model to another lab with a few dozen of its images.

    Parameters
    ----------
    model : str or Path
        A bundled model's name or a run folder; a classifier or a detector.
    folder : str or Path
        For a detector, annotated fields: 5 to 20, with a box around every cell. For a classifier,
        single-cell images: in folders named after the model's classes (with or without split
        folders above), or unlabelled in a folder without subfolders. Classes without images are
        kept.
    out : str or Path
        The run folder to create; must be new or empty.
    unlabelled : bool
        Whether to ignore folder names and treat all images as unlabelled.
    fields : FieldSource, optional
        How to read annotated fields; by default the format is detected.
    seed : int
        Breaks ties between the folds of the cross-validation.
    progress : Progress
        Called as ``progress(done, total, step, unit)``.

    Raises
    ------
    DatasetError
        If there are too few images, or more than half cannot be read; a `TaxonomyError` if a
        folder is not a class of the model.
    TrainingError
        If too many predictions for unlabelled images are uncertain or would change.
    ModelNotFoundError, BundleError
        If the model cannot be used, or was not trained by HematoVision.
    OutputError
        If `out` is in use or cannot be written.
    MissingExtraError
        Immediately, if the extra ``train`` is not installed.

    Examples
    --------
    >>> import hematovision
    >>> hematovision.adapt("rbc-wbc-platelets", "cells", out="runs/my-lab")
    AdaptResult('runs/my-lab', 24 images: balanced accuracy 100.0%, adapted 100.0%)
    """
    require("adapt")
    folder, out = Path(folder), Path(out)
    bundle = read_bundle(find_model(model))
    if bundle.manifest.task == "detection":
        if unlabelled:
            raise DatasetError(
                "A detector cannot be adapted to unlabelled fields. Annotate every cell of 5 to 20 "
                "fields, and leave out --unlabelled."
            )
        with claimed_folder(out, inputs=[folder]):
            return adapt_detector(
                bundle, folder, out=out, source=fields, seed=seed, progress=progress
            )
    if fields is not None:
        raise DatasetError(
            f"{bundle.name} is a classifier, adapted to single-cell images. The options for "
            "annotated fields are for detectors, such as blood-fields."
        )
    return adapt_classifier(
        model, folder, out=out, unlabelled=unlabelled, seed=seed, progress=progress
    )


def adapt_classifier(
    model: str | Path,
    folder: Path,
    *,
    out: Path,
    unlabelled: bool = False,
    seed: int = 0,
    progress: Progress = no_progress,
) -> AdaptResult:
    """Adapt a classifier; see `adapt`."""
    source = open_source(model)
    data = None if unlabelled else _find_labelled(folder, source.bundle.taxonomy, progress)
    with claimed_folder(out, inputs=[folder]):
        if data is None:
            return _adapt_unlabelled(source, folder, out, seed, progress)
        return _adapt_labelled(source, data, out, seed, progress)


def _adapt_unlabelled(
    source: Source, folder: Path, out: Path, seed: int, progress: Progress
) -> AdaptResult:
    paths = _find_unlabelled(folder)
    found = _read_features(paths, source, progress)
    if len(found.kept) < _LEAST_UNLABELLED:
        raise DatasetError(
            f"{folder} has {len(found.kept)} readable images; at least {_LEAST_UNLABELLED} are "
            "needed, and a hundred images of all classes are better. Add some."
        )
    adapted = adapt_unlabelled(source.model, found.features)
    before, after = (
        model.predict(found.features)._replace(field=source.fields(found.fields))
        for model in (source.model, adapted)
    )
    changes = prediction_changes(
        source.bundle.taxonomy.classes,
        before.probabilities.argmax(axis=1),
        after.probabilities.argmax(axis=1),
        accepted_before=_accepted(before, source.model.thresholds),
        accepted_after=_accepted(after, adapted.thresholds),
    )
    _check_changes(changes)
    lab = Lab(
        name=shown(folder.resolve().name),
        n=len(found.kept),
        labelled=False,
        fingerprint=found.fingerprint(),
        splits={},
        labs=(),
        refused=len(found.refused),
    )
    bundle = write_adapted(out, source, adapted, lab, seed)
    files = [paths[i].relative_to(folder).as_posix() for i in found.kept]
    table = predictions_table(files, changes.classes, before, after)
    limit = adapted.thresholds.max_novelty
    examples = changed_examples(folder, files, changes.classes, before, after, limit)
    notes = (NOT_EVALUATED,)
    report = write_unevaluated(bundle, source, lab, changes, table, examples, notes)
    return AdaptResult(out, report, lab.n, None, None, changes, found.refused, notes)


def _accepted(raw: RawPredictions, thresholds: Thresholds) -> NDArray[np.bool_]:
    return accepts(raw.probabilities, raw.novelty, thresholds, raw.field)


def _check_changes(changes: PredictionChanges) -> None:
    """Raise a `TrainingError` if the predictions are too unreliable to adapt to."""
    n = changes.n
    if changes.review_before > _MOST_REVIEWED * n or changes.changed > _MOST_CHANGED * n:
        raise TrainingError(
            "These images are too different from the training images to adapt without labels: of "
            f"{counted(n, 'image')} the model sends {changes.review_before} for review, and "
            f"adapting would change {counted(changes.changed, 'prediction')}. Sort 30 to 100 "
            "of them into folders by class, and adapt to those. Images must show single cells, "
            "cropped like the training images."
        )


def _adapt_labelled(
    source: Source, data: Dataset, out: Path, seed: int, progress: Progress
) -> AdaptResult:
    found = _read_features([sample.path for sample in data], source, progress)
    readable = data.with_samples(data.samples[i] for i in found.kept)
    is_test = np.array([sample.split == "test" for sample in readable], bool)
    training = readable.with_samples(s for s in readable if s.split != "test")
    _check_labelled(training)
    views = _read_views([sample.path for sample in training], source, progress)
    examples = Examples(views, training.labels, tuple(sample.group for sample in training))
    adapted, strength = adapt_labelled(source.model, examples, seed)
    adapted = _accepting(adapted, source.fields(found.fields[~is_test]))
    if is_test.any():
        split, rows = "test", is_test
        after = adapted.predict(found.features[rows])
    else:
        split, rows = "cross-validation", ~is_test
        after = out_of_fold_predictions(source.model, examples, seed, progress)
    baseline = _baseline(readable, found, is_test)

    def scored(model: FeatureModel, raw: RawPredictions) -> tuple[LabelledPredictions, Metrics]:
        samples = tuple(s for s, chosen in zip(readable, rows, strict=True) if chosen)
        labelled = LabelledPredictions(
            samples,
            readable.labels[rows],
            raw.probabilities,
            raw.novelty,
            found.colours[rows],
            field=source.fields(found.fields[rows]),
        )
        classes = readable.taxonomy.classes
        return labelled, score_model(labelled, classes, model.thresholds, baseline, seed)

    _, before = scored(source.model, source.model.predict(found.features[rows]))
    predictions, metrics = scored(adapted, after)
    notes = labelled_notes(source, training, before, split, strength)
    metrics = replace(metrics, warnings=(*metrics.warnings, *notes))
    recorded = readable.with_samples(
        replace(s, split="test" if s.split == "test" else "train") for s in readable
    )
    lab = _labelled_lab(recorded, found)
    bundle = write_adapted(out, source, adapted, lab, seed)
    report = write_evaluated(bundle, source, recorded, lab, predictions, metrics, split)
    return AdaptResult(out, report, lab.n, before, metrics, None, found.refused, notes)


def _accepting(model: FeatureModel, fields: NDArray[np.float32] | None) -> FeatureModel:
    """Raise the limit of the field score, so that it accepts the lab's single-cell images."""
    if fields is None:
        return model
    limit = max(model.thresholds.max_field, fit_max_field(fields))
    return model._replace(thresholds=replace(model.thresholds, max_field=limit))


def _labelled_lab(data: Dataset, found: _LabFeatures) -> Lab:
    counts = split_counts(data)
    return Lab(
        name=shown(data.root.resolve().name),
        n=sum(counts["train"].values()),
        labelled=True,
        fingerprint=found.fingerprint([sample.label for sample in data]),
        splits=counts,
        labs=tuple(sorted({sample.lab for sample in data if sample.lab})),
        refused=len(found.refused),
    )


def _baseline(
    data: Dataset, found: _LabFeatures, is_test: NDArray[np.bool_]
) -> TrainingSplit | None:
    """Return the training data for the baselines; None in cross-validation."""
    if not is_test.any():
        return None
    training = [sample for sample, test in zip(data, is_test, strict=True) if not test]
    colours = found.colours[~is_test].astype(np.float64)
    return TrainingSplit(data.labels[~is_test], boxes_of(training), colours)


def _find_labelled(
    folder: Path, taxonomy: Taxonomy, progress: Progress = no_progress
) -> Dataset | None:
    """Read the class folders in `folder`; return None if it has no folders.

    Raises `DatasetError` if there is no such folder, or there are images both in folders and next
    to them. Raises `TaxonomyError` if a folder is not a class of the model, or two folders are the
    same class.
    """
    inner = _folders(folder)
    if set(inner) == {""}:
        return None
    if "" in inner:
        names = ", ".join(f"{name} ({n})" for name, n in sorted(inner.items()) if name)
        raise DatasetError(
            f"{folder} has {inner['']} images next to the folders {names}. Move each into its "
            "class folder, or use --unlabelled to ignore folder names."
        )
    try:
        return read_dataset(folder, taxonomy, progress=progress)
    except TaxonomyError as error:
        raise TaxonomyError(f"{error} If the images have no labels, use --unlabelled.") from error


def _folders(folder: Path) -> Counter[str]:
    """Count images by subfolder name, with "" for images directly in `folder`."""
    if not folder.is_dir():
        problem = "is a file" if folder.exists() else "does not exist"
        raise DatasetError(
            f"The folder {folder} {problem}. Pass a folder of a lab's images, in class folders if "
            "they are labelled."
        )
    return Counter(
        path.parent.name if path.parent != folder else "" for path in find_images([folder])
    )


def _find_unlabelled(folder: Path) -> list[Path]:
    """Return the images in `folder`, at any depth.

    Raises `DatasetError` if the folder does not exist or has no image.
    """
    _folders(folder)
    return find_images([folder])


def _read_features(paths: Sequence[Path], source: Source, progress: Progress) -> _LabFeatures:
    """Compute the features of image files or read them from the cache.

    Raises `DatasetError` if more than half of them cannot be read.
    """
    found = _extract([View(path) for path in paths], source, progress)
    if len(found.refused) > _MOST_UNREADABLE * len(paths):
        raise DatasetError(
            f"More than half of the images cannot be read ({len(found.refused)} of {len(paths)}). "
            f"The first: {found.refused[0]}. Check the folder."
        )
    return _LabFeatures(
        found.kept,
        found.values,
        found.mean_colours,
        found.fields,
        found.digests,
        found.refused,
    )


def _extract(views: Sequence[View], source: Source, progress: Progress) -> Features:
    """Return the features of images as the model sees them, framed if it frames them."""
    backbone, classifier = source.backbone, source.classifier
    with open_cache(backbone.sha256, backbone.n_features, classifier.input_identity) as cache:
        return extract(views, backbone, cache, progress, classifier.prepare)


def _read_views(paths: Sequence[Path], source: Source, progress: Progress) -> NDArray[np.float32]:
    """Compute the features of several views of readable files.

    Returns float32 (N, V, 1280), V at most 8; the first is the image itself.
    """
    n_views = max(1, min(N_VIEWS, _MOST_ROWS // len(paths)))
    views = [View(path, index) for path in paths for index in range(n_views)]
    found = _extract(views, source, progress)
    return found.values.reshape(len(paths), n_views, -1)


def _check_labelled(data: Dataset) -> None:
    """Check that there are enough labelled images to adapt to.

    Raises `DatasetError` unless there are `_LEAST_LABELLED` images, two classes with
    `_LEAST_OF_CLASS` images each, and `_LEAST_GROUPS` groups.
    """
    counts = {label: n for label, n in data.counts().items() if n}
    enough = [label for label, n in counts.items() if n >= _LEAST_OF_CLASS]
    groups = len({sample.group for sample in data})
    if len(data) < _LEAST_LABELLED or len(enough) < 2 or groups < _LEAST_GROUPS:
        listed = ", ".join(f"{label} {n}" for label, n in counts.items()) or "none"
        raise DatasetError(
            f"{data.root} has {counted(len(data), 'readable labelled image')} of "
            f"{counted(groups, 'field or patient', 'fields or patients')} "
            f"to adapt to ({listed}); at least {_LEAST_LABELLED} are needed, of at least two "
            f"classes with {_LEAST_OF_CLASS} each and of {_LEAST_GROUPS} fields or patients, and "
            "30 to 100 are better. Label some more, or put them into one folder and use "
            "--unlabelled."
        )
