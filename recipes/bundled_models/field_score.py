"""Put the field score into the bundled models, without training them again.

    python -m recipes.bundled_models.field_score --data DATA --work runs/recipes

The recipe does so by itself; this was for the models made before it. No probability changes; the
limit of the score is fitted to the validation split, and the review rates in metrics, card and
report are corrected by the test images that the score sends to review.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.data.samples import Dataset, Sample
from hematovision.evaluation import Metrics, read_metrics, write_metrics
from hematovision.evaluation.metrics import LabScores
from hematovision.files import write_text
from hematovision.model.bundle import ONNX, Bundle, read_bundle, seal, seal_self_test, write_bundle
from hematovision.model.classifier import Classifier
from hematovision.model.field_score import bundled_field_score
from hematovision.model.graph import classifier_graph, read_classifier_graph
from hematovision.model.inference import ahead
from hematovision.model.manifest import SHARED_WEIGHTS
from hematovision.model.registry import find_model
from hematovision.model.session import usable_cpus
from hematovision.model.thresholds import accepts, fit_max_field
from hematovision.model.weights import bundled_weights
from hematovision.reporting.card import CardFacts, Statements, model_card
from hematovision.workflows.labelled import predict_labelled
from recipes.bundled_models.data import cells_dataset, pbc8_dataset
from recipes.bundled_models.facts import CELLS, PBC8
from recipes.bundled_models.reports import add_report
from recipes.sets import prepare

_KEPT = ("MODEL_CARD.md", "history.csv", "metrics.json")
_Scores = TypeVar("_Scores", Metrics, LabScores)
_CHANGED = ("Failure analysis (37)", "Calibration and review")


def main() -> None:
    """Update both models."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of real images")
    parser.add_argument("--work", type=Path, required=True, help="for imports")
    args = parser.parse_args()
    sets = prepare(args.data, args.work.resolve())
    _update("rbc-wbc-platelets", cells_dataset(sets), CELLS)
    _update("pbc8", pbc8_dataset(sets), PBC8)


def _update(name: str, data: Dataset, about: Statements) -> None:
    bundle = read_bundle(find_model(name))
    if "field" in bundle.manifest.outputs:
        raise SystemExit(f"{name} has a field score already. Run recipes.bundled_models.recipe.")
    limit = fit_max_field(_scores(data.subset("valid").samples))
    updated = _with_score(bundle, limit)
    old = read_metrics(updated.folder / "metrics.json")
    metrics = _metrics(Classifier(updated), data, old)
    write_metrics(updated.folder / "metrics.json", metrics)
    card = (updated.folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    write_text(updated.folder / "MODEL_CARD.md", _card(card, updated, metrics, about))
    seal(updated.folder)
    add_report(updated.folder)
    print(f"{name}: limit {limit:.3f}, review {old.review_rate:.4f} -> {metrics.review_rate:.4f}")


def _scores(samples: tuple[Sample, ...]) -> NDArray[np.float32]:
    def scored(sample: Sample) -> NDArray[np.float32]:
        return bundled_field_score().score(images.load(sample.path)[None])

    return np.concatenate(list(ahead(scored, samples, usable_cpus())))


def _with_score(bundle: Bundle, limit: float) -> Bundle:
    """Write the graph again with the score, and everything that does not depend on it."""
    shared = bundle.manifest.backbone.shared
    parts = read_classifier_graph(bundle.read(ONNX), bundled_weights() if shared else None)
    graph = classifier_graph(
        parts.weights,
        parts.head,
        parts.novelty,
        external=SHARED_WEIGHTS if shared else None,
        field_score=bundled_field_score(),
    )
    manifest = replace(
        bundle.manifest, thresholds=replace(bundle.thresholds, max_field=limit), files={}
    )
    kept = {name: bundle.read(name) for name in _KEPT}
    return seal_self_test(write_bundle(bundle.folder, manifest, {ONNX: graph, **kept}))


def _metrics(classifier: Classifier, data: Dataset, old: Metrics) -> Metrics:
    """Move the test images that only the field score sends to review out of the accepted ones.

    The split of `txl/pbc` follows that of `pbc`, which has more images than when
    `rbc-wbc-platelets` was made, so its metrics are corrected by these images, not computed again.
    """
    (predictions,), _ = predict_labelled([classifier], data.subset("test"))
    without = replace(predictions, field=None)
    new, before = (
        accepts(one.confidence[:, None], one.novelty, classifier.thresholds, one.field)
        for one in (predictions, without)
    )
    moved = before & ~new
    wrong = predictions.probabilities.argmax(axis=1) != predictions.labels
    labs = np.array([sample.lab for sample in predictions.samples])
    print(dict(zip(*np.unique(labs[moved], return_counts=True), strict=True)), "of", len(labs))
    per_lab = {
        lab: _with_fewer(
            row, int(moved[labs == lab].sum()), int((moved & wrong)[labs == lab].sum())
        )
        for lab, row in (old.per_lab or {}).items()
    }
    return replace(
        _with_fewer(old, int(moved.sum()), int((moved & wrong).sum())), per_lab=per_lab or None
    )


def _with_fewer(scores: _Scores, moved: int, wrong: int) -> _Scores:
    """Return scores with `moved` fewer accepted images, `wrong` of them wrong."""
    accepted = round((1 - scores.review_rate) * scores.n)
    errors = round((1 - (scores.accuracy_accepted or 1)) * accepted) - wrong
    kept = accepted - moved
    return replace(
        scores,
        review_rate=(scores.n - kept) / scores.n,
        accuracy_accepted=1 - errors / kept if kept else None,
    )


def _card(card: str, bundle: Bundle, metrics: Metrics, about: Statements) -> str:
    """Replace the sections of a card that depend on the decisions."""
    manifest = bundle.manifest
    facts = CardFacts(
        name=bundle.name,
        architecture="",
        weights="",
        split_sizes={},
        split="test",
        fingerprint="",
        split_method="",
        preprocessing="",
        temperature=manifest.temperature,
        min_confidence=bundle.thresholds.min_confidence,
        max_novelty=bundle.thresholds.max_novelty,
        max_field=bundle.thresholds.max_field,
        about=about,
    )
    new = _sections(model_card(facts, metrics))
    old = _sections(card)
    for title in _CHANGED:
        old[title] = new[title]
    return "".join(old.values())


def _sections(card: str) -> dict[str, str]:
    parts = re.split(r"(?m)^(?=## )", card)
    return {part.splitlines()[0].removeprefix("## ") if part else "": part for part in parts}


if __name__ == "__main__":
    main()
