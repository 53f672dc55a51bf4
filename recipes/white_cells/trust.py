"""When to trust a prediction in a lab that the model has not seen.

Calibration and thresholds are fitted to labs that were left out: a model trained without a lab
predicts the lab's cells, and what holds for these predictions is expected of the next lab. The
predictions of each lab count alike, however many cells it has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from hematovision import images
from hematovision.fields.framing import blurred, stained
from hematovision.model.backbone import Backbone
from hematovision.model.calibration import Calibration
from hematovision.model.head import softmax
from hematovision.model.novelty import Novelty, fit_novelty
from hematovision.model.thresholds import Thresholds
from hematovision.synthetic.decoys import render_decoy
from hematovision.taxonomy import FIVE_KINDS, WHITE_CELLS
from recipes.hematology_backbone.made import Made
from recipes.white_cells.batches import (
    AS_RECORDED,
    FRAMING,
    KindBatches,
    Variation,
)
from recipes.white_cells.cells import (
    DIAMETERS,
    LABS,
    PLATELETS,
    SHARES,
    SIDE,
    TASK,
    Cells,
    folder_of,
    joined,
)

__all__ = [
    "KINDS", "RARE", "VALID", "Model", "Predicted", "Seen", "Trust", "fit_trust", "framed",
    "novelty_of", "of_kinds", "see", "trust_without",
]  # fmt: skip

RARE, VALID = "rare-kinds", "valid"
"""The names of two sets of cells; see `Model.predicted`."""

KINDS = tuple(WHITE_CELLS.index(name) for name in FIVE_KINDS.classes)
"""The kinds that all labs have."""

_RARE_KINDS = tuple(k for k in range(len(WHITE_CELLS.classes)) if k not in KINDS)

_PER_KIND = 120
"""Training cells of each kind of each lab to which the novelty score is fitted."""

_RENDERED, _MADE = 88, 640
"""Images of no class, likewise: images without cells, and those that batches make."""

_MAX_ERROR = 0.01
"""Wrong predictions among the accepted ones."""

_MAX_REVIEW = 0.4

_NOVELTY_QUANTILE = 0.95

_PER_LAB = 3000
_RARE_SHARE = 0.1
"""Cells that calibration and thresholds are fitted to: of each lab, and the share of rare kinds."""


@dataclass(frozen=True, eq=False)
class Seen:
    """N cells as a model sees them."""

    features: NDArray[np.float32]  # (N, 1280)
    labels: NDArray[np.int64]  # (N,)
    groups: NDArray[np.str_]  # (N,)


@dataclass(frozen=True, eq=False)
class Predicted:
    """Predictions for N cells of a lab that the model has not seen."""

    logits: NDArray[np.float64]  # (N, C)
    novelty: NDArray[np.float32]  # (N,)
    labels: NDArray[np.int64]  # (N,)


class Trust(NamedTuple):
    """The calibration of the probabilities, and the thresholds of acceptance."""

    calibration: Calibration
    thresholds: Thresholds

    def probabilities(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return calibrated probabilities (N, C)."""
        return softmax(self.calibration.apply(logits))


def framed(cells: Cells, number: int) -> NDArray[np.uint8]:
    """Return a cell as the model's input, (224, 224, 3), as `analyze` frames and recolours it."""
    pixels, stain = cells.pixels[number], cells.stain(number)
    across = round(FRAMING.red_cell_diameters * SIDE / DIAMETERS)
    start = (SIDE - across) // 2
    cut = np.ascontiguousarray(pixels[start : start + across, start : start + across])
    cell = images.fit(cut)
    return blurred(stained(cell, stain, FRAMING) if stain else cell, FRAMING)


def see(cells: Cells, backbone: Backbone) -> Seen:
    """Return the features of cells."""
    found = [
        backbone.features(np.stack([framed(cells, i) for i in range(start, end)]))
        for start, end in _spans(len(cells), 32)
    ]
    return Seen(np.concatenate(found), cells.labels, cells.groups)


