"""What a model card answers of the CLAIM checklist: data, ground truth, partitions, failures.

Items are numbered as in Mongan, Moy and Kahn 2020, "Checklist for Artificial Intelligence in
Medical Imaging (CLAIM)", Radiology: Artificial Intelligence 2(2):e200029. What only people know is
said in `Statements`; what the program knows is generated here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from hematovision.evaluation.schema import LabScores, Metrics
from hematovision.images import SIZE
from hematovision.model.balance import WHITE

__all__ = [
    "CITATION",
    "INTENDED_USE",
    "NOTHING_SAID",
    "NOT_FOR_DIAGNOSIS",
    "WHERE_ERRORS_ARE",
    "Statements",
    "accepted_errors",
    "data_rows",
    "failure_summary",
    "mistaken_rows",
    "partition_rows",
    "preprocessing",
    "truth_rows",
]

Lines: TypeAlias = tuple[str, ...]
Row: TypeAlias = tuple[str, str]

CITATION = (
    "Numbers are those of the items of CLAIM (Mongan, Moy and Kahn 2020, Radiology: Artificial "
    "Intelligence 2(2):e200029)."
)
NOT_FOR_DIAGNOSIS = "Not for diagnosis."
INTENDED_USE = (
    (
        "For: research and teaching; sorting images of single cells from stained blood films, "
        "where a person looks at what goes to review."
    ),
    "Not for: diagnosis, or any decision on a patient's care. No trial has tested that.",
    "Not for: finding or counting cells in a field, unstained blood, bone marrow, other tissue.",
)
MOST_PAIRS = 10

WHERE_ERRORS_ARE = "report.html shows the most confident of them, predictions.csv lists all."
"""True of a run folder; `recipes.bundled_models` says another thing in the package's cards."""


_ASK = "Not recorded. Whoever trained the model should say"


@dataclass(frozen=True)
class Statements:
    """What only people know of a model's data; each answer is one line or several.

    The defaults say that nobody has said it, as it is with a model that a user trains.

    Parameters
    ----------
    intended_use : tuple of str
        What the model is for, and what it is not for.
    sources, eligibility, preparation, selection : tuple of str
        The data: items 7 to 10. `preparation` is what was done before this program saw the images.
    definitions, deidentification, missing : tuple of str
        Items 11 to 13.
    truth, rationale, annotators, tools, variability : tuple of str
        The ground truth: items 14 to 18.
    label_errors : tuple of str
        Wrong labels that are known of.
    sample_size : tuple of str
        Item 19.
    assignment : tuple of str
        Item 20: how images came into their parts. Empty: as the program did it.
    licences : tuple of str
        A line for each thing that has one: code, weights, data.
    """

    intended_use: Lines = INTENDED_USE
    sources: Lines = (f"{_ASK} where and when the images were taken, with which stain and camera.",)
    eligibility: Lines = (f"{_ASK} whose blood it is, and who was left out.",)
    preparation: Lines = (f"{_ASK} how the images were cut out or changed before.",)
    selection: Lines = (f"{_ASK} which of the images at hand were used, and why.",)
    definitions: Lines = (
        f"{_ASK} what counts as a cell of each class.",
        "The names that were taken for each class stand in bundle.json.",
    )
    deidentification: Lines = (f"{_ASK} how patients' names and numbers were removed.",)
    missing: Lines = (f"{_ASK} what was not known of some patients or images.",)
    truth: Lines = (f"{_ASK} how a cell's true class was found.",)
    rationale: Lines = (f"{_ASK} why that was taken for the truth.",)
    annotators: Lines = (f"{_ASK} who gave the classes, and what they are trained in.",)
    tools: Lines = (f"{_ASK} with what the cells were marked or sorted.",)
    variability: Lines = (f"{_ASK} how far people agree on these classes, and with themselves.",)
    label_errors: Lines = ()
    sample_size: Lines = (
        (
            "Not recorded whether a size was planned. The intervals of the figures say how far the "
            "images judged carry; `hematovision train --learning-curve` says what more would bring."
        ),
    )
    assignment: Lines = ()
    licences: Lines = ()


NOTHING_SAID = Statements()


def preprocessing(side: int, *, white_balance: bool = True) -> str:
    """Say what is done to an image on its way to an answer.

    Parameters
    ----------
    side : int
        Pixels along a side, as the network sees images.
    white_balance : bool
        Whether the model balances them first; those of the first version do not.
    """
    steps = []
    if white_balance:
        steps.append(
            f"each channel is scaled so that the brightest patch becomes {WHITE:.0f} of 255"
        )
    if side != SIZE:
        steps.append(f"the image is shrunk to {side}x{side} by area averaging")
    steps.append("pixels are scaled to -1 to 1")
    return (
        f"Decoded to RGB of 8 bits and stretched to {SIZE}x{SIZE} pixels (averaged by area, "
        f"interpolated where an image grows). Inside the model, {', '.join(steps)}."
    )


