"""``compare.html``: the comparison of two models, with a verdict in one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hematovision.evaluation.comparison import Comparison
from hematovision.evaluation.metric import METRICS, Score, metric_title
from hematovision.evaluation.metrics import Metrics
from hematovision.evaluation.uncertainty import Difference
from hematovision.files import write_text
from hematovision.intervals import Interval
from hematovision.plurals import counted
from hematovision.reporting import plots
from hematovision.reporting.embedding import data_uri, svg_uri
from hematovision.reporting.report import GALLERY, ReportFacts, render_page
from hematovision.reporting.wording import p_value, points, points_interval

__all__ = [
    "Differing", "PairExample", "ScoreRow", "difference_rows", "is_shown", "render_comparison",
    "score_rows", "verdict", "write_comparison_report",
]  # fmt: skip

ALPHA = 0.05

_ORDER = ("first", "second")


@dataclass(frozen=True)
class PairExample:
    """An image that two models classify differently: an `ErrorExample` with a value per model."""

    image: NDArray[np.uint8] | bytes
    true: str
    predicted: tuple[str, str]
    confidence: tuple[float, float]
    decision: tuple[str, str]
    name: str
    out_of_distribution: tuple[bool, bool] = (False, False)


class ScoreRow(NamedTuple):
    """A metric of two models."""

    title: str
    first: Score
    second: Score
    difference: Difference


@dataclass(frozen=True)
class Differing:
    """Images that two models classify differently, and how many both get wrong."""

    only_second: Sequence[PairExample] = ()
    only_first: Sequence[PairExample] = ()
    both_wrong: Sequence[PairExample] = ()
    n_both_wrong: int = 0


def write_comparison_report(
    folder: Path, comparison: Comparison, facts: ReportFacts, differing: Differing
) -> Path:
    """Write ``compare.html`` into `folder`, with up to `GALLERY` examples of each kind.

    Raises `MissingExtraError` if matplotlib or Jinja2 is not installed. Raises `OutputError` if the
    file can't be written.
    """
    return write_text(folder / "compare.html", render_comparison(comparison, facts, differing))


def render_comparison(comparison: Comparison, facts: ReportFacts, differing: Differing) -> str:
    """Return the page that `write_comparison_report` writes, from the same parameters."""
    return render_page(
        "compare",
        facts,
        tuple(comparison.per_lab or ()),
        c=comparison,
        verdict=verdict(comparison),
        shown=is_shown(comparison),
        scores=score_rows(comparison),
        figures={"differences": _differences(comparison)},
        galleries=_galleries(comparison, differing),
    )


def score_rows(comparison: Comparison) -> list[ScoreRow]:
    """Return the rows of the table of scores: built-in metrics, then those from outside."""
    return [
        ScoreRow(_title(one), one, two, comparison.differences[name])
        for name, one, two in _scores(comparison)
    ]


def _scores(comparison: Comparison) -> Iterator[tuple[str, Score, Score]]:
    for name in METRICS.builtin:
        yield name, _builtin_score(name, comparison.first), _builtin_score(name, comparison.second)
    for name, score in comparison.first.added.items():
        yield name, score, comparison.second.added[name]


def _builtin_score(name: str, of: Metrics) -> Score:
    interval = of.intervals.get(name)
    return Score(getattr(of, name), interval, metric_title(name), percent=True)


def _title(score: Score) -> str:
    return score.title if score.higher_is_better else f"{score.title} (lower is better)"


def is_shown(comparison: Comparison) -> bool:
    """Return whether one model is significantly more accurate.

    The interval of the difference must exclude 0, and McNemar's test must reject equal accuracy.
    With only four discordant images, all in favour of one model, the interval excludes 0 but the
    exact test does not reject (p = 0.125).
    """
    ends = comparison.differences["accuracy"].interval
    return _excludes_zero(ends) and comparison.mcnemar.p < ALPHA


def verdict(comparison: Comparison) -> str:
    """State which model is better, by how much, and on how many images.

    For instance: "The second model (b) is better by 1.2 points of accuracy (95% interval 0.3 to
    2.0): 14 images only the second gets right, 5 only the first."
    """
    if not comparison.differing:
        return f"The two models predict the same class for each of the {comparison.n:,} images."
    gap = comparison.differences["accuracy"]
    value = gap.value or 0.0
    if value == 0.0:
        return (
            "No significant difference: both are equally accurate (95% interval of the difference "
            f"{points_interval(gap.interval)} points); {_alone(comparison, 1)}."
        )
    ahead = int(value > 0)
    model = f"he {_ORDER[ahead]} model ({comparison.models[ahead]}) is"
    size = f"{points(abs(value), sign=False)} points of accuracy"
    ends = _seen_from(ahead, gap.interval)
    if is_shown(comparison):
        claim = f"T{model} better by {size} (95% interval {ends})"
        return f"{claim}: {_alone(comparison, ahead)}.{_reservation(comparison, ahead)}"
    doubt = f"but the 95% interval is {ends}"
    if _excludes_zero(gap.interval):
        doubt = f"but the images are too few (McNemar's {p_value(comparison.mcnemar.p)})"
    return (
        f"No significant difference: t{model} {size} ahead, {doubt}; {_alone(comparison, ahead)}."
    )


def _alone(comparison: Comparison, ahead: int) -> str:
    """Count the images that only one model gets right, starting with the model ahead."""
    counts = (comparison.agreement.only_first, comparison.agreement.only_second)
    return (
        f"{counted(counts[ahead], 'image')} only the {_ORDER[ahead]} gets right, "
        f"{counts[1 - ahead]:,} only the {_ORDER[1 - ahead]}"
    )


def _reservation(comparison: Comparison, ahead: int) -> str:
    """Return a caveat if the balanced accuracy favours the other model."""
    gap = comparison.differences["balanced_accuracy"]
    other = (gap.value or 0.0) * (1 if ahead else -1)
    if other >= 0:
        return ""
    shown = "" if _excludes_zero(gap.interval) else "; this is not significant"
    return (
        f" But the {_ORDER[1 - ahead]} is ahead by {points(-other, sign=False)} points of balanced "
        f"accuracy (95% interval {_seen_from(1 - ahead, gap.interval)}){shown}."
    )


def _seen_from(ahead: int, ends: Interval | None) -> str:
    """Format the interval of one model's lead over the other."""
    if ends is None or ahead:
        return points_interval(ends)
    return points_interval((-ends[1], -ends[0]))


def _excludes_zero(ends: Interval | None) -> bool:
    return ends is not None and not ends[0] <= 0.0 <= ends[1]


def _differences(comparison: Comparison) -> str:
    return svg_uri(plots.svg(*plots.differences_figure(difference_rows(comparison))))


def difference_rows(comparison: Comparison) -> dict[str, Difference]:
    """Return the rows of the figure: overall scores, then the recall of each class."""
    overall = ("accuracy", "balanced_accuracy", "macro_f1")
    return {
        **{metric_title(key): comparison.differences[key] for key in overall},
        **{f"Recall: {name}": row.difference for name, row in comparison.per_class.items()},
    }


def _galleries(comparison: Comparison, differing: Differing) -> list[dict[str, Any]]:
    agreement = comparison.agreement
    kinds = (
        ("Only the second is correct", agreement.only_second, differing.only_second),
        ("Only the first is correct", agreement.only_first, differing.only_first),
        (
            "Both are wrong in different ways",
            differing.n_both_wrong,
            differing.both_wrong,
        ),
    )
    return [
        {
            "title": title,
            "n": n,
            "examples": [(example, data_uri(example.image)) for example in examples[:GALLERY]],
        }
        for title, n, examples in kinds
        if n
    ]
