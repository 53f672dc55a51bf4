"""Adapting a model to one more laboratory, on arrays: features of its images in, a model out.

.. code-block:: text

    adapt.py              labelled or not: head, novelty and thresholds; answers out of fold
    adapt_correction.py   what labelled images add to the logits
    adapt_shift.py        where the lab's features lie, with labels or without
    adapt_folds.py        cross-validation by whole groups

The images that a model first learnt from are not needed: its novelty tells where they lay.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hematovision.model.head import Head, log_softmax, softmax
from hematovision.model.novelty import Novelty
from hematovision.model.trust import Trust, fit_thresholds
from hematovision.progress import Progress, no_progress
from hematovision.training.adapt_correction import FOLDS, Examples, corrected, fit_correction
from hematovision.training.adapt_folds import group_folds
from hematovision.training.adapt_shift import (
    align,
    class_spread,
    shifted_head,
    shifted_novelty,
)

__all__ = [
    "Adapted",
    "Answers",
    "Known",
    "adapt_labelled",
    "adapt_unlabelled",
    "out_of_fold_predictions",
]


_TEMPERATURE_SPREAD = 0.3
"""Of the logarithm, around 0: what a calibration is usually off by in another laboratory."""


ENOUGH_FOR_THRESHOLDS = 200
"""Labelled images from which on the least confidence is set anew; see `fit_thresholds`."""


class Known(NamedTuple):
    """What a model knows on top of its backbone.

    Parameters
    ----------
    head : Head
        Calibrated.
    novelty : Novelty
    trust : Trust
    proportions : ndarray of float, shape (C,)
        How frequent each class was where it was calibrated, above 0.
    """

    head: Head
    novelty: Novelty
    trust: Trust
    proportions: NDArray[np.float64]

    def answers(self, features: NDArray[np.float32]) -> Answers:
        """Answer for features (N, 1280)."""
        return Answers(self.head.probabilities(features), self.novelty.score(features))


class Answers(NamedTuple):
    """Answers for N images.

    Parameters
    ----------
    probabilities : ndarray of float64, shape (N, C)
    novelty : ndarray of float32, shape (N,)
    """

    probabilities: NDArray[np.float64]
    novelty: NDArray[np.float32]


class Adapted(NamedTuple):
    """A model for the lab, and how strongly it was held to the old one (see `STRENGTHS`)."""

    model: Known
    strength: float | None


def adapt_unlabelled(model: Known, features: NDArray[np.float32]) -> Known:
    """Move a model to where a lab's features lie.

    Without labels nothing can tell how good the answers are, so that temperature and thresholds
    are kept.

    Parameters
    ----------
    model : Known
    features : ndarray of float32, shape (N, 1280)
        Of images of the lab, of any mixture of classes.
    """
    shift = align(model.head, model.novelty, features)
    head, novelty = shifted_head(model.head, shift), shifted_novelty(model.novelty, shift)
    return model._replace(head=head, novelty=novelty)


def adapt_labelled(model: Known, examples: Examples, seed: int = 0) -> Adapted:
    """Move a model to where a lab's features lie, if labels speak for it, and correct it by them.

    Temperature and thresholds are fitted to answers for images that the answering correction was
    not fitted to.

    Parameters
    ----------
    model : Known
    examples : Examples
        Of at least two classes and two groups.
    seed : int
        Decides between equals.

    Raises
    ------
    TrainingError
        If all images are of one group.
    """
    features, labels = examples.features[:, 0], examples.labels
    base = min((model, adapt_unlabelled(model, features)), key=lambda m: _loss(m, examples))
    spread = class_spread(model.novelty)
    fitted = fit_correction(base.head, spread, examples, model.proportions, seed)
    temperature = _temperature(fitted.unseen_logits, labels)
    head = corrected(base.head, fitted.correction).calibrated(temperature)
    unseen = Answers(softmax(fitted.unseen_logits / temperature), base.novelty.score(features))
    trust = replace(
        _thresholds(model.trust, unseen, labels),
        temperature=model.trust.temperature * temperature,
    )
    return Adapted(base._replace(head=head, trust=trust), fitted.strength)


def _loss(model: Known, examples: Examples) -> float:
    """Return the mean log loss of the classes, each of which counts alike."""
    labels = examples.labels
    scores = log_softmax(model.head.logits(examples.features[:, 0]))
    of_truth = scores[np.arange(len(labels)), labels]
    return -float(np.mean([of_truth[labels == label].mean() for label in np.unique(labels)]))


def _temperature(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Find the temperature as `fit_calibration` does, but near 1 unless the images contradict.

    The old head was calibrated on thousands of images. The logarithm of the temperature has a
    normal prior around 0, so that a few dozen answers without an error do not prove certainty, and
    one error does not disprove it.
    """
    choices = np.exp(np.linspace(-1.5, 1.5, 121))
    rows = np.arange(len(labels))
    losses = [
        -log_softmax(logits / choice)[rows, labels].sum()
        + (np.log(choice) / _TEMPERATURE_SPREAD) ** 2 / 2
        for choice in choices
    ]
    return float(choices[int(np.argmin(losses))])


def _thresholds(old: Trust, unseen: Answers, labels: NDArray[np.int64]) -> Trust:
    """Set thresholds by answers for unseen images, as far as there are enough of them.

    A few dozen cannot tell an error rate of half a percent: among a hundred, one wrong label would
    send a quarter to review. They do show how far from the old images ordinary ones lie here.
    """
    fitted = fit_thresholds(*unseen, labels)
    if len(labels) >= ENOUGH_FOR_THRESHOLDS:
        return fitted
    return replace(old, max_novelty=max(old.max_novelty, fitted.max_novelty))


def out_of_fold_predictions(
    model: Known, examples: Examples, seed: int = 0, progress: Progress = no_progress
) -> Answers:
    """Answer for each image by a model that was adapted without its group.

    Everything is done anew without the group: the choice of the strength and the temperature, too.

    Parameters
    ----------
    model : Known
    examples : Examples
        Of at least two classes and two groups.
    seed : int
        Decides between equals.
    progress : Progress
        Told after every fold.

    Raises
    ------
    TrainingError
        If there are too few groups to leave some out.
    """
    n = len(examples.labels)
    folds = group_folds(examples.labels, examples.groups, FOLDS, seed)
    probabilities, novelty = np.zeros((n, model.head.n_classes)), np.zeros(n, np.float32)
    for fold in range(folds.max() + 1):
        inside, outside = examples.take(folds != fold), examples.take(folds == fold)
        answers = adapt_labelled(model, inside, seed).model.answers(outside.features[:, 0])
        probabilities[folds == fold], novelty[folds == fold] = answers
        progress(fold + 1, int(folds.max()) + 1, "cross-validation")
    return Answers(probabilities, novelty)
