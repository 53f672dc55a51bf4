"""Adapt a model to another lab, given the features of the lab's images.

A lab's stain and optics shift the features of all its cells. If the mean of a class is ``m`` in
the lab and was ``mu`` in training, adding ``mu - m`` to every feature undoes the shift. The overall
means are unsuitable because they also depend on the class proportions. Each class is therefore
compared with itself, weighted by the model's own probabilities. Better alignment improves these
probabilities, so the two steps alternate as in expectation maximisation. The shift is folded into
the first layer of the head and into the novelty. Labelled images add a correction (`correction`).

The original training images are not needed: the novelty contains the mean of each class.

Sources: aligning means is the first order of CORAL (Sun, Feng and Saenko 2016, "Return of
frustratingly easy domain adaptation", AAAI); class by class under label shift: Tachet des Combes et
al. 2020, "Domain adaptation with conditional distribution matching and generalized label shift",
NeurIPS; ``N / (N + k)`` for few images: Schneider et al. 2020, "Improving robustness against common
corruptions by covariate shift adaptation", NeurIPS, eq. 1.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hematovision.model.head import Head, log_softmax, softmax
from hematovision.model.novelty import Novelty
from hematovision.model.prediction import RawPredictions
from hematovision.model.thresholds import Thresholds, fit_thresholds
from hematovision.progress import Progress, no_progress
from hematovision.training.correction import (
    FOLDS,
    Examples,
    corrected,
    fit_correction,
    group_folds,
)

__all__ = [
    "Adapted", "FeatureModel", "adapt_labelled", "adapt_unlabelled", "align",
    "out_of_fold_predictions", "shifted_head", "shifted_novelty",
]  # fmt: skip

_TEMPERATURE_SPREAD = 0.3  # prior standard deviation of the log temperature

ENOUGH_FOR_THRESHOLDS = 200
"""Least number of labelled images for fitting the confidence threshold to them."""

PRIOR_IMAGES = 10.0
"""Weight of the prior of no shift, in images."""

_PRIOR_OF_CLASS = 3.0  # a class with fewer images has little weight in the shift
_ROUNDS = 10
_CONVERGED = 1e-4


class FeatureModel(NamedTuple):
    """The part of a model after its backbone."""

    head: Head  # calibrated
    novelty: Novelty
    thresholds: Thresholds
    # shape (C,): frequency of each class in the calibration images, above 0
    proportions: NDArray[np.float64]
    temperature: float = 1.0  # of the calibration

    def predict(self, features: NDArray[np.float32]) -> RawPredictions:
        """Predict from features (N, 1280)."""
        return RawPredictions(self.head.probabilities(features), self.novelty.score(features))


class Adapted(NamedTuple):
    """The adapted model, and the strength of its correction (see `correction.STRENGTHS`)."""

    model: FeatureModel
    strength: float | None


def adapt_unlabelled(model: FeatureModel, features: NDArray[np.float32]) -> FeatureModel:
    """Align a model with the features (N, 1280) of a lab's images, in any class proportions.

    Temperature and thresholds are kept: fitting them needs labels.
    """
    shift = align(model.head, model.novelty, features)
    head, novelty = shifted_head(model.head, shift), shifted_novelty(model.novelty, shift)
    return model._replace(head=head, novelty=novelty)


def adapt_labelled(model: FeatureModel, examples: Examples, seed: int = 0) -> Adapted:
    """Correct a model with labelled images of a lab, after aligning it if that lowers its loss.

    Temperature and thresholds are fitted to out-of-fold logits.

    `examples` are of at least two classes and two groups; `seed` breaks ties between folds. Raises
    `TrainingError` if all images are in one group.
    """
    features, labels = examples.features[:, 0], examples.labels
    base = min((model, adapt_unlabelled(model, features)), key=lambda m: _loss(m, examples))
    spread = 1 / np.asarray(model.novelty.inv_std, np.float64)
    fitted = fit_correction(base.head, spread, examples, model.proportions, seed)
    temperature = _temperature(fitted.unseen_logits, labels)
    head = corrected(base.head, fitted.correction).calibrated(temperature)
    unseen = RawPredictions(
        softmax(fitted.unseen_logits / temperature), base.novelty.score(features)
    )
    adapted = base._replace(
        head=head,
        thresholds=_thresholds(model.thresholds, unseen, labels),
        temperature=model.temperature * temperature,
    )
    return Adapted(adapted, fitted.strength)


def _loss(model: FeatureModel, examples: Examples) -> float:
    """Return the mean over the classes of their mean log loss."""
    labels = examples.labels
    scores = log_softmax(model.head.logits(examples.features[:, 0]))
    of_truth = scores[np.arange(len(labels)), labels]
    return -float(np.mean([of_truth[labels == label].mean() for label in np.unique(labels)]))


def _temperature(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Fit the temperature, with a normal prior on its logarithm; see `fit_calibration`.

    The old head was calibrated on thousands of images: the prior limits what a few dozen change.
    """
    choices = np.exp(np.linspace(-1.5, 1.5, 121))
    rows = np.arange(len(labels))
    losses = [
        -log_softmax(logits / choice)[rows, labels].sum()
        + (np.log(choice) / _TEMPERATURE_SPREAD) ** 2 / 2
        for choice in choices
    ]
    return float(choices[int(np.argmin(losses))])


