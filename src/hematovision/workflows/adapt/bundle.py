"""Open the model to adapt, and write the run folder of the adapted model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.data.samples import Dataset
from hematovision.data.splits import write_splits
from hematovision.errors import BundleError
from hematovision.evaluation import Metrics
from hematovision.evaluation.metrics import write_json
from hematovision.extras import needs_extra
from hematovision.fields.opening import open_classifier
from hematovision.files import write_text
from hematovision.model.bundle import ONNX, Bundle, finish_bundle, read_bundle
from hematovision.model.classifier import Classifier
from hematovision.model.manifest import BackboneRef
from hematovision.model.prediction import RawPredictions
from hematovision.model.registry import find_model
from hematovision.model.weights import bundled_weights
from hematovision.paths import csv_text, escape_name, shown
from hematovision.plurals import counted
from hematovision.reporting import wording
from hematovision.reporting.adaptation import (
    ChangedExample,
    PredictionChanges,
    write_adaptation_report,
)
from hematovision.reporting.card import (
    NOT_FOR_DIAGNOSIS,
    NOT_RECORDED,
    CardFacts,
    model_card,
    preprocessing,
)
from hematovision.reporting.report import GALLERY, ReportFacts
from hematovision.workflows.scoring import LabelledPredictions, write_evaluation

with needs_extra("train", "Adapting a model"):
    from hematovision.model.backbone import Backbone
    from hematovision.model.graph import ClassifierParts, read_classifier_graph
    from hematovision.training.adapting import FeatureModel
    from hematovision.workflows.run_folder import stage_model

__all__ = [
    "Lab", "Source", "changed_examples", "labelled_notes", "open_source", "predictions_table",
    "write_adapted", "write_evaluated", "write_unevaluated",
]  # fmt: skip

TABLE = "adaptation.csv"
"""The predictions for unlabelled images before and after adapting."""

_SPLIT_METHOD = {
    "test": "From the folder: adapted to all images except the Test split. See split.csv.",
    "cross-validation": (
        "Cross-validation by whole groups: each image was predicted by a model adapted without "
        "its group. The groups are in split.csv."
    ),
}


@dataclass(frozen=True)
class Source:
    """A model to adapt."""

    bundle: Bundle
    parts: ClassifierParts
    backbone: Backbone
    model: FeatureModel  # the part that is adapted
    classifier: Classifier  # the model as it is, which reads images

    def fields(self, scores: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Return field scores of images, or None if the model has no field score."""
        return None if self.parts.field_score is None else scores

    @property
    def lineage(self) -> dict[str, Any]:
        """The entry ``adapted_from`` of the adapted model's manifest."""
        manifest = self.bundle.manifest
        return {
            "name": manifest.name,
            "model_sha256": manifest.files[ONNX],
            "backbone_sha256": manifest.backbone.sha256,
            "data": dict(manifest.data),
        }

    @property
    def title(self) -> str:
        """The model's name and the start of its hash."""
        return f"{self.bundle.name} (SHA-256 {self.bundle.manifest.files[ONNX][:12]}...)"


def open_source(model: str | Path) -> Source:
    """Open a bundled model or a run folder for adapting.

    Raises `ModelNotFoundError` or `BundleError` if it cannot be used, or its graph has no head or
    no novelty score.
    """
    bundle = read_bundle(find_model(model))
    external = bundled_weights() if bundle.external_weights() else None
    try:
        parts = read_classifier_graph(bundle.read(ONNX), external)
    except BundleError as error:
        raise BundleError(
            f"The model {bundle.folder} cannot be adapted: {error} Adapting needs the head and the "
            "novelty score of a model from `hematovision train`. Train it again with this version, "
            "or adapt one of `hematovision models`."
        ) from error
    backbone = Backbone(parts.weights, white_balance=parts.white_balance)
    adaptable = FeatureModel(
        parts.head,
        parts.novelty,
        bundle.thresholds,
        _proportions(bundle),
        bundle.manifest.temperature,
    )
    return Source(bundle, parts, backbone, adaptable, open_classifier(bundle))


def _proportions(bundle: Bundle) -> NDArray[np.float64]:
    """Return the class frequencies in the calibration images; uniform if unknown."""
    data: Mapping[str, Any] = bundle.manifest.data
    while isinstance(data.get("adapted_from"), dict) and "data" in data["adapted_from"]:
        data = data["adapted_from"]["data"]
    splits = data.get("splits")
    valid = splits.get("valid") if isinstance(splits, dict) else None
    counts = valid if isinstance(valid, dict) else {}
    found = [counts.get(label, 0) for label in bundle.taxonomy.classes]
    numbers = [float(n) if isinstance(n, int | float) and n > 0 else 0.0 for n in found]
    return np.array(numbers) + 1  # a class without images is rare, not impossible


