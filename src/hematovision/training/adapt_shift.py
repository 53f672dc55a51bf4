"""Aligning the features of one more laboratory with those a model learnt from; no labels needed.

A lab's stain and optics move the features of all its cells. If the mean of a class lies at ``m`` in
the lab and at ``mu`` in what was learnt, adding ``mu - m`` to every feature brings it back. The
plain difference of the overall means would be wrong as soon as the lab shows the classes in other
proportions: more white cells are not another stain. So each class is compared with itself. Which
image belongs to which class is what the model itself says, softly, and since a better alignment
gives better answers, the two are found in turn, as in expectation maximisation.

The shift is folded into the first layer of the head and into the novelty, so that the adapted
model is an ordinary one.

Sources: aligning means is the first order of CORAL (Sun, Feng and Saenko 2016, "Return of
frustratingly easy domain adaptation", AAAI); doing so class by class under label shift is that of
Tachet des Combes et al. 2020, "Domain adaptation with conditional distribution matching and
generalized label shift", NeurIPS; ``N / (N + k)`` for few images that of Schneider et al. 2020,
"Improving robustness against common corruptions by covariate shift adaptation", NeurIPS, eq. 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hematovision.model.head import Head
from hematovision.model.novelty import Novelty

__all__ = ["align", "class_means", "class_spread", "shifted_head", "shifted_novelty"]

PRIOR_IMAGES = 10.0
"""So many images' worth of belief that nothing moved."""

_PRIOR_OF_CLASS = 3.0  # A class seen in fewer images than this says little about the shift.
_ROUNDS = 10
_SETTLED = 1e-4


def class_means(novelty: Novelty) -> NDArray[np.float64]:
    """Return the mean features of each class that a model learnt from, (C, 1280)."""
    return np.asarray(novelty.means, np.float64)


def class_spread(novelty: Novelty) -> NDArray[np.float64]:
    """Return the standard deviation of each feature within the classes, (1280,)."""
    return 1 / np.asarray(novelty.inv_std, np.float64)


def align(head: Head, novelty: Novelty, features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return what to add to a lab's features so that its classes lie where they were learnt.

    Parameters
    ----------
    head : Head
        The model's, calibrated.
    novelty : Novelty
        It knows where the classes lay.
    features : ndarray of float32, shape (N, 1280)
        Of unlabelled images of the lab; of any mixture of classes.

    Returns
    -------
    ndarray of float64, shape (1280,)
        Shrunk towards zero, the more the fewer images there are; zero for none.
    """
    means = class_means(novelty)
    shift = np.zeros(means.shape[1])
    if not len(features):
        return shift
    for _ in range(_ROUNDS):
        moved = (features + shift).astype(np.float32)
        answers = head.probabilities(moved)
        before, shift = shift, _shift(means, features, answers)
        if np.abs(shift - before).max() < _SETTLED:
            break
    return shift


def _shift(
    means: NDArray[np.float64], features: NDArray[np.float32], answers: NDArray[np.float64]
) -> NDArray[np.float64]:
    counts = answers.sum(axis=0)
    here = answers.T @ features / np.maximum(counts, 1e-9)[:, None]
    say = counts / (counts + _PRIOR_OF_CLASS)
    shrink = len(features) / (len(features) + PRIOR_IMAGES)
    return np.asarray(shrink * (say / say.sum()) @ (means - here), np.float64)


def shifted_head(head: Head, shift: NDArray[np.floating]) -> Head:
    """Return the head that answers for ``features`` as the old one did for ``features + shift``."""
    (kernel, bias), *others = head.layers
    return Head(((kernel, bias + np.asarray(shift @ kernel, np.float32)), *others))


def shifted_novelty(novelty: Novelty, shift: NDArray[np.floating]) -> Novelty:
    """Return the novelty that scores ``features`` as the old one did ``features + shift``."""
    return novelty._replace(means=np.asarray(class_means(novelty) - shift, np.float32))
