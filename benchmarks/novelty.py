"""Whether a model knows what is no cell, and does not take a new laboratory's cells for none.

    python -m benchmarks.novelty --data DATA --work runs/recipes [--model NAME ...]
                                 [--part testing|tuning] [--left-out] [--per-set 600]

For each bundled model, answered by its own file as every door does, printed in Markdown:

- by laboratory: the area under the ROC curve of novelty, cells of the Test parts against all images
  of `benchmarks.non_cells`; how many cells go to review by novelty and in all, and the accuracy of
  the accepted answers;
- by kind of non-cell image: how many are accepted, by novelty alone and in all, with the upper end
  of the 95 % interval of Clopper and Pearson;
- for the model of three classes, single-cell images amid other cells (`pbc/val`, erythroblasts
  excepted): a framing of their own.

With `--left-out`, head, novelty and thresholds are also learnt anew without each laboratory, on the
model's backbone, and that laboratory's cells are answered. The backbone itself may have seen it;
`benchmarks.cross_lab` leaves it out altogether.
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
from recipes.sets import CELL_SETS, LABS, prepare

MODELS = (RBC_WBC_PLATELETS.name, "pbc8")
BATCH = 64


@dataclass(frozen=True)
class Answered:
    """Answers to N images: the most probable class, its probability and the novelty."""

    said: NDArray[np.int64]
    confidence: NDArray[np.float64]
    novelty: NDArray[np.float64]

    def known(self, thresholds: Thresholds) -> NDArray[np.bool_]:
        """Tell which are not too novel."""
        return self.novelty <= thresholds.max_novelty

    def accepted(self, thresholds: Thresholds) -> NDArray[np.bool_]:
        """Tell which are accepted."""
        return self.known(thresholds) & (self.confidence >= thresholds.min_confidence)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", nargs="+", default=MODELS)
    parser.add_argument("--part", choices=("tuning", "testing"), default="testing")
    parser.add_argument("--left-out", action="store_true")
    parser.add_argument("--per-set", type=int, default=600, help="cells of each Test part at most")
    args = parser.parse_args()
    sets = prepare(args.data, args.work.resolve())
    others = list(make(args.part, Places(args.data, args.work.resolve() / "sets")))
    for name in args.model:
        classifier = Classifier.load(name)
        print(f"\n## {name}, {args.part} images\n")
        report(classifier, sets, others, args.per_set)
        if args.left_out and name == RBC_WBC_PLATELETS.name:
            report_left_out(classifier, sets, others, args.per_set)


def report(
    classifier: Classifier, sets: Mapping[str, Dataset], others: Sequence[NonCell], most: int
) -> None:
    """Print the tables of one bundled model."""
    thresholds = classifier.thresholds
    print(f"Accepted from a confidence of {thresholds.min_confidence:.3f} on, up to a novelty of "
          f"{thresholds.max_novelty:.3f}.\n")  # fmt: skip
    strange = answered(classifier, np.stack([other.pixels for other in others]))
    kinds = np.array([other.kind for other in others])
    of_three = classifier.taxonomy.name == RBC_WBC_PLATELETS.name
    names = CELL_SETS if of_three else ("pbc-test",)
    rows = [score_model(classifier, some(sets[name], most), strange, kinds, name) for name in names]
    print_cells(rows)
    print_kinds(strange, kinds, thresholds)
    if of_three:
        print_wide(classifier, sets["pbc-test"], most)


@dataclass(frozen=True)
class Judged:
    """How the cells of one set fared."""

    name: str
    cells: Answered
    labels: NDArray[np.int64]
    strange: Answered
    thresholds: Thresholds


def score_model(
    classifier: Classifier,
    samples: Sequence[Sample],
    strange: Answered,
    kinds: NDArray[np.str_],
    name: str,
) -> Judged:
    """Answer the cells of one set."""
    cells = answered(classifier, load(samples))
    labels = np.array([classifier.classes.index(sample.label) for sample in samples])
    return Judged(name, cells, labels, chosen(strange, ~np.isin(kinds, list(EXTRA))),
                  classifier.thresholds)  # fmt: skip


def print_cells(rows: Sequence[Judged]) -> None:
    """Print one line a set, and one of all."""
    print("| cells of | n | AUROC against non-cells | review by novelty | review in all "
          "| accuracy of accepted |")  # fmt: skip
    print("|---|---|---|---|---|---|")
    for row in rows:
        print_line(row.name, [row])
    if len(rows) > 1:
        print_line("all", rows)


def print_line(name: str, rows: Sequence[Judged]) -> None:
    """Print one line of the table of cells."""
    novelty = np.concatenate([row.cells.novelty for row in rows])
    strange = rows[0].strange.novelty
    is_strange = np.repeat([0, 1], [len(novelty), len(strange)])
    area = roc_auc_score(is_strange, np.concatenate([novelty, strange]))
    known = np.concatenate([row.cells.known(row.thresholds) for row in rows])
    accepted = np.concatenate([row.cells.accepted(row.thresholds) for row in rows])
    right = np.concatenate([row.cells.said == row.labels for row in rows])
    print(f"| {name} | {len(novelty)} | {area:.4f} | {1 - known.mean():.1%} "
          f"| {1 - accepted.mean():.1%} | {right[accepted].mean():.2%} |")  # fmt: skip


def print_kinds(strange: Answered, kinds: NDArray[np.str_], thresholds: Thresholds) -> None:
    """Print how many images of each kind are accepted."""
    print("\n| images without a cell | n | accepted by novelty | accepted | upper 95 % bound |")
    print("|---|---|---|---|---|")
    by_novelty, accepted = strange.known(thresholds), strange.accepted(thresholds)
    rows = {str(kind): kinds == kind for kind in dict.fromkeys(kinds)}
    rows["all but whole fields"] = ~np.isin(kinds, list(EXTRA))
    for kind, chosen_rows in rows.items():
        n, taken = int(chosen_rows.sum()), int(accepted[chosen_rows].sum())
        bound = binomtest(taken, n).proportion_ci(0.95, "exact").high
        print(f"| {kind} | {n} | {int(by_novelty[chosen_rows].sum())} | {taken} | {bound:.1%} |")


def print_wide(classifier: Classifier, data: Dataset, most: int) -> None:
    """Print how single-cell images amid other cells fare."""
    samples = [s for s in some(data, most) if s.label != "erythroblast"]
    names = ["Platelets" if s.label == "platelet" else "WBC" for s in samples]
    labels = np.array([classifier.classes.index(name) for name in names])
    wide = answered(classifier, load(samples))
    accepted, right = wide.accepted(classifier.thresholds), wide.said == labels
    print(f"\nSingle-cell images amid other cells: {len(samples)}, right {right.mean():.1%}, "
          f"review {1 - accepted.mean():.1%}, "
          f"accuracy of accepted {right[accepted].mean():.1%}.")  # fmt: skip


def report_left_out(
    classifier: Classifier, sets: Mapping[str, Dataset], others: Sequence[NonCell], most: int
) -> None:
    """Print what happens to the cells of a laboratory that head and novelty do not know."""
    bundle = classifier.bundle
    external = bundled_weights() if bundle.external_weights() else None
    weights = read_classifier_graph(bundle.read(ONNX), external).weights
    backbone = Backbone(weights)
    features = backbone.features(np.stack([other.pixels for other in others]))
    is_extra = np.isin([other.kind for other in others], list(EXTRA))
    print("\n| left out | n | AUROC against non-cells | review by novelty | review in all "
          "| accuracy of accepted | accepted non-cells | upper 95 % bound |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for lab, names in LABS.items():
        learned = train_model(
            FeatureReader(cells_dataset(sets, without=lab)), weights, HeadTraining()
        )
        samples = [s for name in names if name in CELL_SETS for s in some(sets[name], most)]
        labels = np.array([RBC_WBC_PLATELETS.classes.index(s.label) for s in samples])

        def answers(rows: NDArray[np.float32], learned=learned) -> Answered:  # noqa: ANN001
            return _answers(learned.head.probabilities(rows), learned.novelty.score(rows))

        cells = answers(backbone.features(load(samples)))
        strange = answers(features[~is_extra])
        print_left_out(lab, cells, labels, strange, learned.thresholds)


def print_left_out(
    lab: str, cells: Answered, labels: NDArray[np.int64], strange: Answered, thresholds: Thresholds
) -> None:
    """Print one line of the table of laboratories left out."""
    is_strange = np.repeat([0, 1], [len(cells.novelty), len(strange.novelty)])
    area = roc_auc_score(is_strange, np.concatenate([cells.novelty, strange.novelty]))
    accepted, taken = cells.accepted(thresholds), int(strange.accepted(thresholds).sum())
    bound = binomtest(taken, len(strange.novelty)).proportion_ci(0.95, "exact").high
    right = (cells.said == labels)[accepted].mean()
    print(f"| {lab} | {len(labels)} | {area:.4f} | {1 - cells.known(thresholds).mean():.1%} "
          f"| {1 - accepted.mean():.1%} | {right:.2%} | {taken} | {bound:.1%} |")  # fmt: skip


def some(data: Dataset, most: int) -> list[Sample]:
    """Return at most so many samples of the Test part (or of all, where there are no parts)."""
    samples = [sample for sample in data if sample.split in ("test", None)]
    rows = np.random.default_rng(0).permutation(len(samples))[:most]
    return [samples[row] for row in np.sort(rows)]


def load(samples: Sequence[Sample]) -> NDArray[np.uint8]:
    """Read and fit images."""
    return np.stack([images.load(sample.path) for sample in samples])


def chosen(answers: Answered, rows: NDArray[np.bool_]) -> Answered:
    """Return some of the answers."""
    return Answered(answers.said[rows], answers.confidence[rows], answers.novelty[rows])


def answered(classifier: Classifier, pixels: NDArray[np.uint8]) -> Answered:
    """Answer by the model's own file."""
    parts = [classifier.predict_batch(pixels[i : i + BATCH]) for i in range(0, len(pixels), BATCH)]
    return _answers(
        np.concatenate([part.probabilities for part in parts]),
        np.concatenate([part.novelty for part in parts]),
    )


def _answers(probabilities: NDArray[np.floating], novelty: NDArray[np.floating]) -> Answered:
    return Answered(
        probabilities.argmax(axis=1),
        np.asarray(probabilities.max(axis=1), np.float64),
        np.asarray(novelty, np.float64),
    )


if __name__ == "__main__":
    main()
