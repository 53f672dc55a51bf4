"""Run folders: the model, its training history and split, and its metrics and report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hematovision.data.samples import Dataset, Split
from hematovision.data.splits import write_splits
from hematovision.evaluation import Metrics, TrainingSplit
from hematovision.extras import needs_extra
from hematovision.fields.opening import open_classifier
from hematovision.files import write_text
from hematovision.model.bundle import (
    H5,
    KERAS,
    ONNX,
    Bundle,
    finish_bundle,
    stage_bundle,
    with_self_test,
)
from hematovision.model.field_score import FieldScore, bundled_field_score
from hematovision.model.head import Head
from hematovision.model.manifest import BackboneRef, Manifest
from hematovision.model.novelty import Novelty
from hematovision.model.registry import backbone_title
from hematovision.model.weights import Weights
from hematovision.paths import csv_text, shown
from hematovision.reporting.card import (
    NOT_RECORDED,
    CardFacts,
    Statements,
    model_card,
    preprocessing,
)
from hematovision.reporting.report import ReportFacts
from hematovision.workflows.scoring import (
    LabelledPredictions,
    boxes_of,
    score_model,
    split_counts,
    write_evaluation,
)

with needs_extra("train", "Training"):
    from hematovision.model.graph import classifier_graph
    from hematovision.training.curve import CurvePoint
    from hematovision.training.trainer import TrainedModel

__all__ = ["Recipe", "evaluated_split", "stage_model", "write_model", "write_results"]

_ARCHITECTURE = (
    "images of 224x224x3, {backbone} (at {side}x{side}, frozen unless fine-tuned, BatchNorm in "
    "inference mode), global average pooling, Dense(128, relu), Dense({n}, softmax)"
)

_SPLIT_METHOD = (
    "Existing splits are kept; missing splits are made from whole groups. split.csv lists the "
    "split and group of every image."
)


@dataclass(frozen=True)
class Recipe:
    """How a model was trained."""

    weights: str  # name of the backbone's weights
    # as requested
    seed: int
    epochs: int
    options: Mapping[str, Any]  # all options, JSON-ready
    notes: tuple[str, ...] = ()  # caveats for the report
    about: Statements = NOT_RECORDED  # statements about the data that cannot be computed
    # additional rows of the model card; replace rows of the same name
    details: Mapping[str, str] = field(default_factory=dict)


def stage_model(
    out: Path,
    manifest: Manifest,
    weights: Weights,
    head: Head,
    novelty: Novelty,
    *,
    white_balance: bool = True,
    field_score: FieldScore | None = None,
) -> Bundle:
    """Write a model in all formats, without ``bundle.json``: the folder is not a bundle yet.

    Raises `OutputError` if a file cannot be written.
    """
    from hematovision.training.keras_files import keras_bytes  # imports Keras: seconds

    files = keras_bytes(weights, head, "h5", "keras", white_balance=white_balance)
    graph = classifier_graph(
        weights, head, novelty, white_balance=white_balance, field_score=field_score
    )
    models = {ONNX: graph, H5: files["h5"], KERAS: files["keras"]}
    return with_self_test(stage_bundle(out, manifest, models))


def write_model(out: Path, data: Dataset, trained: TrainedModel, recipe: Recipe) -> Bundle:
    """Write a trained model with its history and split, without ``bundle.json``.

    Only `write_results` makes the folder a bundle, so unfinished models cannot be opened.

    Raises `OutputError` if a file cannot be written.
    """
    readable = _readable(data, trained)
    write_splits(readable, out / "split.csv")
    write_text(out / "history.csv", _history_table(trained.history))
    manifest = Manifest(
        name=shown(out.resolve().name),
        taxonomy=data.taxonomy,
        thresholds=trained.thresholds,
        temperature=trained.temperature,
        backbone=BackboneRef(
            recipe.weights, trained.weights.sha256, architecture=trained.weights.architecture
        ),
        data={
            "dataset": shown(data.root.name),
            "fingerprint": trained.fingerprint,
            "splits": split_counts(readable),
            "labs": _labs(data),
            "refused": len(trained.refused),
        },
        seed=recipe.seed,
        options=dict(recipe.options),
    )
    return stage_model(
        out,
        manifest,
        trained.weights,
        trained.head,
        trained.novelty,
        field_score=bundled_field_score(),
    )


def evaluated_split(trained: TrainedModel) -> Split:
    """Return the split that a model is evaluated on: test, or validation if there is none."""
    tested = "test" in trained.splits and bool(trained.splits["test"].samples)
    return "test" if tested else "valid"


def write_results(
    bundle: Bundle,
    data: Dataset,
    trained: TrainedModel,
    recipe: Recipe,
    curve: Sequence[CurvePoint] = (),
) -> tuple[Path, Metrics]:
    """Evaluate a model on `evaluated_split`; write report and card, then ``bundle.json``.

    Returns the report and its metrics. Raises `OutputError` if a file cannot be written.
    """
    out, data = bundle.folder, _readable(data, trained)
    name = evaluated_split(trained)
    predictions, metrics = _evaluated(data, trained, name, recipe)
    facts = ReportFacts(
        title=f"{shown(data.root.name)}: {name} split",
        model=bundle.name,
        dataset=shown(data.root.name),
        split=name,
        split_sizes=split_counts(data),
        details=_details(trained, recipe, bundle),
        labs=_labs(data),
        curve=tuple(curve),
    )
    report = write_evaluation(
        out,
        metrics,
        facts,
        predictions,
        data,
        trained.thresholds,
        history=trained.history,
        explainer=open_classifier(bundle),
    )
    write_text(
        out / "MODEL_CARD.md", model_card(_card_facts(data, trained, recipe, facts), metrics)
    )
    if curve:
        write_text(out / "learning_curve.csv", _curve_table(curve))
    finish_bundle(bundle)
    return report, metrics


def _evaluated(
    data: Dataset, trained: TrainedModel, name: Split, recipe: Recipe
) -> tuple[LabelledPredictions, Metrics]:
    split, training = trained.splits[name], trained.splits["train"]
    predictions = LabelledPredictions(
        split.samples,
        split.labels,
        trained.head.probabilities(split.features),
        trained.novelty.score(split.features),
        split.colours,
        field=split.fields,
    )
    baseline = TrainingSplit(
        training.labels, boxes_of(training.samples), training.colours.astype(np.float64)
    )
    metrics = score_model(
        predictions, data.taxonomy.classes, trained.thresholds, baseline, recipe.seed
    )
    return predictions, replace(metrics, warnings=(*metrics.warnings, *recipe.notes))


def _card_facts(
    data: Dataset, trained: TrainedModel, recipe: Recipe, facts: ReportFacts
) -> CardFacts:
    return CardFacts(
        name=facts.model,
        architecture=_ARCHITECTURE.format(
            backbone=backbone_title(trained.weights.architecture),
            n=len(data.taxonomy.classes),
            side=trained.weights.side,
        ),
        weights=recipe.weights,
        split=facts.split,
        split_sizes=facts.split_sizes,
        fingerprint=trained.fingerprint,
        split_method=_SPLIT_METHOD,
        preprocessing=preprocessing(trained.weights.side),
        temperature=trained.temperature,
        min_confidence=trained.thresholds.min_confidence,
        max_novelty=trained.thresholds.max_novelty,
        max_field=trained.thresholds.max_field,
        labs=facts.labs,
        details=facts.details,
        about=recipe.about,
        groups={split: [sample.group for sample in data.subset(split)] for split in data.splits},
        refused=len(trained.refused),
        note=data.taxonomy.note,
    )


def _details(trained: TrainedModel, recipe: Recipe, bundle: Bundle) -> dict[str, str]:
    versions = bundle.manifest.versions
    return {
        "Weights": recipe.weights,
        "Epochs": f"{len(trained.history)} of at most {recipe.epochs}"
        + (" (stopped by Ctrl-C)" if trained.interrupted else ""),
        "Seed": str(recipe.seed),
        "Versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        **recipe.details,
    }


def _readable(data: Dataset, trained: TrainedModel) -> Dataset:
    kept = {sample.path for split in trained.splits.values() for sample in split.samples}
    return data.with_samples(sample for sample in data if sample.path in kept)


def _labs(data: Dataset) -> tuple[str, ...]:
    return tuple(sorted({sample.lab for sample in data if sample.lab}))


def _curve_table(curve: Sequence[CurvePoint]) -> str:
    lines = ["images,draw,balanced_accuracy"]
    lines += [
        f"{point.images},{order},{score:.6f}"
        for point in curve
        for order, score in enumerate(point.balanced_accuracy, start=1)
    ]
    return "\n".join(lines) + "\n"


def _history_table(history: Sequence[dict[str, float]]) -> str:
    columns = list(dict.fromkeys(name for row in history for name in row))
    rows = ({**row, "epoch": int(row["epoch"])} for row in history)
    return csv_text((columns, *([row.get(name, "") for name in columns] for row in rows)))
