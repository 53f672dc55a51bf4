"""``MODEL_CARD.md``: a model's intended use, training data, metrics and limitations.

The sections follow Mitchell et al. 2019, "Model Cards for Model Reporting", FAT*. Data, ground
truth, partitions and failures follow the items of the CLAIM checklist (Mongan, Moy and Kahn 2020,
"Checklist for Artificial Intelligence in Medical Imaging (CLAIM)", Radiology: Artificial
Intelligence 2(2):e200029). `Statements` has the items that people must supply; the rest are
generated.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from hematovision.evaluation.metrics import ClassScores, LabScores, Metrics
from hematovision.images import SIZE
from hematovision.model.preprocessing import WHITE
from hematovision.plurals import counted
from hematovision.reporting.report import BASELINE_NAMES
from hematovision.reporting.wording import (
    NOT_A_DEVICE,
    SYNTHETIC,
    are_synthetic,
    interval,
    percent,
    split_name,
)

__all__ = [
    "INTENDED_USE", "NOT_FOR_DIAGNOSIS", "NOT_RECORDED", "WHERE_ERRORS_ARE", "CardFacts",
    "Statements", "accepted_errors", "data_rows", "failure_summary", "model_card", "partition_rows",
    "preprocessing", "truth_rows",
]  # fmt: skip

Lines: TypeAlias = tuple[str, ...]
Row: TypeAlias = tuple[str, str]

CITATION = (
    "The numbers are those of the items of CLAIM (Mongan, Moy and Kahn 2020, Radiology: Artificial "
    "Intelligence 2(2):e200029)."
)
NOT_FOR_DIAGNOSIS = "Not for diagnosis."
INTENDED_USE = (
    (
        "For: research and teaching; classifying images of single cells from stained blood films, "
        "where a person checks the cells sent for review."
    ),
    "Not for: diagnosis, or any decision about a patient's care. No trial has tested that.",
    "Not for: finding or counting cells in a field, unstained blood, bone marrow, other tissue.",
)
PURPOSE = (
    "Classifies images of single blood cells into the classes below, and sends uncertain ones for "
    "review by a person."
)
LIMITATIONS = (
    NOT_A_DEVICE,
    "It classifies one cell in the centre of an image; it does not find cells in a field.",
    (
        "It was trained on certain stains, microscopes and cameras. Evaluate it on labelled images "
        "of your own laboratory before relying on it there."
    ),
    (
        "It assigns every image to one of its classes, artefacts and cells of other kinds too, "
        "unless their novelty score sends them for review."
    ),
)
WHERE_ERRORS_ARE = "report.html shows the most confident errors, predictions.csv lists all."
"""For run folders; `recipes.bundled_models` replaces it in the cards of bundled models."""

MOST_PAIRS = 10

_COMMAND = re.compile(r"\\`(hematovision[a-z0-9 .-]*)\\`")
"""A command of this program in backticks, after these are escaped."""


@dataclass(frozen=True)
class Statements:
    """Statements about a model's data that people must supply: one or more lines per item.

    By default, items are "Not recorded", as for models trained by users.
    """

    intended_use: Lines = INTENDED_USE  # intended and unintended uses
    # The data: items 7 to 10. `preparation` is preprocessing outside HematoVision.
    sources: Lines = (
        "Not recorded: where and when the images were taken, with which stain and camera.",
    )
    eligibility: Lines = ("Not recorded: whose blood it is, and who was excluded.",)
    preparation: Lines = ("Not recorded: how the images were cropped or processed before.",)
    selection: Lines = ("Not recorded: which of the available images were used, and why.",)
    # items 11 to 13
    definitions: Lines = (
        "Not recorded: what counts as a cell of each class.",
        "The accepted names of each class are in bundle.json.",
    )
    deidentification: Lines = ("Not recorded: how patients' names and numbers were removed.",)
    missing: Lines = ("Not recorded: what was unknown about some patients or images.",)
    # the ground truth: items 14 to 18
    truth: Lines = ("Not recorded: how a cell's true class was determined.",)
    rationale: Lines = ("Not recorded: why this ground truth was chosen.",)
    annotators: Lines = ("Not recorded: who labelled the cells, and their qualifications.",)
    tools: Lines = ("Not recorded: which tools were used to mark or sort the cells.",)
    variability: Lines = ("Not recorded: agreement between annotators, and with themselves.",)
    label_errors: Lines = ()  # known wrong labels
    # item 19
    sample_size: Lines = (
        (
            "Not recorded: whether a sample size was planned. The intervals show the precision "
            "of the metrics; `hematovision train --learning-curve` estimates the "
            "benefit of more."
        ),
    )
    assignment: Lines = ()  # item 20: how images were assigned to splits; empty: automatically
    licences: Lines = ()  # one line each for code, weights and data


NOT_RECORDED = Statements()


@dataclass(frozen=True)
class CardFacts:
    """The contents of a model card except the metrics."""

    # the model's name, its network in one sentence, and the origin of the backbone weights
    name: str
    architecture: str
    weights: str
    # for each split of the dataset, the images per class
    split_sizes: Mapping[str, Mapping[str, int]]
    split: str  # the evaluated split
    fingerprint: str  # SHA-256 of the training data
    # how the splits were made, and how images are processed (from `preprocessing`)
    split_method: str
    preprocessing: str
    # temperature of the calibration (its class biases are in the weights), review thresholds
    temperature: float
    min_confidence: float
    max_novelty: float
    max_field: float = math.inf
    labs: tuple[str, ...] = ()  # labs of the training images, if known
    details: Mapping[str, str] = field(default_factory=dict)  # other rows: seed, versions, epochs
    about: Statements = NOT_RECORDED
    # for each split of the dataset, the group of every image
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    refused: int | None = None  # images that could not be read; None if not counted
    limitations: tuple[str, ...] = LIMITATIONS
    note: str = ""  # about the classes, from `Taxonomy.note`


def model_card(facts: CardFacts, metrics: Metrics) -> str:
    """Return the text of ``MODEL_CARD.md`` in Markdown; `metrics` are those of `facts.split`."""
    about = facts.about
    sections = (
        _heading(facts, metrics),
        "## Intended use\n\n" + _bullets(about.intended_use),
        _data(facts),
        "## Ground truth\n\n" + _table(["item", "description"], truth_rows(about)),
        _partitions(facts, metrics),
        _training(facts),
        _metrics(facts, metrics),
        _failures(facts, metrics),
        _review(facts, metrics),
        "## Limitations\n\n" + _bullets((*facts.limitations, *metrics.warnings)),
        "## Licences\n\n" + _bullets(about.licences) if about.licences else "",
    )
    return "\n\n".join(section for section in sections if section) + "\n"


def preprocessing(side: int, *, white_balance: bool = True) -> str:
    """Describe the preprocessing of an image for a network with an input of `side` pixels.

    Models of version 0.1 have no white balance.
    """
    steps = []
    if white_balance:
        steps.append(
            f"each channel is scaled so that the brightest patch becomes {WHITE:.0f} of 255"
        )
    if side != SIZE:
        steps.append(f"the image is reduced to {side}x{side} by area averaging")
    steps.append("pixels are scaled to -1 to 1")
    return (
        f"Decoded to 8-bit RGB and stretched to {SIZE}x{SIZE} pixels (area averaging, "
        f"interpolation where an image is enlarged). Inside the model, {', '.join(steps)}."
    )


def data_rows(about: Statements, prepared: str, refused: int | None) -> list[Row]:
    """Return the rows on the data, items 7 to 13; the arguments are as in `CardFacts`."""
    if refused is None:
        unread = "The number of unreadable images was not recorded."
    elif refused == 0:
        unread = "Every image could be read."
    else:
        unread = (
            f"Left out because they could not be read: {counted(refused, 'image')}; `hematovision "
            "data check` lists such files."
        )
    return [
        *_item("7 sources", about.sources),
        *_item("8 eligibility", about.eligibility),
        *_item("9 preprocessing", (*about.preparation, prepared)),
        *_item("10 selection", about.selection),
        *_item("11 definitions", about.definitions),
        *_item("12 de-identification", about.deidentification),
        *_item("13 missing data", (*about.missing, unread)),
    ]


def truth_rows(about: Statements) -> list[Row]:
    """Return the rows on the ground truth: items 14 to 18, and known label errors."""
    return [
        *_item("14 definition", about.truth),
        *_item("15 rationale", about.rationale),
        *_item("16 annotators", about.annotators),
        *_item("17 tools", about.tools),
        *_item("18 variability", about.variability),
        *_item("known label errors", about.label_errors or ("None are recorded.",)),
    ]


def partition_rows(
    about: Statements, split_method: str, groups: Mapping[str, Sequence[str]]
) -> list[Row]:
    """Return the rows on the splits, items 19 to 21; the arguments are as in `CardFacts`.

    `split_method` is used if `about` has no `assignment`.
    """
    return [
        *_item("19 sample size", about.sample_size),
        *_item("20 assignment", about.assignment or (split_method,)),
        *_item("21 disjoint at", (_level(groups),)),
    ]


def accepted_errors(scores: Metrics | LabScores) -> int:
    """Return the number of wrong predictions that were not sent for review."""
    if scores.accuracy_accepted is None:
        return 0
    accepted = round((1 - scores.review_rate) * scores.n)
    return round((1 - scores.accuracy_accepted) * accepted)


def failure_summary(about: Statements, metrics: Metrics) -> str:
    """Summarise the wrong predictions and how many of them were accepted."""
    if not metrics.errors:
        return (
            f"None of the {metrics.n:,} predictions is wrong; the intervals above show how many "
            "errors to expect among similar images."
        )
    passed = accepted_errors(metrics)
    are = "is" if metrics.errors == 1 else "are"
    sentences = [
        (
            f"{metrics.errors:,} of {metrics.n:,} predictions {are} wrong: {passed:,} accepted, "
            f"{metrics.errors - passed:,} sent for review."
        ),
        WHERE_ERRORS_ARE,
    ]
    if about.label_errors:
        sentences.append("Some may be label errors: see the ground truth.")
    return " ".join(sentences)


def _heading(facts: CardFacts, metrics: Metrics) -> str:
    synthetic = are_synthetic((*facts.labs, *(metrics.per_lab or ())))
    notices = [NOT_A_DEVICE, NOT_FOR_DIAGNOSIS, *([f"{SYNTHETIC}."] if synthetic else [])]
    lines = [
        f"# {_plain(facts.name)}",
        f"> {' '.join(notices)}",
        PURPOSE,
        f"Classes: {', '.join(map(_plain, metrics.classes))}{_in_brackets(facts.note)}.",
        f"Architecture: {_plain(facts.architecture)}",
        f"Weights: {_plain(facts.weights)}",
    ]
    return "\n\n".join(lines)


def _in_brackets(note: str) -> str:
    return f" ({_plain(note)})" if note else ""


def _data(facts: CardFacts) -> str:
    labs = ("labs", ", ".join(facts.labs) or "not known")
    rows = [labs, *data_rows(facts.about, facts.preprocessing, facts.refused)]
    return "\n\n".join(["## Data", CITATION, _table(["item", "description"], rows)])


def _partitions(facts: CardFacts, metrics: Metrics) -> str:
    sizes = {split: sum(row.values()) for split, row in facts.split_sizes.items()}
    total = sum(sizes.values())
    counts = [
        [
            split,
            *(f"{row.get(name, 0):,}" for name in metrics.classes),
            f"{sizes[split]:,}",
            percent(sizes[split] / total if total else None),
        ]
        for split, row in facts.split_sizes.items()
    ]
    rows = partition_rows(facts.about, facts.split_method, facts.groups)
    return "\n\n".join(
        [
            "## Partitions",
            _table(["item", "description"], rows),
            _table(["split", *metrics.classes, "all", "share"], counts),
        ]
    )


def _training(facts: CardFacts) -> str:
    rows = [["fingerprint of the data (SHA-256)", facts.fingerprint], *facts.details.items()]
    return "## Training\n\n" + _table(["", ""], rows)


def _metrics(facts: CardFacts, metrics: Metrics) -> str:
    keys = ("balanced_accuracy", "accuracy", "macro_f1")
    rows = [["this model", *(_score(metrics, key) for key in keys)]]
    for key, name in BASELINE_NAMES.items():
        baseline = metrics.baselines.get(key)
        if baseline is not None:
            scores = [percent(getattr(baseline, score)) for score in keys]
            rows.append([f"baseline: {name.lower()}", *scores])
    per_class = [
        [
            name,
            *(_score(row, key) for key in ("precision", "recall", "f1")),
            f"{row.support:,}",
            f"{row.errors:,}",
        ]
        for name, row in metrics.per_class.items()
    ]
    per_lab = [
        [lab, f"{row.n:,}", f"{row.errors:,}", _score(row, "balanced_accuracy")]
        for lab, row in (metrics.per_lab or {}).items()
    ]
    sections = [
        "## Metrics",
        (
            f"On {counted(metrics.n, 'image')} ({_plain(split_name(facts.split))}), with 95% "
            f"intervals: {counted(metrics.errors, 'error')}. {metrics.interval_details.description}"
        ),
        _table(["", "balanced accuracy", "accuracy", "macro-F1"], rows),
        _table(["class", "precision", "recall", "F1", "images", "missed"], per_class),
    ]
    if per_lab:
        sections.append(_table(["lab", "images", "errors", "balanced accuracy"], per_lab))
    return "\n\n".join(sections)


def _failures(facts: CardFacts, metrics: Metrics) -> str:
    """Return item 37: the errors, and how many are sent for review."""
    sections = ["## Failure analysis (37)", _plain(failure_summary(facts.about, metrics))]
    confused = _confused_classes(metrics)
    if confused:
        rows = [
            [true, predicted, f"{n:,} of {of:,} ({percent(n / of)})"]
            for true, predicted, n, of in confused
        ]
        sections.append(_table(["true class", "predicted", "images"], rows))
        left = metrics.errors - sum(n for _, _, n, _ in confused)
        sections += [f"And {left:,} in rarer pairs."] if left else []
    if metrics.errors and metrics.per_lab:
        labs = [
            [lab, f"{row.errors:,}", f"{accepted_errors(row):,}", percent(row.review_rate)]
            for lab, row in metrics.per_lab.items()
        ]
        sections.append(_table(["lab", "errors", "of these accepted", "sent for review"], labs))
    return "\n\n".join(sections)


def _confused_classes(metrics: Metrics) -> list[tuple[str, str, int, int]]:
    """List true class, predicted class, images, and images of the true class, by frequency."""
    pairs = [
        (true, predicted, n, sum(row))
        for true, row in zip(metrics.classes, metrics.confusion_matrix, strict=True)
        for predicted, n in zip(metrics.classes, row, strict=True)
        if n and predicted != true
    ]
    return sorted(pairs, key=lambda pair: -pair[2])[:MOST_PAIRS]


def _review(facts: CardFacts, metrics: Metrics) -> str:
    kept = "No prediction is accepted at these thresholds."
    if metrics.accuracy_accepted is not None:
        kept = f"Accuracy on the rest: {percent(metrics.accuracy_accepted)}."
    return (
        "## Calibration and review\n\n"
        f"Probabilities are calibrated with temperature {facts.temperature:.3f} and a bias for "
        f"each class; the expected calibration error over 15 bins is {percent(metrics.ece)}. "
        f"Predictions with a confidence below {facts.min_confidence:.3f} or a novelty score above "
        f"{facts.max_novelty:.3f}{_of_fields(facts)} are sent for review: "
        f"{percent(metrics.review_rate)} of these images. {kept}"
    )


def _of_fields(facts: CardFacts) -> str:
    if math.isinf(facts.max_field):
        return ""
    return f", and images that show a whole field (field score above {facts.max_field:.3f}),"


def _level(groups: Mapping[str, Sequence[str]]) -> str:
    """Describe the level at which the splits are disjoint."""
    sets = {split: set(names) for split, names in groups.items()}
    splits_of = Counter(name for names in sets.values() for name in names)
    if not splits_of:
        return "Not recorded."
    if len(splits_of) == sum(map(len, groups.values())):
        return (
            "The image: no field or patient is known, so cells of one patient may be in several "
            "splits."
        )
    listed = ", ".join(f"{counted(len(names), 'group')} in {name}" for name, names in sets.items())
    level = f"The group (a field or patient where one is known, else the image): {listed}"
    shared = sum(n > 1 for n in splits_of.values())
    if shared:
        return f"{level}; in several splits: {counted(shared, 'group')}, so metrics are inflated."
    none = "; none is in two splits" if len(sets) > 1 else ""
    return f"{level}{none}. If groups are not patients, a patient may be in several splits."


def _score(row: Metrics | LabScores | ClassScores, key: str) -> str:
    return f"{percent(getattr(row, key))} ({interval(row.intervals[key])})"


def _item(name: str, lines: Lines) -> list[Row]:
    """Return a row for each line; the first names the item."""
    return [(name if i == 0 else "", line) for i, line in enumerate(lines)]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [list(map(_plain, head)), ["---"] * len(head), *(list(map(_plain, r)) for r in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {_plain(line)}" for line in lines)


def _plain(text: str) -> str:
    """Escape Markdown and HTML; commands stay code."""
    joined = re.sub(r"[ \t\r\n]+", " ", text)  # a line break would end a row
    escaped = re.sub(r"([\\`*_\[\]|])", r"\\\1", joined)
    return _COMMAND.sub(r"`\1`", escaped).replace("<", "&lt;").replace(">", "&gt;")