@dataclass(frozen=True)
class Lab:
    """The lab to which a model is adapted."""

    name: str  # of the folder
    n: int  # number of images
    labelled: bool
    fingerprint: str  # SHA-256 of their content and labels
    splits: Mapping[str, Mapping[str, int]]  # images per split and class; empty without labels
    labs: tuple[str, ...]  # the labs in ``cells.csv``
    refused: int  # images that could not be read


def write_adapted(out: Path, source: Source, adapted: FeatureModel, lab: Lab, seed: int) -> Bundle:
    """Write the adapted model without ``bundle.json``: the folder is not a bundle yet.

    Raises `OutputError` if a file cannot be written.
    """
    parts, old = source.parts, source.bundle.manifest
    manifest = replace(
        old,
        name=shown(out.resolve().name),
        thresholds=adapted.thresholds,
        temperature=adapted.temperature,
        backbone=BackboneRef(
            old.backbone.name, parts.weights.sha256, architecture=parts.weights.architecture
        ),
        data={
            "dataset": lab.name,
            "fingerprint": lab.fingerprint,
            "splits": {split: dict(counts) for split, counts in lab.splits.items()},
            "labs": sorted({*map(str, old.data.get("labs", ())), *lab.labs}),
            "refused": lab.refused,
            "adapted_from": {**source.lineage, "images": lab.n, "labelled": lab.labelled},
        },
        seed=seed,
        options={"adapt": {"labelled": lab.labelled, "seed": seed}},
        versions={},
        created="",
        files={},
    )
    return stage_model(
        out,
        manifest,
        parts.weights,
        adapted.head,
        adapted.novelty,
        white_balance=parts.white_balance,
        field_score=parts.field_score,
    )


def write_evaluated(
    bundle: Bundle,
    source: Source,
    data: Dataset,
    lab: Lab,
    predictions: LabelledPredictions,
    metrics: Metrics,
    split: str,
) -> Path:
    """Write split, report and card of a model adapted to labelled images, then ``bundle.json``.

    Returns the report.
    """
    out, thresholds, parts = bundle.folder, bundle.thresholds, source.parts
    write_splits(data, out / "split.csv")
    facts = _report_facts(f"{lab.name}: {split}", bundle, source, lab, split)
    explainer = open_classifier(bundle)
    report = write_evaluation(
        out, metrics, facts, predictions, data, thresholds, explainer=explainer
    )
    before = f"Adapted from {source.title}, whose model card lists its training data."
    card = CardFacts(
        name=bundle.name,
        architecture=f"Same as {source.title}, with a linear correction of its logits",
        weights=bundle.manifest.backbone.name,
        split=split,
        split_sizes=lab.splits,
        fingerprint=lab.fingerprint,
        split_method=_SPLIT_METHOD[split],
        preprocessing=preprocessing(parts.weights.side, white_balance=parts.white_balance),
        temperature=bundle.manifest.temperature,
        min_confidence=thresholds.min_confidence,
        max_novelty=thresholds.max_novelty,
        max_field=thresholds.max_field,
        labs=lab.labs,
        details=facts.details,
        about=replace(NOT_RECORDED, sources=(before, *NOT_RECORDED.sources)),
        groups={name: [sample.group for sample in data.subset(name)] for name in data.splits},
        refused=lab.refused,
        note=data.taxonomy.note,
    )
    write_text(out / "MODEL_CARD.md", model_card(card, metrics))
    finish_bundle(bundle)
    return report


def write_unevaluated(
    bundle: Bundle,
    source: Source,
    lab: Lab,
    changes: PredictionChanges,
    table: str,
    examples: Sequence[ChangedExample],
    notes: Sequence[str],
) -> Path:
    """Write report and card of a model adapted to unlabelled images, then ``bundle.json``.

    `table` is the content of ``adaptation.csv`` (`predictions_table`). Returns the report.
    """
    out = bundle.folder
    write_json(out / "adaptation.json", changes.to_json())
    write_text(out / TABLE, table)
    title = f"{lab.name}: adapted without labels"
    facts = replace(_report_facts(title, bundle, source, lab, "all"), notes=tuple(notes))
    report = write_adaptation_report(out, changes, facts, examples)
    write_text(out / "MODEL_CARD.md", _card(bundle, source, notes))
    finish_bundle(bundle, also=["adaptation.json", TABLE])
    return report