def _thresholds(old: Thresholds, unseen: RawPredictions, labels: NDArray[np.int64]) -> Thresholds:
    """Fit thresholds to out-of-fold predictions; with few images, only raise the novelty threshold.

    With 100 images, one wrong label could send a quarter of them to review.
    """
    fitted = fit_thresholds(unseen.probabilities, unseen.novelty, labels)
    if len(labels) >= ENOUGH_FOR_THRESHOLDS:
        return replace(fitted, max_field=old.max_field)
    return replace(old, max_novelty=max(old.max_novelty, fitted.max_novelty))


def out_of_fold_predictions(
    model: FeatureModel, examples: Examples, seed: int = 0, progress: Progress = no_progress
) -> RawPredictions:
    """Predict each image with a model that was adapted without its fold.

    Every choice, strength and temperature included, is made again without the fold.

    `examples` are of at least two classes and two groups; `seed` breaks ties between folds.
    `progress` is called after every fold. Raises `TrainingError` if there are too few groups to
    leave some out.
    """
    n = len(examples.labels)
    folds = group_folds(examples.labels, examples.groups, FOLDS, seed)
    probabilities, novelty = np.zeros((n, model.head.n_classes)), np.zeros(n, np.float32)
    for fold in range(folds.max() + 1):
        inside, outside = examples.take(folds != fold), examples.take(folds == fold)
        predicted = adapt_labelled(model, inside, seed).model.predict(outside.features[:, 0])
        probabilities[folds == fold] = predicted.probabilities
        novelty[folds == fold] = predicted.novelty
        progress(fold + 1, int(folds.max()) + 1, "cross-validation", "folds")
    return RawPredictions(probabilities, novelty)


def align(head: Head, novelty: Novelty, features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the shift that moves a lab's features to the class means of the training images.

    `features` (N, 1280) belong to unlabelled images in any class proportions. The shift, float64
    (1280,), is shrunk towards zero for few images, and is zero without images.
    """
    means = np.asarray(novelty.means, np.float64)
    shift = np.zeros(means.shape[1])
    if not len(features):
        return shift
    for _ in range(_ROUNDS):
        probabilities = head.probabilities((features + shift).astype(np.float32))
        before, shift = shift, _shift(means, features, probabilities)
        if np.abs(shift - before).max() < _CONVERGED:
            break
    return shift


def _shift(
    means: NDArray[np.float64], features: NDArray[np.float32], probabilities: NDArray[np.float64]
) -> NDArray[np.float64]:
    counts = probabilities.sum(axis=0)
    here = probabilities.T @ features / np.maximum(counts, 1e-9)[:, None]
    weights = counts / (counts + _PRIOR_OF_CLASS)
    shrink = len(features) / (len(features) + PRIOR_IMAGES)
    return np.asarray(shrink * (weights / weights.sum()) @ (means - here), np.float64)


def shifted_head(head: Head, shift: NDArray[np.floating]) -> Head:
    """Return a head whose output for ``features`` is that of `head` for ``features + shift``."""
    (kernel, bias), *others = head.layers
    return Head(((kernel, bias + np.asarray(shift @ kernel, np.float32)), *others))


def shifted_novelty(novelty: Novelty, shift: NDArray[np.floating]) -> Novelty:
    """Return a novelty that scores ``features`` like `novelty` scores ``features + shift``."""
    means = np.asarray(novelty.means, np.float64) - shift
    return novelty._replace(means=np.asarray(means, np.float32))
