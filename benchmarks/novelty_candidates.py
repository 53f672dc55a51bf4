"""Compare novelty scores on a backbone's features: how the one in use was chosen.

    python -m benchmarks.novelty_candidates --data DATA --work runs/recipes [--part tuning|testing]

Scores are fitted on the training splits of the four laboratories, and again without each, and
evaluated on the test splits (of the laboratory left out) and the images of `benchmarks.non_cells`.
Prints, in Markdown, the area under the ROC curve and the fraction of cells that would be sent for
review at a threshold that accepts 2% of the non-cell images. The head is not used.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from benchmarks.non_cells import EXTRA, Places, make
from hematovision.data.samples import Dataset
from hematovision.model.backbone import Backbone
from hematovision.model.novelty import Novelty, fit_novelty
from hematovision.model.weights import BackboneWeights, bundled_weights
from hematovision.training.inputs import FeatureReader, SplitFeatures, decoy_features
from recipes.bundled_models.data import cells_dataset
from recipes.sets import LABS, prepare

Rows = NDArray[np.float32]
Score = Callable[[Rows], NDArray[np.floating]]
ACCEPTED = 0.02
SHRINKAGE = 0.001
PROTOTYPES = 600


@dataclass(frozen=True)
class Fold:
    """What is fitted to, and the cells that are scored."""

    name: str
    train: SplitFeatures
    decoys: Rows
    cells: Rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--part", choices=("tuning", "testing"), default="tuning")
    args = parser.parse_args()
    work, weights = args.work.resolve(), bundled_weights()
    sets = prepare(args.data, work)
    others = make(args.part, Places(args.data, work / "sets"))
    pixels = np.stack([other.pixels for other in others if other.kind not in EXTRA])
    non_cells = Backbone(weights).features(pixels)
    rows: dict[str, list[tuple[float, float]]] = {}
    folds = [name for name, _ in LABS.items()]
    for fold in [whole(sets, weights), *(without(sets, lab, weights) for lab in folds)]:
        for name, score in candidates(fold):
            rows.setdefault(name, []).append(figures(score(fold.cells), score(non_cells)))
    columns = ["all labs", *(f"without {lab}" for lab in folds)]
    print(f"\n| AUROC; review of cells at {ACCEPTED:.0%} | {' | '.join(columns)} |")
    print("|---" * (len(columns) + 1) + "|")
    for name, values in rows.items():
        print(f"| {name} |", " | ".join(f"{area:.4f}; {share:.1%}" for area, share in values), "|")


def whole(sets: dict[str, Dataset], weights: BackboneWeights) -> Fold:
    """Fit to all laboratories and score the test splits of all."""
    parts = FeatureReader(cells_dataset(sets)).read(weights, more_views=False).splits
    train = parts["train"]
    return Fold("all", train, decoy_features(train, weights), parts["test"].features)


def without(sets: dict[str, Dataset], lab: str, weights: BackboneWeights) -> Fold:
    """Fit without a laboratory and score its test split."""
    known = FeatureReader(cells_dataset(sets, without=lab)).read(weights, more_views=False).splits
    every = FeatureReader(cells_dataset(sets)).read(weights, more_views=False).splits["test"]
    of_lab = [sample.lab == lab for sample in every.samples]
    train = known["train"]
    return Fold(lab, train, decoy_features(train, weights), every.features[of_lab])


def figures(cells: NDArray[np.floating], non_cells: NDArray[np.floating]) -> tuple[float, float]:
    """Return the area under the curve, and the review of cells at `ACCEPTED` non-cell images."""
    area = roc_auc_score(np.repeat([0, 1], [len(cells), len(non_cells)]), np.r_[cells, non_cells])
    return float(area), float(np.mean(cells > np.quantile(non_cells, ACCEPTED)))


def candidates(fold: Fold) -> Iterator[tuple[str, Score]]:
    """Fit every candidate."""
    features, labels = fold.train.features, fold.train.labels
    n_classes = int(labels.max()) + 1
    fitted = fit_novelty(features, labels, n_classes, fold.decoys)
    plain = Novelty(fitted.means, fitted.inv_std)
    yield "plain distance to the nearest mean (first version)", plain.score
    yield from subspaces(plain, features, labels)
    yield from neighbours(plain, features, labels)
    alone = Novelty(fitted.means, fitted.inv_std, np.zeros((features.shape[1], 1), np.float16),
                    fitted.direction)  # fmt: skip
    yield "direction to decoys alone", alone.score
    yield "plain distance and direction", Novelty(*plain[:2], None, fitted.direction).score
    yield "narrow directions", fitted._replace(direction=None).score
    yield "narrow directions and direction (in use)", fitted.score


def subspaces(
    plain: Novelty, features: Rows, labels: NDArray[np.int64]
) -> Iterator[tuple[str, Score]]:
    """Fit Mahalanobis distances in the widest directions, outside of them, and in all."""
    apart = (features - plain.means[labels]) * plain.inv_std
    groups = [apart[labels == label] for label in np.unique(labels)]
    within = np.mean([group.T @ group / len(group) for group in groups], axis=0)
    variances, axes = np.linalg.eigh(within.astype(np.float64))
    variances, axes = variances[::-1], axes[:, ::-1].astype(np.float32)
    shrunk = (1 - SHRINKAGE) * variances + SHRINKAGE * variances.mean()
    centred = (features - plain.means.mean(axis=0)) * plain.inv_std
    total = ((centred @ axes) ** 2).mean(axis=0)

    def squares(rows: Rows, scale: NDArray[np.floating], part: slice) -> NDArray[np.floating]:
        """Return the mean square along some axes, for the nearest class."""
        weights = axes[:, part] / np.sqrt(scale[part]).astype(np.float32)
        return np.min([((((rows - mean) * plain.inv_std) @ weights) ** 2).mean(axis=1)
                       for mean in plain.means], axis=0)  # fmt: skip

    def relative(rows: Rows) -> NDArray[np.floating]:
        spread = ((rows - plain.means.mean(axis=0)) * plain.inv_std) @ axes
        return squares(rows, shrunk, slice(None)) - (spread**2 / (total + SHRINKAGE)).mean(axis=1)

    even = np.full_like(shrunk, shrunk.mean())
    for count in (32, 64, 256):
        first, rest = slice(count), slice(count, None)
        yield f"Mahalanobis, {count} widest", lambda r, p=first: squares(r, shrunk, p)
        yield f"residual outside {count}", lambda r, p=rest: squares(r, even, p)
        yield (
            f"both of {count}",
            lambda r, a=first, b=rest: (
                squares(r, shrunk, a) + squares(r, even * variances[b].mean() / even[0], b)
            ),
        )
    yield "Mahalanobis, all directions", lambda r: squares(r, shrunk, slice(None))
    yield "relative Mahalanobis", relative


def neighbours(
    plain: Novelty, features: Rows, labels: NDArray[np.int64]
) -> Iterator[tuple[str, Score]]:
    """Take the cosine distance to the nearest of some training images of each class."""
    rng, classes = np.random.default_rng(0), np.unique(labels)
    rows = [
        rng.permutation(np.flatnonzero(labels == c))[: PROTOTYPES // len(classes)] for c in classes
    ]
    centre = plain.means.mean(axis=0)
    for name, shift, scale in (
        ("as they are", 0, 1),
        ("in standard deviations", centre, plain.inv_std),
    ):
        kept = _unit((features[np.concatenate(rows)] - shift) * scale)

        def score(
            r: Rows, kept: Rows = kept, shift: object = shift, scale: object = scale
        ) -> NDArray[np.floating]:
            return 1 - (_unit((r - shift) * scale) @ kept.T).max(axis=1)  # type: ignore[operator]

        yield f"nearest of {PROTOTYPES} training images, {name}", score


def _unit(rows: Rows) -> Rows:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


if __name__ == "__main__":
    main()
