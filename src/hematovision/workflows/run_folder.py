"""What a training run leaves behind: the bundle, its figures, its report and its card."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hematovision.data.samples import Dataset, Split
from hematovision.data.splits import write_splits
from hematovision.evaluation import Metrics, TrainingSplit
from hematovision.extras import needs_extra
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
from hematovision.model.classifier import Classifier
from hematovision.model.manifest import BackboneRef, Manifest
from hematovision.paths import shown
from hematovision.reporting import CardFacts, ReportFacts, model_card
from hematovision.reporting.card import NOT_RECORDED, Statements, preprocessing
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

__all__ = ["Recipe", "evaluated_split", "write_figures", "write_model"]

_ARCHITECTURE = (
    "images of 224x224x3, MobileNetV2 (at {side}x{side}, frozen unless fine-tuned, BatchNorm in "
    "inference mode), global average pooling, Dense(128, relu), Dense({n}, softmax)"
)

_HOW_SPLIT = (
    "Parts that the dataset came with are kept, missing ones are made by whole groups; every "
    "image's part and group stand in split.csv."
)


@dataclass(frozen=True)
class Recipe:
    """How a model was made, as far as it is worth writing down.

    Parameters
    ----------
    weights : str
        What to call the backbone's weights.
    seed, epochs : int
        As asked for.
    options : mapping
        All options, JSON-ready.
    notes : tuple of str
        What a reader of the figures should know.
    about : Statements
        What only people know of the data; by default, that nobody has said it.
    details : mapping of str to str
        Rows for the model card, instead of its own or besides them.
    """

    weights: str
    seed: int
    epochs: int
    options: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    about: Statements = NOT_RECORDED
    details: Mapping[str, str] = field(default_factory=dict)


def write_model(out: Path, data: Dataset, learned: TrainedModel, recipe: Recipe) -> Bundle:
    """Write the model itself, its history and split, but no ``bundle.json``.

    Only `write_figures` makes the folder a bundle: what a killed training leaves opens nowhere.

    Raises
    ------
    OutputError
        If something cannot be written.
    """
    from hematovision.training.keras_files import keras_bytes

    readable = _readable(data, learned)
    write_splits(readable, out / "split.csv")
    write_text(out / "history.csv", _table(learned.history))
    files = keras_bytes(learned.weights, learned.head, "h5", "keras")
    manifest = Manifest(
        name=shown(out.resolve().name),
        taxonomy=data.taxonomy,
        thresholds=learned.thresholds,
        temperature=learned.temperature,
        backbone=BackboneRef(recipe.weights, learned.weights.sha256),
        data={
            "dataset": shown(data.root.name),
            "fingerprint": learned.fingerprint,
            "splits": split_counts(readable),
            "labs": _labs(data),
            "refused": len(learned.refused),
        },
        seed=recipe.seed,
        options=dict(recipe.options),
    )
    graph = classifier_graph(learned.weights, learned.head, learned.novelty)
    models = {ONNX: graph, H5: files["h5"], KERAS: files["keras"]}
    return with_self_test(stage_bundle(out, manifest, models))


def evaluated_split(learned: TrainedModel) -> Split:
    """Return the part that a model is judged on: the test part, or validation without one."""
    tested = "test" in learned.splits and bool(learned.splits["test"].samples)
    return "test" if tested else "valid"


def write_figures(
    bundle: Bundle,
    data: Dataset,
    learned: TrainedModel,
    recipe: Recipe,
    curve: Sequence[CurvePoint] = (),
) -> tuple[Path, Metrics]:
    """Judge the model on its test part (else on validation), write all about it, then bundle.json.

    Returns
    -------
    tuple of Path and Metrics
        The report, and the figures in it.

    Raises
    ------
    OutputError
        If something cannot be written.
    """
    out, data = bundle.folder, _readable(data, learned)
    name = evaluated_split(learned)
    part, training = learned.splits[name], learned.splits["train"]
    answered = LabelledPredictions(
        part.samples,
        part.labels,
        learned.head.probabilities(part.features),
        learned.novelty.score(part.features),
        part.colours,
    )
    baseline = TrainingSplit(
        training.labels, boxes_of(training.samples), training.colours.astype(np.float64)
    )
    metrics = score_model(
        answered, data.taxonomy.classes, learned.thresholds, baseline, recipe.seed
    )
    metrics = replace(metrics, warnings=(*metrics.warnings, *recipe.notes))
    facts = ReportFacts(
        title=f"{shown(data.root.name)}: {name} part",
        model=bundle.name,
        dataset=shown(data.root.name),
        split=name,
        split_sizes=split_counts(data),
        details=_details(learned, recipe, bundle),
        labs=_labs(data),
        curve=tuple(curve),
    )
    report = write_evaluation(
        out,
        metrics,
        facts,
        answered,
        data,
        learned.thresholds,
        history=learned.history,
        looked=Classifier(bundle).attention,
    )
    write_text(out / "MODEL_CARD.md", _card(data, learned, recipe, bundle, metrics))
    if curve:
        write_text(out / "learning_curve.csv", _curve_table(curve))
    finish_bundle(bundle)
    return report, metrics


def _card(
    data: Dataset, learned: TrainedModel, recipe: Recipe, bundle: Bundle, metrics: Metrics
) -> str:
    facts = CardFacts(
        name=bundle.name,
        architecture=_ARCHITECTURE.format(n=len(data.taxonomy.classes), side=learned.weights.side),
        weights=bundle.manifest.backbone.name,
        split_sizes=split_counts(data),
        split=evaluated_split(learned),
        fingerprint=learned.fingerprint,
        split_method=_HOW_SPLIT,
        preprocessing=preprocessing(learned.weights.side),
        temperature=learned.temperature,
        min_confidence=learned.thresholds.min_confidence,
        max_novelty=learned.thresholds.max_novelty,
        labs=_labs(data),
        details=_details(learned, recipe, bundle),
        about=recipe.about,
        groups={part: [sample.group for sample in data.subset(part)] for part in data.splits},
        refused=len(learned.refused),
    )
    return model_card(facts, metrics)


def _details(learned: TrainedModel, recipe: Recipe, bundle: Bundle) -> dict[str, str]:
    versions = bundle.manifest.versions
    return {
        "Weights": recipe.weights,
        "Epochs": f"{len(learned.history)} of at most {recipe.epochs}"
        + (" (stopped by Ctrl-C)" if learned.interrupted else ""),
        "Seed": str(recipe.seed),
        "Versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        **recipe.details,
    }


def _readable(data: Dataset, learned: TrainedModel) -> Dataset:
    kept = {sample.path for part in learned.splits.values() for sample in part.samples}
    return data.with_samples(sample for sample in data if sample.path in kept)


def _labs(data: Dataset) -> tuple[str, ...]:
    return tuple(sorted({sample.lab for sample in data if sample.lab}))


def _curve_table(curve: Sequence[CurvePoint]) -> str:
    lines = ["images,draw,balanced_accuracy"]
    lines += [
        f"{point.images},{draw},{score:.6f}"
        for point in curve
        for draw, score in enumerate(point.balanced_accuracy, start=1)
    ]
    return "\n".join(lines) + "\n"


def _table(history: Sequence[dict[str, float]]) -> str:
    columns = list(dict.fromkeys(name for row in history for name in row))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "epoch": int(row["epoch"])} for row in history)
    return stream.getvalue()