def novelty_of(
    made: Made, cells: Mapping[str, Cells], without: Sequence[str], seed: int
) -> Novelty:
    """Fit the novelty score of a model to its training cells and to images of no class.

    It is scaled by the validation cells of the same labs.
    """
    backbone = Backbone(made.weights)
    labs = {lab: cells[lab] for lab in LABS if lab not in without}
    train = [see(_some(one.training, seed), backbone) for one in labs.values()]
    valid = [see(_some(one.of("valid"), seed), backbone) for one in labs.values()]
    unlike = np.concatenate([_rendered(backbone), _no_class(cells, labs, without, backbone, seed)])
    novelty = fit_novelty(
        np.concatenate([one.features for one in train]),
        np.concatenate([one.labels for one in train]),
        len(WHITE_CELLS.classes),
        unlike,
    )
    return novelty.scaled_to(np.concatenate([one.features for one in valid]))


def of_kinds(cells: Cells, kinds: Sequence[int]) -> Cells:
    """Return the cells of some kinds."""
    return cells[np.isin(cells.labels, kinds)]


@dataclass
class Model:
    """A model without some labs, and its predictions; all are kept once they are made.

    Parameters
    ----------
    cells : mapping of str to Cells
        As `cells.prepare` returns them.
    work : Path
        Where trainings and predictions are kept.
    without : sequence of str
        The labs that are left out.
    seed : int
    """

    cells: Mapping[str, Cells]
    work: Path
    without: Sequence[str]
    seed: int

    @cached_property
    def made(self) -> Made:
        """Backbone and head, trained if they have not been."""
        from recipes.white_cells.recipe import make  # only training needs PyTorch

        return make(self.cells, self.work, without=self.without, seed=self.seed)

    @cached_property
    def novelty(self) -> Novelty:
        """The novelty score."""
        return novelty_of(self.made, self.cells, self.without, self.seed)

    def predicted(self, name: str) -> Predicted:
        """Return the predictions for a lab's cells of the kinds that all labs have.

        Two sets of cells have names, too: `RARE`, the validation cells of the kinds that only pbc
        has, and `VALID`, the validation cells of the labs that were not left out.
        """
        path = folder_of(self.work, self.without, self.seed) / f"predicted-{name}.npz"
        if not path.exists():
            self._predict(self._cells(name), path)
        with np.load(path, allow_pickle=False) as arrays:
            return Predicted(**{part: arrays[part] for part in arrays.files})

    def to_fit(self, lab: str) -> Predicted:
        """Return the predictions for a lab's cells that are not in its test split."""
        found, cells = self.predicted(lab), self._cells(lab)
        known = cells.splits != "test"
        return Predicted(found.logits[known], found.novelty[known], found.labels[known])

    def _cells(self, name: str) -> Cells:
        if name == RARE:
            return of_kinds(self.cells["pbc"].of("valid"), _RARE_KINDS)
        if name == VALID:
            return joined([self.cells[lab].of("valid") for lab in LABS if lab not in self.without])
        return of_kinds(self.cells[name], KINDS)

    def _predict(self, cells: Cells, path: Path) -> None:
        seen = see(cells, Backbone(self.made.weights))
        logits = self.made.heads[TASK].logits(seen.features)
        partial = path.with_suffix(".new.npz")
        found = Predicted(logits, self.novelty.score(seen.features), seen.labels)
        np.savez(partial, **vars(found))
        partial.replace(path)


def fit_trust(labs: Sequence[Predicted], rare: Sequence[Predicted]) -> Trust:
    """Fit calibration and thresholds to the predictions for labs that were left out.

    All labs count alike. The calibration has a temperature, and a bias against the kinds that only
    the training labs have, which would be predicted too often: some of their validation cells are
    added, `rare`, a tenth as many. A bias for each kind would fit the labs it is fitted to, and no
    other: what one lab has too many of, another has too few of. The largest accepted novelty is the
    95th percentile in the labs. The least confidence is the lowest at which at most 1% of the
    accepted predictions are wrong, unless that sends more than two fifths to review.
    """
    rng = np.random.default_rng(0)
    parts = [_resampled(one, _PER_LAB, rng) for one in labs]
    each = int(_RARE_SHARE * _PER_LAB * len(labs) / max(1, len(rare)))
    known = parts + [_resampled(one, each, rng) for one in rare]
    calibration = _calibration(
        np.concatenate([one.logits for one in known]), np.concatenate([one.labels for one in known])
    )
    novelty = np.concatenate([one.novelty for one in parts])
    highest = float(np.quantile(novelty, _NOVELTY_QUANTILE))
    p = softmax(calibration.apply(np.concatenate([one.logits for one in parts])))
    wrong = p.argmax(axis=1) != np.concatenate([one.labels for one in parts])
    usual = novelty <= highest
    least = _least(p.max(axis=1)[usual], wrong[usual], len(novelty))
    return Trust(calibration, Thresholds(least, highest))


