"""What adapting leaves behind: a bundle like that of a training, and what is known of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hematovision.data.samples import Dataset
from hematovision.data.splits import write_splits
from hematovision.evaluation import Metrics
from hematovision.evaluation.metrics import write_json
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
from hematovision.model.manifest import BackboneRef
from hematovision.paths import shown
from hematovision.reporting import CardFacts, ReportFacts, model_card, wording
from hematovision.reporting.adaptation import (
    ChangedExample,
    PredictionChanges,
    write_adaptation_report,
)
from hematovision.reporting.card import NOT_FOR_DIAGNOSIS, NOT_RECORDED, Statements, preprocessing
from hematovision.workflows.adapt_source import Source
from hematovision.workflows.scoring import LabelledPredictions, write_evaluation

with needs_extra("train", "Adapting a model"):
    from hematovision.model.graph import classifier_graph
    from hematovision.training.adapting import FeatureModel

__all__ = ["Lab", "labelled_notes", "write_adapted", "write_judged", "write_unjudged"]

_HOW_SPLIT = {
    "test": "As the folder came: all but its Test part was adapted to. See split.csv.",
    "cross-validation": (
        "Cross-validation by whole groups: each image was predicted by a model adapted without "
        "its group. The groups are in split.csv."
    ),
}


@dataclass(frozen=True)
class Lab:
    """The laboratory that a model was adapted to.

    Parameters
    ----------
    name : str
        Of the folder.
    n : int
        Images adapted to.
    labelled : bool
    fingerprint : str
        SHA-256 over their content and labels.
    splits : mapping of str to mapping of str to int
        Images per part and class; empty without labels.
    labs : tuple of str
        Where the images come from, as far as ``cells.csv`` says.
    refused : int
        Images that could not be read.
    """

    name: str
    n: int
    labelled: bool
    fingerprint: str
    splits: Mapping[str, Mapping[str, int]]
    labs: tuple[str, ...]
    refused: int


def write_adapted(out: Path, source: Source, adapted: FeatureModel, lab: Lab, seed: int) -> Bundle:
    """Write the model itself, but no ``bundle.json``: the folder is not yet a bundle.

    Raises
    ------
    OutputError
        If something cannot be written.
    """
    from hematovision.training.keras_files import keras_bytes  # imports Keras: seconds

    parts, old = source.parts, source.bundle.manifest
    balance = parts.white_balance
    files = keras_bytes(parts.weights, adapted.head, "h5", "keras", white_balance=balance)
    graph = classifier_graph(parts.weights, adapted.head, adapted.novelty, white_balance=balance)
    manifest = replace(
        old,
        name=shown(out.resolve().name),
        thresholds=adapted.thresholds,
        temperature=adapted.temperature,
        backbone=BackboneRef(old.backbone.name, parts.weights.sha256),
        data={
            "dataset": lab.name,
            "fingerprint": lab.fingerprint,
            "splits": {part: dict(counts) for part, counts in lab.splits.items()},
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
    models = {ONNX: graph, H5: files["h5"], KERAS: files["keras"]}
    return with_self_test(stage_bundle(out, manifest, models))


def write_judged(
    bundle: Bundle,
    source: Source,
    data: Dataset,
    lab: Lab,
    answered: LabelledPredictions,
    metrics: Metrics,
    part: str,
) -> Path:
    """Write all about a model that was adapted to labelled images, and finish its bundle.

    Returns
    -------
    Path
        The report.
    """
    out, thresholds = bundle.folder, bundle.thresholds
    write_splits(data, out / "split.csv")
    facts = ReportFacts(
        title=f"{lab.name}: {part}",
        model=bundle.name,
        dataset=lab.name,
        split=part,
        split_sizes=lab.splits,
        details=_details(source, lab),
        labs=lab.labs,
    )
    looked = Classifier(bundle).attention
    report = write_evaluation(out, metrics, facts, answered, data, thresholds, looked=looked)
    card = CardFacts(
        name=bundle.name,
        architecture=f"As {source.title}, with a linear correction of its logits",
        weights=bundle.manifest.backbone.name,
        split_sizes=lab.splits,
        split=part,
        fingerprint=lab.fingerprint,
        split_method=_HOW_SPLIT[part],
        preprocessing=preprocessing(
            source.parts.weights.side, white_balance=source.parts.white_balance
        ),
        temperature=bundle.manifest.temperature,
        min_confidence=thresholds.min_confidence,
        max_novelty=thresholds.max_novelty,
        labs=lab.labs,
        details=facts.details,
        about=_about(source),
        groups={split: [sample.group for sample in data.subset(split)] for split in data.splits},
        refused=lab.refused,
    )
    write_text(out / "MODEL_CARD.md", model_card(card, metrics))
    finish_bundle(bundle)
    return report


def write_unjudged(
    bundle: Bundle,
    source: Source,
    lab: Lab,
    changes: PredictionChanges,
    answers: str,
    pictures: Sequence[ChangedExample],
    notes: Sequence[str],
) -> Path:
    """Write what can be known of a model adapted to unlabelled images, and finish its bundle.

    Parameters
    ----------
    answers : str
        The content of ``answers.csv``.

    Returns
    -------
    Path
        The report.
    """
    out = bundle.folder
    write_json(out / "adaptation.json", changes.to_json())
    write_text(out / "answers.csv", answers)
    facts = ReportFacts(
        title=f"{lab.name}: adapted without labels",
        model=bundle.name,
        dataset=lab.name,
        split="all",
        details=_details(source, lab),
        labs=lab.labs,
        notes=tuple(notes),
    )
    report = write_adaptation_report(out, changes, facts, pictures)
    write_text(out / "MODEL_CARD.md", _card(bundle, source, notes))
    finish_bundle(bundle, also=["adaptation.json", "answers.csv"])
    return report


def labelled_notes(
    source: Source, learnt: Dataset, before: Metrics, part: str, strength: float | None
) -> tuple[str, ...]:
    """Say what a reader of the figures should know: what was before, and how they came about.

    Parameters
    ----------
    source : Source
    learnt : Dataset
        The images that the model was adapted to.
    before : Metrics
        Of the old model, on the images judged.
    part : str
        ``"test"`` or ``"cross-validation"``.
    strength : float or None
        As of `Adapted`.
    """
    counts = learnt.counts()
    present = ", ".join(f"{label} {n}" for label, n in counts.items() if n)
    absent = [label for label, n in counts.items() if not n]
    how_it_was = (
        f"Adapted from {source.title} to {len(learnt)} labelled images ({present}). Before, on the "
        f"images evaluated here: {before.errors} of {before.n} wrong, balanced accuracy "
        f"{wording.percent(before.balanced_accuracy)}, "
        f"{wording.percent(before.review_rate)} to review."
    )
    notes = [how_it_was]
    if part == "cross-validation":
        notes.append(
            "Each image was predicted by a model adapted without its field or patient, to four "
            "fifths of the images. The review thresholds were set on such answers, so that the "
            "review rate is a little flattered."
        )
    if strength is None:
        notes.append(
            "No correction did better on images held out: only the lab's features were aligned."
        )
    if absent:
        notes.append(
            f"No images to adapt to of: {', '.join(absent)}. What the model knew of them is kept."
        )
    return tuple(notes)


def _details(source: Source, lab: Lab) -> dict[str, str]:
    return {
        "Adapted from": source.title,
        "Adapted to": f"{lab.n} {'labelled' if lab.labelled else 'unlabelled'} images",
        "Fingerprint (SHA-256)": lab.fingerprint,
    }


def _about(source: Source) -> Statements:
    """Say where to read what the model had learnt from before; of the rest nobody has told."""
    before = f"Adapted from {source.title}, whose own card lists its training data."
    return replace(NOT_RECORDED, sources=(before, *NOT_RECORDED.sources))


def _card(bundle: Bundle, source: Source, notes: Sequence[str]) -> str:
    """Say what is new, above the card of the model that was adapted."""
    lines = [
        f"# {bundle.name}",
        f"> {wording.NOT_A_DEVICE} {NOT_FOR_DIAGNOSIS}",
        f"This is the model {source.title}, adapted to one more laboratory without labels.",
        "## Limits",
        "\n".join(f"- {note}" for note in notes),
        "## The model it was adapted from",
        "Its figures do not hold for this one:",
    ]
    if "MODEL_CARD.md" in source.bundle.manifest.files:
        card = source.bundle.read("MODEL_CARD.md").decode("utf-8", "replace")
        lines.append(re.sub(r"(?m)^#", "###", card.strip()))
    return "\n\n".join(lines) + "\n"