def data_rows(said: Statements, prepared: str, refused: int | None) -> list[Row]:
    """Return questions and answers on the data: items 7 to 13.

    Parameters
    ----------
    said : Statements
    prepared : str
        From `preprocessing`.
    refused : int or None
        Images that could not be read; None where nobody counted.
    """
    if refused is None:
        unread = "How many images could not be read was not recorded."
    elif refused == 0:
        unread = "Every image could be read."
    else:
        unread = (
            f"Left out because they could not be read: {_count(refused, 'image')}; `hematovision "
            "data check` names such files."
        )
    return [
        *_answers("7 sources", said.sources),
        *_answers("8 eligibility", said.eligibility),
        *_answers("9 preprocessing", (*said.preparation, prepared)),
        *_answers("10 selection", said.selection),
        *_answers("11 definitions", said.definitions),
        *_answers("12 de-identification", said.deidentification),
        *_answers("13 missing data", (*said.missing, unread)),
    ]


def truth_rows(said: Statements) -> list[Row]:
    """Return questions and answers on the ground truth: items 14 to 18, and known label errors."""
    return [
        *_answers("14 definition", said.truth),
        *_answers("15 rationale", said.rationale),
        *_answers("16 annotators", said.annotators),
        *_answers("17 tools", said.tools),
        *_answers("18 variability", said.variability),
        *_answers("known label errors", said.label_errors or ("None are recorded.",)),
    ]


def partition_rows(
    said: Statements, how_split: str, groups: Mapping[str, Sequence[str]]
) -> list[Row]:
    """Return questions and answers on the parts: items 19 to 21.

    Parameters
    ----------
    said : Statements
    how_split : str
        What the program knows of how the parts were made, where `said` does not tell.
    groups : mapping of str to sequence of str
        For each part, the group of every image; empty where not known.
    """
    return [
        *_answers("19 sample size", said.sample_size),
        *_answers("20 assignment", said.assignment or (how_split,)),
        *_answers("21 disjoint at", (_level(groups),)),
    ]


def _level(groups: Mapping[str, Sequence[str]]) -> str:
    """Say at which level the parts have nothing in common, counted and not taken for granted."""
    sets = {part: set(names) for part, names in groups.items()}
    parts_of = Counter(name for names in sets.values() for name in names)
    if not parts_of:
        return "Not recorded."
    if len(parts_of) == sum(map(len, groups.values())):
        return (
            "The image: no field or patient is known, so that cells of one patient may be in "
            "several parts."
        )
    counted = ", ".join(f"{_count(len(names), 'group')} in {part}" for part, names in sets.items())
    level = f"The group (a field or patient where one is known, else the image): {counted}"
    shared = sum(n > 1 for n in parts_of.values())
    if shared:
        return f"{level}; in several parts: {_count(shared, 'group')}, so that the figures flatter."
    none = "; none is in two parts" if len(sets) > 1 else ""
    return f"{level}{none}. Where groups are no patients, one patient may be in several parts."


def accepted_errors(scores: Metrics | LabScores) -> int:
    """Return how many wrong answers were accepted; the other wrong ones went to review."""
    if scores.accuracy_accepted is None:
        return 0
    accepted = round((1 - scores.review_rate) * scores.n)
    return round((1 - scores.accuracy_accepted) * accepted)


def failure_summary(said: Statements, metrics: Metrics) -> str:
    """Say how many answers are wrong, and how many of them nobody would have looked at."""
    if not metrics.errors:
        return (
            f"None of the {metrics.n:,} answers is wrong, so that there is no failure to look at; "
            "the intervals above say how many there may be among such images."
        )
    passed = accepted_errors(metrics)
    are = "is" if metrics.errors == 1 else "are"
    sentences = [
        (
            f"{metrics.errors:,} of {metrics.n:,} answers {are} wrong: {passed:,} accepted, "
            f"{metrics.errors - passed:,} sent to review."
        ),
        WHERE_ERRORS_ARE,
    ]
    if said.label_errors:
        sentences.append("Some may be errors of the labels: see the ground truth.")
    return " ".join(sentences)


def mistaken_rows(metrics: Metrics) -> list[tuple[str, str, int, int]]:
    """Return which classes are taken for which, the most frequent first.

    Returns
    -------
    list of tuple
        True class, answer, images, and images of the true class; `MOST_PAIRS` at most.
    """
    pairs = [
        (true, said, n, sum(row))
        for true, row in zip(metrics.classes, metrics.confusion_matrix, strict=True)
        for said, n in zip(metrics.classes, row, strict=True)
        if n and said != true
    ]
    return sorted(pairs, key=lambda pair: -pair[2])[:MOST_PAIRS]


def _answers(item: str, lines: Lines) -> list[Row]:
    """Return a row for each line; the item is named in the first."""
    return [(item if i == 0 else "", line) for i, line in enumerate(lines)]


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" + ("" if n == 1 else "s")
