"""What adapting to a laboratory brings, on arrays: features of its cells in, a table out.

`adaptation_rows` draws images of a laboratory that the model has not seen, adapts the model to them
by the product's own code, and tests it on the cells of all *other* fields:

- 0: the model as it is.
- 30 unlabelled: cells as they come, a few from each field.
- 30 and 100 labelled: picked as a person picks who labels, as many of each class as possible, but
  at most half of a class, so that the test still shows it, and at most `OF_A_FIELD` of a field.

`benchmarks/cross_lab.py` calls it with a backbone that was trained without the laboratory. Without
arguments it is run on nothing; it is a library.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hematovision.evaluation import evaluate
from hematovision.model.thresholds import accepts
from hematovision.training.adapting import FeatureModel, adapt_labelled, adapt_unlabelled
from hematovision.training.correction import Examples

KINDS = (("none", 0), ("unlabelled", 30), ("labelled", 30), ("labelled", 100))
OF_A_FIELD = 4
"""So many cells of a class are picked in one field: a person goes through several."""

Views = Callable[[NDArray[np.int64]], NDArray[np.float32]]
"""From positions of cells (n,) to the features of their views (n, V, 1280)."""


@dataclass(frozen=True)
class Row:
    """Figures of one draw, on the cells of all fields that were not drawn from."""

    kind: str
    images: int
    seed: int
    n: int
    macro_f1: float
    balanced_accuracy: float
    errors: int
    review_rate: float
    accuracy_accepted: float | None
    ece: float
    strength: float | None
    confusion: tuple[tuple[int, ...], ...]


def adaptation_rows(
    model: FeatureModel,
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    groups: Sequence[str],
    seed: int,
    *,
    views: Views | None = None,
) -> list[Row]:
    """Adapt a model to a laboratory from 0, 30 and 100 of its cells, and test it on the others.

    Parameters
    ----------
    model : FeatureModel
        Head, novelty, thresholds and class proportions of a model without this laboratory.
    features : ndarray of float32, shape (N, 1280)
        Of all cells of the laboratory.
    labels : ndarray of int, shape (N,)
    groups : sequence of str
        Their fields.
    seed : int
        Of the draw.
    views : callable, optional
        Gives the drawn cells' features from all sides; without it they are seen from one.
    """
    fields = np.asarray(groups, np.str_)
    return [
        _row(model, features, labels, fields, kind, images, seed, views) for kind, images in KINDS
    ]


def _row(
    model: FeatureModel,
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    fields: NDArray[np.str_],
    kind: str,
    images: int,
    seed: int,
    views: Views | None,
) -> Row:
    # The test of "none" leaves out the fields that 30 labelled cells would come from.
    drawn = draw(labels, fields, images or 30, seed, as_they_come=kind == "unlabelled")
    tested = ~np.isin(fields, fields[drawn])
    adapted, strength = model, None
    if kind == "unlabelled":
        adapted = adapt_unlabelled(model, features[drawn])
    elif kind == "labelled":
        seen = features[drawn][:, None] if views is None else views(drawn)
        examples = Examples(seen, labels[drawn], tuple(fields[drawn].tolist()))
        adapted, strength = adapt_labelled(model, examples, seed)
    probabilities, novelty = adapted.predict(features[tested])
    names = [str(i) for i in range(model.head.n_classes)]
    metrics = evaluate(
        labels[tested],
        probabilities,
        names,
        accepted=accepts(probabilities, novelty, adapted.thresholds),
    )
    return Row(
        kind,
        images,
        seed,
        metrics.n,
        metrics.macro_f1,
        metrics.balanced_accuracy,
        metrics.errors,
        metrics.review_rate,
        metrics.accuracy_accepted,
        metrics.ece,
        strength,
        metrics.confusion_matrix,
    )


def draw(
    labels: NDArray[np.int64],
    fields: NDArray[np.str_],
    images: int,
    seed: int,
    *,
    as_they_come: bool = False,
) -> NDArray[np.int64]:
    """Return the positions of cells to adapt to, going through the fields in random order.

    Parameters
    ----------
    images : int
        How many; fewer where half of every class is fewer.
    as_they_come : bool
        The first few cells of each field, whatever they are, instead of some of each class.
    """
    rng = np.random.default_rng(seed)
    wanted = None if as_they_come else _quotas(np.bincount(labels), images)
    chosen: list[int] = []
    for field in rng.permutation(np.unique(fields)):
        cells = rng.permutation(np.flatnonzero(fields == field))
        if wanted is None:
            chosen += cells[:OF_A_FIELD].tolist()
            continue
        for label in range(len(wanted)):
            picked = cells[labels[cells] == label][: min(OF_A_FIELD, wanted[label])]
            wanted[label] -= len(picked)
            chosen += picked.tolist()
    return np.array(chosen[:images], np.int64)


def _quotas(counts: NDArray[np.int64], images: int) -> NDArray[np.int64]:
    """Deal `images` to the classes, as evenly as half of each allows."""
    quotas = np.zeros_like(counts)
    while quotas.sum() < images and (quotas < counts // 2).any():
        open_ = np.flatnonzero(quotas < counts // 2)
        quotas[open_[quotas[open_].argmin()]] += 1
    return quotas


def table(rows: Mapping[str, Sequence[Row]]) -> str:
    """Return rows by laboratory as a Markdown table, means over the draws."""
    head = (
        "| laboratory | adapted to | draws | macro-F1 | balanced accuracy | errors | review "
        "| accepted right | ECE |"
    )
    lines = [head, "|" + "---|" * 9]
    for lab, all_rows in rows.items():
        by_kind: defaultdict[tuple[str, int], list[Row]] = defaultdict(list)
        for row in all_rows:
            by_kind[row.kind, row.images].append(row)
        for (kind, images), draws in by_kind.items():
            right = [r.accuracy_accepted for r in draws if r.accuracy_accepted is not None]
            lines.append(
                f"| {lab} | {f'{images} {kind}' if images else 'nothing'} | {len(draws)} "
                f"| {_mean(draws, 'macro_f1'):.3f} | {_mean(draws, 'balanced_accuracy'):.3f} "
                f"| {_mean(draws, 'errors'):.0f} of {_mean(draws, 'n'):.0f} "
                f"| {100 * _mean(draws, 'review_rate'):.1f} % "
                f"| {100 * float(np.mean(right)):.2f} % | {_mean(draws, 'ece'):.3f} |"
            )
    return "\n".join(lines)


def _mean(rows: Sequence[Row], name: str) -> float:
    return float(np.mean([getattr(row, name) for row in rows]))
