"""``MODEL_CARD.md``: what a model is for, what it learnt from, and how far to trust it.

The sections follow Mitchell et al. 2019, "Model Cards for Model Reporting", FAT*; on data, ground
truth, partitions and failures the card answers the CLAIM checklist (`claim`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hematovision.evaluation.schema import Metrics
from hematovision.reporting import wording
from hematovision.reporting.claim import (
    CITATION,
    NOT_FOR_DIAGNOSIS,
    NOTHING_SAID,
    Statements,
    accepted_errors,
    data_rows,
    failure_summary,
    mistaken_rows,
    partition_rows,
    truth_rows,
)
from hematovision.reporting.report import BASELINE_NAMES

__all__ = ["CardFacts", "model_card"]

PURPOSE = (
    "Sorts images of single blood cells into the classes below, and sends those it is unsure of to "
    "a person."
)
LIMITS = (
    wording.NOT_A_DEVICE,
    "It answers for one cell in the middle of an image; it does not find cells in a field.",
    (
        "It knows the stains, microscopes and cameras that it was trained on. Evaluate it on "
        "labelled images of your own laboratory before relying on it there."
    ),
    (
        "Everything is one of its classes to it: artefacts and cells of other kinds too, unless "
        "their novelty sends them to review."
    ),
)

_COMMAND = re.compile(r"\\`(hematovision[a-z0-9 .-]*)\\`")
"""A command of this program in backticks, once those are escaped."""


@dataclass(frozen=True)
class CardFacts:
    """What a model card says besides figures.

    Parameters
    ----------
    name : str
        The model's name.
    architecture : str
        In a sentence.
    weights : str
        Which backbone weights, and where they come from.
    split : mapping of str to mapping of str to int
        For each part of the dataset, the images per class.
    part : str
        The part that the metrics are of.
    fingerprint : str
        SHA-256 over the training data.
    how_split : str
        How the parts were made, in a sentence, as far as the program knows.
    preprocessing : str
        What is done to an image on its way to an answer (`claim.preprocessing`).
    temperature, min_confidence, max_novelty : float
        Temperature of the calibration (its class biases are in the weights), review thresholds.
    labs : tuple of str
        Labs of the training images, where known.
    details : mapping of str to str
        Further rows: seed, versions, epochs.
    about : Statements
        What only people know.
    groups : mapping of str to sequence of str
        For each part of the dataset, the group of every image.
    refused : int or None
        Images that could not be read; None where nobody counted.
    limits : tuple of str
    """

    name: str
    architecture: str
    weights: str
    split: Mapping[str, Mapping[str, int]]
    part: str
    fingerprint: str
    how_split: str
    preprocessing: str
    temperature: float
    min_confidence: float
    max_novelty: float
    labs: tuple[str, ...] = ()
    details: Mapping[str, str] = field(default_factory=dict)
    about: Statements = NOTHING_SAID
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    refused: int | None = None
    limits: tuple[str, ...] = LIMITS


def model_card(facts: CardFacts, metrics: Metrics) -> str:
    """Return the text of ``MODEL_CARD.md``, in Markdown.

    Parameters
    ----------
    facts : CardFacts
    metrics : Metrics
        Of the part `facts.part`, as in ``metrics.json``.
    """
    about = facts.about
    sections = (
        _heading(facts, metrics),
        "## Intended use\n\n" + _bullets(about.intended_use),
        _data(facts),
        _answered("Ground truth", truth_rows(about)),
        _partitions(facts, metrics),
        _training(facts),
        _figures(facts, metrics),
        _failures(facts, metrics),
        _thresholds(facts, metrics),
        "## Limits\n\n" + _bullets((*facts.limits, *metrics.warnings)),
        "## Licences\n\n" + _bullets(about.licences) if about.licences else "",
    )
    return "\n\n".join(section for section in sections if section) + "\n"


def _heading(facts: CardFacts, metrics: Metrics) -> str:
    drawn = wording.are_synthetic((*facts.labs, *(metrics.per_lab or ())))
    lines = [
        f"# {_plain(facts.name)}",
        f"> {wording.NOT_A_DEVICE} {NOT_FOR_DIAGNOSIS}" + (f" {wording.DRAWN}." if drawn else ""),
        PURPOSE,
        "Classes: " + ", ".join(map(_plain, metrics.classes)) + ".",
        f"Architecture: {_plain(facts.architecture)}",
        f"Weights: {_plain(facts.weights)}",
    ]
    return "\n\n".join(lines)


def _data(facts: CardFacts) -> str:
    rows = data_rows(facts.about, facts.preprocessing, facts.refused)
    labs = ["labs", ", ".join(facts.labs) or "not known"]
    return "\n\n".join(["## Data", CITATION, _table(["item", "answer"], [labs, *rows])])


def _answered(title: str, rows: Iterable[Sequence[str]]) -> str:
    return f"## {title}\n\n" + _table(["item", "answer"], rows)


def _partitions(facts: CardFacts, metrics: Metrics) -> str:
    sizes = {part: sum(row.values()) for part, row in facts.split.items()}
    every = sum(sizes.values())
    counts = [
        [
            part,
            *(f"{row.get(name, 0):,}" for name in metrics.classes),
            f"{sizes[part]:,}",
            wording.percent(sizes[part] / every if every else None),
        ]
        for part, row in facts.split.items()
    ]
    rows = partition_rows(facts.about, facts.how_split, facts.groups)
    return "\n\n".join(
        [_answered("Partitions", rows), _table(["part", *metrics.classes, "all", "share"], counts)]
    )


def _training(facts: CardFacts) -> str:
    rows = [["fingerprint of the data (SHA-256)", facts.fingerprint], *facts.details.items()]
    return "## Training\n\n" + _table(["", ""], rows)


def _figures(facts: CardFacts, metrics: Metrics) -> str:
    keys = ("balanced_accuracy", "accuracy", "macro_f1")
    ours = [
        f"{wording.percent(getattr(metrics, key))} ({wording.interval(metrics.intervals[key])})"
        for key in keys
    ]
    rows = [["this model", *ours]]
    for key, name in BASELINE_NAMES.items():
        baseline = metrics.baselines.get(key)
        if baseline is not None:
            scores = [wording.percent(getattr(baseline, score)) for score in keys]
            rows.append([f"baseline: {name.lower()}", *scores])
    return "\n\n".join(
        [
            "## Figures",
            (
                f"On {metrics.n:,} images of the part {_plain(facts.part)}, with 95 % intervals: "
                f"{metrics.errors:,} error{'' if metrics.errors == 1 else 's'}. "
                f"{metrics.interval_details.description}"
            ),
            _table(["", "balanced accuracy", "accuracy", "macro-F1"], rows),
            _table(["class", "precision", "recall", "F1", "images", "missed"], _classes(metrics)),
            *_labs(metrics),
        ]
    )


def _classes(metrics: Metrics) -> list[list[str]]:
    return [
        [
            name,
            *(
                f"{wording.percent(getattr(row, key))} ({wording.interval(row.intervals[key])})"
                for key in ("precision", "recall", "f1")
            ),
            f"{row.support:,}",
            f"{row.errors:,}",
        ]
        for name, row in metrics.per_class.items()
    ]


def _labs(metrics: Metrics) -> list[str]:
    if not metrics.per_lab:
        return []
    rows = [
        [
            lab,
            f"{row.n:,}",
            f"{row.errors:,}",
            (
                f"{wording.percent(row.balanced_accuracy)} "
                f"({wording.interval(row.intervals['balanced_accuracy'])})"
            ),
        ]
        for lab, row in metrics.per_lab.items()
    ]
    return [_table(["lab", "images", "errors", "balanced accuracy"], rows)]


def _failures(facts: CardFacts, metrics: Metrics) -> str:
    """Answer item 37: what goes wrong, and whether anybody would notice."""
    parts = ["## Failure analysis (37)", _plain(failure_summary(facts.about, metrics))]
    mistaken = mistaken_rows(metrics)
    if mistaken:
        rows = [
            [true, said, f"{n:,} of {of:,} ({wording.percent(n / of)})"]
            for true, said, n, of in mistaken
        ]
        parts.append(_table(["is", "taken for", "images"], rows))
        left = metrics.errors - sum(n for _, _, n, _ in mistaken)
        parts += [f"And {left:,} in rarer pairs."] if left else []
    if metrics.errors and metrics.per_lab:
        labs = [
            [lab, f"{row.errors:,}", f"{accepted_errors(row):,}", wording.percent(row.review_rate)]
            for lab, row in metrics.per_lab.items()
        ]
        parts.append(_table(["lab", "wrong", "of these accepted", "sent to review"], labs))
    return "\n\n".join(parts)


def _thresholds(facts: CardFacts, metrics: Metrics) -> str:
    kept = "No answer is accepted at these thresholds."
    if metrics.accuracy_accepted is not None:
        kept = f"Of the answers accepted {wording.percent(metrics.accuracy_accepted)} are right."
    sentences = (
        f"Probabilities are calibrated with temperature {facts.temperature:.3f}",
        "and a bias for each class;",
        f"the expected calibration error over 15 bins is {wording.percent(metrics.ece)}.",
        f"An answer goes to review below a confidence of {facts.min_confidence:.3f}",
        f"or above a novelty of {facts.max_novelty:.3f}:",
        f"{wording.percent(metrics.review_rate)} of these images. {kept}",
    )
    return "## Confidence and review\n\n" + " ".join(sentences)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [list(map(_plain, head)), ["---"] * len(head), *(list(map(_plain, r)) for r in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {_plain(line)}" for line in lines)


def _plain(text: str) -> str:
    """Escape what Markdown or HTML would take for more than text; commands stay code."""
    joined = re.sub(r"[ \t\r\n]+", " ", text)  # a line break would end a row; thin spaces stay
    escaped = re.sub(r"([\\`*_\[\]|])", r"\\\1", joined)
    return _COMMAND.sub(r"`\1`", escaped).replace("<", "&lt;").replace(">", "&gt;")