def _calibration(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> Calibration:
    """Fit a temperature, and a bias that the rare kinds share, by maximum likelihood.

    The bias has a normal prior with mean 0 and standard deviation 1, as in `fit_calibration`.
    """
    is_rare = np.isin(np.arange(logits.shape[1]), _RARE_KINDS).astype(float)

    def loss(point: NDArray[np.float64]) -> float:
        p = softmax(logits * np.exp(point[0]) + point[1] * is_rare)
        likely = np.log(p[np.arange(len(labels)), labels] + 1e-12).sum()
        return float(point[1] ** 2 / 2 - likely) / len(labels)

    scale, bias = minimize(loss, np.zeros(2), method="Nelder-Mead").x
    return Calibration(float(np.exp(-scale)), bias * (is_rare - is_rare.mean()))


def trust_without(
    cells: Mapping[str, Cells], work: Path, lab: str, *, quick: bool = False
) -> Trust:
    """Return the calibration and thresholds for a model that has not seen a lab.

    They are fitted to the other labs, each predicted by a model without it and without `lab`; with
    `quick` by a model without it alone, so that six trainings less are needed.
    """
    others = [other for other in LABS if other != lab]
    models = {other: Model(cells, work, (other,) if quick else (lab, other), 0) for other in others}
    return fit_trust(
        [model.to_fit(other) for other, model in models.items()],
        [model.predicted(RARE) for model in models.values() if "pbc" not in model.without],
    )


def _resampled(one: Predicted, count: int, rng: np.random.Generator) -> Predicted:
    """Return `count` predictions, each about as often as the others."""
    if not len(one.labels):
        return one
    chosen = np.resize(rng.permutation(len(one.labels)), count)
    return Predicted(one.logits[chosen], one.novelty[chosen], one.labels[chosen])


def _least(confidence: NDArray[np.float64], wrong: NDArray[np.bool_], total: int) -> float:
    """Return the least confidence to accept; `total` includes those rejected already."""
    order = np.argsort(-confidence, kind="stable")
    accepted = np.arange(1, len(order) + 1)
    good = np.cumsum(wrong[order]) <= _MAX_ERROR * accepted
    enough = accepted >= (1 - _MAX_REVIEW) * total
    allowed = np.flatnonzero(good & enough)
    last = allowed[-1] if len(allowed) else min(int(np.argmax(enough)), len(order) - 1)
    return float(confidence[order][last])


def _some(cells: Cells, seed: int) -> Cells:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(cells))
    rank = np.zeros(len(cells), np.int64)
    for kind in range(len(WHITE_CELLS.classes)):
        own = order[cells.labels[order] == kind]
        rank[own] = np.arange(len(own))
    return cells[rank < _PER_KIND]


def _rendered(backbone: Backbone) -> NDArray[np.float32]:
    return np.concatenate([backbone.features(render_decoy(i)[None]) for i in range(_RENDERED)])


def _no_class(
    cells: Mapping[str, Cells],
    labs: Mapping[str, Cells],
    without: Sequence[str],
    backbone: Backbone,
    seed: int,
) -> NDArray[np.float32]:
    """Return the features of images of no class, as the network saw them in training."""
    platelets = [cells[name] for lab, name in PLATELETS.items() if lab not in without]
    own = {lab: one.training for lab, one in labs.items()}
    how = Variation(outliers=1.0, reference=1.0, exchanged=0.0, augmentation=AS_RECORDED)
    batches = KindBatches(own, SHARES, 32, images.SIZE, seed, how, platelets)
    made = [backbone.features(batches[i].pixels) for i in range(_MADE // 32)]
    return np.concatenate(made)


def _spans(count: int, size: int) -> list[tuple[int, int]]:
    return [(start, min(start + size, count)) for start in range(0, count, size)]