def _report_facts(title: str, bundle: Bundle, source: Source, lab: Lab, split: str) -> ReportFacts:
    return ReportFacts(
        title=title,
        model=bundle.name,
        dataset=lab.name,
        split=split,
        split_sizes=lab.splits,
        details={
            "Adapted from": source.title,
            "Adapted to": counted(lab.n, f"{'' if lab.labelled else 'un'}labelled image"),
            "Fingerprint (SHA-256)": lab.fingerprint,
        },
        labs=lab.labs,
    )


def labelled_notes(
    source: Source, training: Dataset, before: Metrics, split: str, strength: float | None
) -> tuple[str, ...]:
    """Write caveats for the metrics: the old model's results, and how these were measured.

    `training` are the images that the model was adapted to; `before` are the old model's metrics on
    the images evaluated. `split` is ``"test"`` or ``"cross-validation"``; `strength` as of
    `Adapted`.
    """
    counts = training.counts()
    present = ", ".join(f"{label} {n}" for label, n in counts.items() if n)
    absent = [label for label, n in counts.items() if not n]
    old_results = (
        f"Adapted from {source.title} to {counted(len(training), 'labelled image')} ({present}). "
        f"Before, on the images evaluated here: {before.errors} of {before.n} wrong, balanced "
        f"accuracy {wording.percent(before.balanced_accuracy)}, "
        f"{wording.percent(before.review_rate)} to review."
    )
    notes = [old_results]
    if split == "cross-validation":
        notes.append(
            "Each image was predicted by a model adapted without its field or patient, to four "
            "fifths of the images. The review thresholds were set on such predictions, so the "
            "review rate is slightly optimistic."
        )
    if strength is None:
        notes.append(
            "No correction improved results on held-out images: only the features were aligned."
        )
    if absent:
        notes.append(f"No images to adapt to: {', '.join(absent)}. These classes are unchanged.")
    return tuple(notes)


def _card(bundle: Bundle, source: Source, notes: Sequence[str]) -> str:
    """Return the model card of a model adapted without labels, followed by the original's."""
    lines = [
        f"# {bundle.name}",
        f"> {wording.NOT_A_DEVICE} {NOT_FOR_DIAGNOSIS}",
        f"This is the model {source.title}, adapted to another lab without labels.",
        "## Limitations",
        "\n".join(f"- {note}" for note in notes),
        "## The model it was adapted from",
        "These metrics are those of the original model:",
    ]
    if "MODEL_CARD.md" in source.bundle.manifest.files:
        card = source.bundle.read("MODEL_CARD.md").decode("utf-8", "replace")
        lines.append(re.sub(r"(?m)^#", "###", card.strip()))
    return "\n\n".join(lines) + "\n"


def predictions_table(
    files: Sequence[str], classes: Sequence[str], before: RawPredictions, after: RawPredictions
) -> str:
    """Return ``adaptation.csv``: predictions of the old and the adapted model for each image."""
    kinds = ("before", "after")
    names = (f"{name}_{kind}" for kind in kinds for name in ("label", "confidence", "novelty"))
    rows = [["path", *names]]
    for i, file in enumerate(files):
        cells: list[str] = []
        for raw in (before, after):
            row = raw.probabilities[i]
            cells += [classes[row.argmax()], f"{row.max():.6f}", f"{raw.novelty[i]:.6f}"]
        rows.append([escape_name(file), *cells])
    return csv_text(rows)


def changed_examples(
    folder: Path,
    files: Sequence[str],
    classes: Sequence[str],
    before: RawPredictions,
    after: RawPredictions,
    max_novelty: float,
) -> list[ChangedExample]:
    """Return the images whose prediction changed, by descending confidence; at most `GALLERY`.

    Images with a novelty above `max_novelty` after adapting are marked.
    """
    old, new = before.probabilities.argmax(axis=1), after.probabilities.argmax(axis=1)
    confidence = after.probabilities.max(axis=1)
    changed = np.flatnonzero(old != new)
    ranked = changed[np.argsort(-confidence[changed], kind="stable")][:GALLERY]
    return [
        ChangedExample(
            image=images.read(folder / files[i]),
            before=classes[old[i]],
            after=classes[new[i]],
            confidence=float(confidence[i]),
            name=shown(files[i]),
            out_of_distribution=bool(after.novelty[i] > max_novelty),
        )
        for i in ranked
    ]
