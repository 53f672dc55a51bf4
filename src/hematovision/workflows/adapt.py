"""The job of adapting: a model and images of one more laboratory in, a model for that lab out.

What a model is adapted to is never what it is judged on. Labelled images are judged on the Test
part of their folder where there is one, else each by a model that was adapted without its field or
patient. Of unlabelled ones is reported what can be known: how many go to a person before and after,
and which answers changed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hematovision.data.samples import Dataset
from hematovision.errors import DatasetError, ImageError, TrainingError
from hematovision.evaluation import Metrics, TrainingSplit
from hematovision.extras import needs_extra, require
from hematovision.model.thresholds import accepts
from hematovision.paths import shown
from hematovision.progress import Progress, no_progress
from hematovision.reporting.adaptation import PredictionChanges, prediction_changes
from hematovision.workflows.adapt_images import (
    LEAST_UNLABELLED,
    Seen,
    changed_examples,
    check_labelled,
    find_labelled,
    find_unlabelled,
    look,
    look_around,
    predictions_table,
)
from hematovision.workflows.adapt_source import Source, open_source
from hematovision.workflows.outputs import claimed_folder
from hematovision.workflows.scoring import LabelledPredictions, boxes_of, score_model, split_counts

with needs_extra("train", "Adapting a model"):
    from hematovision.model.prediction import RawPredictions
    from hematovision.training.adapting import (
        FeatureModel,
        adapt_labelled,
        adapt_unlabelled,
        out_of_fold_predictions,
    )
    from hematovision.training.correction import Examples
    from hematovision.workflows.adapt_writing import (
        Lab,
        labelled_notes,
        write_adapted,
        write_judged,
        write_unjudged,
    )

__all__ = ["AdaptResult", "adapt"]

KEPT_AS_IT_WAS = (
    "Nobody has said which answers are right: temperature and thresholds are those of the old "
    "model, and no figure here tells how good the adapted one is."
)

# In four laboratories at most 7 and 4 of 30 images. Where it did harm, half and more, and a third.
_MOST_REVIEWED = 0.5
_MOST_CHANGED = 0.2


@dataclass(frozen=True)
class AdaptResult:
    """What adapting led to.

    Parameters
    ----------
    folder : Path
        The run folder, which is a bundle.
    report : Path
    n : int
        Images that the model was adapted to.
    before, metrics : Metrics or None
        Figures of the old and of the adapted model on the same images, which the latter had not
        been adapted to; None without labels.
    changes : PredictionChanges or None
        Without labels: what changed.
    refused : tuple of ImageError
        Images that could not be read.
    notes : tuple of str
        What a reader of the figures should know.
    """

    folder: Path
    report: Path
    n: int
    before: Metrics | None
    metrics: Metrics | None
    changes: PredictionChanges | None
    refused: tuple[ImageError, ...]
    notes: tuple[str, ...]


def adapt(
    model: str | Path,
    folder: Path,
    *,
    out: Path,
    unlabelled: bool = False,
    seed: int = 0,
    progress: Progress = no_progress,
) -> AdaptResult:
    """Make a model for one more laboratory from a few dozen of its images.

    Parameters
    ----------
    model : str or Path
        A bundled model's name or a run folder.
    folder : Path
        Images of single cells: in class folders whose names mean classes of the model (with or
        without parts above them), or all together, unlabelled. Classes that are missing stay known.
    out : Path
        The run folder to make; must not exist or be empty.
    unlabelled : bool
        Take the images as unlabelled, whatever their folders are called.
    seed : int
        Decides the folds of the cross-validation between equals.
    progress : Progress

    Raises
    ------
    DatasetError
        If there are too few images, or more than half cannot be read; a `TaxonomyError` if a
        folder is no class of the model.
    TrainingError
        If the model is too unsure of unlabelled images to learn from them.
    ModelNotFoundError, BundleError
        If the model cannot be used, or does not hold what adapting needs.
    OutputError
        If `out` is in use or cannot be written.
    MissingExtraError
        At once, if the extra ``train`` is not installed.

    Examples
    --------
    >>> result = adapt("pbc8", Path("my-lab"), out=Path("runs/my-lab"))  # doctest: +SKIP
    >>> result.before.balanced_accuracy, result.metrics.balanced_accuracy  # doctest: +SKIP
    (0.87, 0.98)
    """
    require("adapt")
    folder, out = Path(folder), Path(out)
    source = open_source(model)
    data = None if unlabelled else find_labelled(folder, source.bundle.taxonomy, progress)
    with claimed_folder(out, inputs=[folder]):
        if data is None:
            return _to_unlabelled(source, folder, out, seed, progress)
        return _to_labelled(source, data, out, seed, progress)


def _to_unlabelled(
    source: Source, folder: Path, out: Path, seed: int, progress: Progress
) -> AdaptResult:
    paths = find_unlabelled(folder)
    seen = look(paths, source.backbone, progress)
    if len(seen.kept) < LEAST_UNLABELLED:
        raise DatasetError(
            f"{folder} has {len(seen.kept)} readable images; at least {LEAST_UNLABELLED} are "
            "needed to tell how a laboratory's images differ, and a hundred of all classes are "
            "better. Add some."
        )
    adapted = adapt_unlabelled(source.known, seen.features)
    before, after = source.known.predict(seen.features), adapted.predict(seen.features)
    changes = prediction_changes(
        source.bundle.taxonomy.classes,
        before.probabilities.argmax(axis=1),
        after.probabilities.argmax(axis=1),
        accepted_before=accepts(*before, source.known.thresholds),
        accepted_after=accepts(*after, adapted.thresholds),
    )
    _check_unlabelled(changes)
    lab = Lab(
        name=shown(folder.resolve().name),
        n=len(seen.kept),
        labelled=False,
        fingerprint=seen.fingerprint(),
        splits={},
        labs=(),
        refused=len(seen.refused),
    )
    bundle = write_adapted(out, source, adapted, lab, seed)
    files = [paths[i].relative_to(folder).as_posix() for i in seen.kept]
    table = predictions_table(files, changes.classes, before, after)
    most = adapted.thresholds.max_novelty
    pictures = changed_examples(folder, files, changes.classes, before, after, most)
    notes = (KEPT_AS_IT_WAS,)
    report = write_unjudged(bundle, source, lab, changes, table, pictures, notes)
    return AdaptResult(out, report, lab.n, None, None, changes, seen.refused, notes)


def _check_unlabelled(changes: PredictionChanges) -> None:
    """Refuse where a model would teach itself from answers that are mostly guesses."""
    n = changes.n
    if changes.review_before > _MOST_REVIEWED * n or changes.changed > _MOST_CHANGED * n:
        raise TrainingError(
            f"Without labels this is too far from the training images: of {n} images it sends "
            f"{changes.review_before} for review, and would change {changes.changed} predictions "
            "once adapted, and nobody could tell whether for the better. Put 30 to 100 of them "
            "into folders by class, and adapt to those. If they are not images of single cells, "
            "cropped like the training images, do that first."
        )


@dataclass(frozen=True)
class _Judgement:
    """Whom the figures are of: images, what the old and the adapted model say of them."""

    part: str
    rows: NDArray[np.bool_]
    before: RawPredictions
    after: RawPredictions


def _to_labelled(
    source: Source, data: Dataset, out: Path, seed: int, progress: Progress
) -> AdaptResult:
    seen = look([sample.path for sample in data], source.backbone, progress)
    readable = data.with_samples(data.samples[i] for i in seen.kept)
    is_test = np.array([sample.split == "test" for sample in readable], bool)
    learnt = readable.with_samples(s for s in readable if s.split != "test")
    check_labelled(learnt)
    sides = look_around([sample.path for sample in learnt], source.backbone, progress)
    examples = Examples(sides, learnt.labels, tuple(sample.group for sample in learnt))
    adapted, strength = adapt_labelled(source.known, examples, seed)
    judgement = _judgement(source.known, adapted, examples, seen, is_test, seed, progress)
    before, after = (
        score_model(
            _answered(readable, seen, judgement.rows, answers),
            readable.taxonomy.classes,
            thresholds,
            _baseline(readable, seen, is_test),
            seed,
        )
        for answers, thresholds in (
            (judgement.before, source.known.thresholds),
            (judgement.after, adapted.thresholds),
        )
    )
    notes = labelled_notes(source, learnt, before, judgement.part, strength)
    metrics = replace(after, warnings=(*after.warnings, *notes))
    lab = _lab(readable, seen)
    bundle = write_adapted(out, source, adapted, lab, seed)
    answered = _answered(readable, seen, judgement.rows, judgement.after)
    report = write_judged(bundle, source, _parted(readable), lab, answered, metrics, judgement.part)
    return AdaptResult(out, report, lab.n, before, metrics, None, seen.refused, notes)


def _lab(data: Dataset, seen: Seen) -> Lab:
    counts = split_counts(_parted(data))
    return Lab(
        name=shown(data.root.resolve().name),
        n=sum(counts["train"].values()),
        labelled=True,
        fingerprint=seen.fingerprint([sample.label for sample in data]),
        splits=counts,
        labs=tuple(sorted({sample.lab for sample in data if sample.lab})),
        refused=len(seen.refused),
    )


def _parted(data: Dataset) -> Dataset:
    """Say of each image whether it was learnt from (train) or only judged (test)."""
    return data.with_samples(
        replace(s, split="test" if s.split == "test" else "train") for s in data
    )


def _judgement(
    known: FeatureModel,
    adapted: FeatureModel,
    examples: Examples,
    seen: Seen,
    is_test: NDArray[np.bool_],
    seed: int,
    progress: Progress,
) -> _Judgement:
    """Answer the Test part, or without one each image by a model adapted without its group."""
    if is_test.any():
        tested = seen.features[is_test]
        return _Judgement("test", is_test, known.predict(tested), adapted.predict(tested))
    after = out_of_fold_predictions(known, examples, seed, progress)
    return _Judgement("cross-validation", ~is_test, known.predict(seen.features), after)


def _answered(
    data: Dataset, seen: Seen, rows: NDArray[np.bool_], answers: RawPredictions
) -> LabelledPredictions:
    samples = tuple(sample for sample, chosen in zip(data, rows, strict=True) if chosen)
    return LabelledPredictions(samples, data.labels[rows], *answers, seen.colours[rows])


def _baseline(data: Dataset, seen: Seen, is_test: NDArray[np.bool_]) -> TrainingSplit | None:
    """Return what trivial classifiers learn from; not the very images they are judged on."""
    if not is_test.any():
        return None
    learnt = [sample for sample, test in zip(data, is_test, strict=True) if not test]
    colours = seen.colours[~is_test].astype(np.float64)
    return TrainingSplit(data.labels[~is_test], boxes_of(learnt), colours)
