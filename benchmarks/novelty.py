"""Evaluate out-of-distribution detection: images without a cell, and cells of new laboratories.

    python -m benchmarks.novelty --data DATA --work runs/recipes [--model NAME ...]
                                 [--part testing|tuning] [--left-out] [--per-set 600]

For each bundled model, run from its own file, printed in Markdown:

- by laboratory: the area under the ROC curve of the novelty score, cells of the test splits against
  all images of `benchmarks.non_cells`; cells sent for review by novelty and in total, and the
  accuracy on the rest;
- by kind of non-cell image: images accepted, by novelty alone and in total, with the upper limit of
  the 95% interval of Clopper and Pearson;
- for a model that frames white cells by their red cells (`white-cells`), these images only;
- for the model of three classes, the single-cell images among other cells of `pbc/val`, whose
  erythroblasts are RBC: a different framing.

With `--left-out`, head, novelty and thresholds are also trained without each laboratory, on the
model's backbone, and that laboratory's cells are classified. The backbone itself may have been
trained on it; `benchmarks.cross_lab` leaves it out altogether.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

import hematovision
from benchmarks.non_cells import EXTRA, NonCell, Places, make
from hematovision import images
from hematovision.data.samples import Dataset, Sample
from hematovision.model.backbone import Backbone
from hematovision.model.bundle import ONNX
from hematovision.model.classifier import Classifier
from hematovision.model.graph import read_classifier_graph
from hematovision.model.thresholds import Thresholds
from hematovision.model.weights import bundled_weights
from hematovision.taxonomy import RBC_WBC_PLATELETS
from hematovision.training.inputs import FeatureReader
from hematovision.training.recipe import HeadTraining
from hematovision.training.trainer import train_model
from recipes.bundled_models.data import cells_dataset
from recipes.sets import CELL_SETS, LABS, OF_THREE, prepare

MODELS = (RBC_WBC_PLATELETS.name, "pbc8", "white-cells")
BATCH = 64


@dataclass(frozen=True)
class Predictions:
    """Predictions for N images: the most probable class, its probability and the novelty score."""

    label: NDArray[np.int64]
    confidence: NDArray[np.float64]
    novelty: NDArray[np.float64]

    def known(self, thresholds: Thresholds) -> NDArray[np.bool_]:
        """Return which are within the novelty threshold."""
        return self.novelty <= thresholds.max_novelty

    def accepted(self, thresholds: Thresholds) -> NDArray[np.bool_]:
        """Return which are accepted."""
        return self.known(thresholds) & (self.confidence >= thresholds.min_confidence)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", nargs="+", default=MODELS)
    parser.add_argument("--part", choices=("tuning", "testing"), default="testing")
    parser.add_argument("--left-out", action="store_true")
    parser.add_argument("--per-set", type=int, default=600, help="cells of each test split at most")
    args = parser.parse_args()
    sets = prepare(args.data, args.work.resolve())
    others = list(make(args.part, Places(args.data, args.work.resolve() / "sets")))
    for name in args.model:
        classifier = hematovision.load(name)
        print(f"\n## {name}, {args.part} images\n")
        report(classifier, sets, others, args.per_set)
        if args.left_out and name == RBC_WBC_PLATELETS.name:
            report_left_out(classifier, sets, others, args.per_set)


def report(
    classifier: Classifier, sets: Mapping[str, Dataset], others: Sequence[NonCell], most: int
) -> None:
    """Print the tables of one bundled model."""
    thresholds = classifier.thresholds
    print(
        f"Accepted: confidence from {thresholds.min_confidence:.3f}, novelty score up to "
        f"{thresholds.max_novelty:.3f}.\n"
    )
    kinds = np.array([other.kind for other in others])
    if classifier.framing is not None:
        print_kinds(predict_framed(classifier, others), kinds, thresholds)
        return
    non_cells = predict(classifier, np.stack([other.pixels for other in others]))
    of_three = classifier.taxonomy.name == RBC_WBC_PLATELETS.name
    names = CELL_SETS if of_three else ("pbc-test",)
    rows = [
        score_model(classifier, some(sets[name], most), non_cells, kinds, name) for name in names
    ]
    print_cells(rows)
    print_kinds(non_cells, kinds, thresholds)
    if of_three:
        print_wide(classifier, sets["pbc-test"], len(sets["pbc-test"]))


@dataclass(frozen=True)
class CellScores:
    """Predictions for the cells of one set."""

    name: str
    cells: Predictions
    labels: NDArray[np.int64]
    non_cells: Predictions
    thresholds: Thresholds


def score_model(
    classifier: Classifier,
    samples: Sequence[Sample],
    non_cells: Predictions,
    kinds: NDArray[np.str_],
    name: str,
) -> CellScores:
    """Classify the cells of one set."""
    cells = predict(classifier, load(samples))
    labels = np.array([classifier.classes.index(sample.label) for sample in samples])
    return CellScores(name, cells, labels, chosen(non_cells, ~np.isin(kinds, list(EXTRA))),
                  classifier.thresholds)  # fmt: skip


def print_cells(rows: Sequence[CellScores]) -> None:
    """Print a row for each set, and one for all."""
    print("| cells of | n | AUROC against non-cells | review by novelty | review in total "
          "| accuracy on the rest |")  # fmt: skip
    print("|---|---|---|---|---|---|")
    for row in rows:
        print_line(row.name, [row])
    if len(rows) > 1:
        print_line("all", rows)


def print_line(name: str, rows: Sequence[CellScores]) -> None:
    """Print a row of the table of cells."""
    novelty = np.concatenate([row.cells.novelty for row in rows])
    non_cells = rows[0].non_cells.novelty
    is_non_cell = np.repeat([0, 1], [len(novelty), len(non_cells)])
    area = roc_auc_score(is_non_cell, np.concatenate([novelty, non_cells]))
    known = np.concatenate([row.cells.known(row.thresholds) for row in rows])
    accepted = np.concatenate([row.cells.accepted(row.thresholds) for row in rows])
    right = np.concatenate([row.cells.label == row.labels for row in rows])
    print(f"| {name} | {len(novelty)} | {area:.4f} | {1 - known.mean():.1%} "
          f"| {1 - accepted.mean():.1%} | {right[accepted].mean():.2%} |")  # fmt: skip


def print_kinds(non_cells: Predictions, kinds: NDArray[np.str_], thresholds: Thresholds) -> None:
    """Print the images of each kind that are accepted."""
    print("\n| images without a cell | n | accepted by novelty | accepted | upper 95% limit |")
    print("|---|---|---|---|---|")
    by_novelty, accepted = non_cells.known(thresholds), non_cells.accepted(thresholds)
    rows = {str(kind): kinds == kind for kind in dict.fromkeys(kinds)}
    rows["all but whole fields"] = ~np.isin(kinds, list(EXTRA))
    for kind, chosen_rows in rows.items():
        n, taken = int(chosen_rows.sum()), int(accepted[chosen_rows].sum())
        bound = binomtest(taken, n).proportion_ci(0.95, "exact").high
        print(f"| {kind} | {n} | {int(by_novelty[chosen_rows].sum())} | {taken} | {bound:.1%} |")


def print_wide(classifier: Classifier, data: Dataset, most: int) -> None:
    """Print the results on single-cell images among other cells, in the three classes."""
    samples = some(data, most)
    labels = np.array([classifier.classes.index(OF_THREE[s.label]) for s in samples])
    wide = predict(classifier, load(samples))
    accepted, right = wide.accepted(classifier.thresholds), wide.label == labels
    recalls = [right[labels == number].mean() for number in range(len(classifier.classes))]
    print(f"\nSingle-cell images among other cells: {len(samples)}, balanced accuracy "
          f"{np.mean(recalls):.1%} ({', '.join(f'{r:.1%}' for r in recalls)}), "
          f"review {1 - accepted.mean():.1%}, "
          f"accuracy on the rest {right[accepted].mean():.1%}.")  # fmt: skip


def report_left_out(
    classifier: Classifier, sets: Mapping[str, Dataset], others: Sequence[NonCell], most: int
) -> None:
    """Print the results on the cells of a laboratory that head and novelty were not trained on."""
    bundle = classifier.bundle
    external = bundled_weights() if bundle.external_weights() else None
    weights = read_classifier_graph(bundle.read(ONNX), external).weights
    backbone = Backbone(weights)
    features = backbone.features(np.stack([other.pixels for other in others]))
    is_extra = np.isin([other.kind for other in others], list(EXTRA))
    print("\n| left out | n | AUROC against non-cells | review by novelty | review in total "
          "| accuracy on the rest | accepted non-cells | upper 95% limit |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for lab, names in LABS.items():
        trained = train_model(
            FeatureReader(cells_dataset(sets, without=lab)), weights, HeadTraining()
        )
        samples = [s for name in names if name in CELL_SETS for s in some(sets[name], most)]
        labels = np.array([RBC_WBC_PLATELETS.classes.index(s.label) for s in samples])

        def predictions_of(rows: NDArray[np.float32], trained=trained) -> Predictions:  # noqa: ANN001
            return _predictions(trained.head.probabilities(rows), trained.novelty.score(rows))

        cells = predictions_of(backbone.features(load(samples)))
        non_cells = predictions_of(features[~is_extra])
        print_left_out(lab, cells, labels, non_cells, trained.thresholds)


def print_left_out(
    lab: str,
    cells: Predictions,
    labels: NDArray[np.int64],
    non_cells: Predictions,
    thresholds: Thresholds,
) -> None:
    """Print a row of the table of laboratories left out."""
    is_non_cell = np.repeat([0, 1], [len(cells.novelty), len(non_cells.novelty)])
    area = roc_auc_score(is_non_cell, np.concatenate([cells.novelty, non_cells.novelty]))
    accepted, taken = cells.accepted(thresholds), int(non_cells.accepted(thresholds).sum())
    bound = binomtest(taken, len(non_cells.novelty)).proportion_ci(0.95, "exact").high
    right = (cells.label == labels)[accepted].mean()
    print(f"| {lab} | {len(labels)} | {area:.4f} | {1 - cells.known(thresholds).mean():.1%} "
          f"| {1 - accepted.mean():.1%} | {right:.2%} | {taken} | {bound:.1%} |")  # fmt: skip


def some(data: Dataset, most: int) -> list[Sample]:
    """Return at most `most` samples of the test split, or of all if there are no splits."""
    samples = [sample for sample in data if sample.split in ("test", None)]
    rows = np.random.default_rng(0).permutation(len(samples))[:most]
    return [samples[row] for row in np.sort(rows)]


def load(samples: Sequence[Sample]) -> NDArray[np.uint8]:
    """Read images and resize them."""
    return np.stack([images.load(sample.path) for sample in samples])


def chosen(predictions: Predictions, rows: NDArray[np.bool_]) -> Predictions:
    """Return a subset of the predictions."""
    return Predictions(
        predictions.label[rows], predictions.confidence[rows], predictions.novelty[rows]
    )


def predict(classifier: Classifier, pixels: NDArray[np.uint8]) -> Predictions:
    """Run the bundled model."""
    parts = [classifier.predict_batch(pixels[i : i + BATCH]) for i in range(0, len(pixels), BATCH)]
    return _predictions(
        np.concatenate([part.probabilities for part in parts]),
        np.concatenate([part.novelty for part in parts]),
    )


def predict_framed(classifier: Classifier, others: Sequence[NonCell]) -> Predictions:
    """Run a model that frames whole images."""
    rows = [classifier.predict_rows(other.pixels, other.source)[0][0] for other in others]
    probabilities = np.array([row.probabilities for row in rows])
    return _predictions(probabilities, np.array([row.novelty for row in rows]))


def _predictions(probabilities: NDArray[np.floating], novelty: NDArray[np.floating]) -> Predictions:
    return Predictions(
        probabilities.argmax(axis=1),
        np.asarray(probabilities.max(axis=1), np.float64),
        np.asarray(novelty, np.float64),
    )


if __name__ == "__main__":
    main()
