"""Measure adapting to a laboratory, on arrays: features of its cells in, a table out.

`adaptation_rows` samples images of a laboratory that the model was not trained on, adapts the model
to them with the product's own code, and tests it on the cells of all *other* fields:

- 0: the model as it is.
- 30 unlabelled: the first few cells of each field.
- 30 and 100 labelled: as many of each class as possible, but at most half of a class, so that
  enough remain for the test, and at most `OF_A_FIELD` of a field.

`benchmarks/cross_lab.py` calls it with a backbone trained without the laboratory.
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
"""Cells of a class picked from one field at most, so that they come from several fields."""

Views = Callable[[NDArray[np.int64]], NDArray[np.float32]]
"""From positions of cells (n,) to the features of their views (n, V, 1280)."""


@dataclass(frozen=True)
class Row:
    """Metrics of one sample, on the cells of all fields that were not sampled from."""

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
        Of the sample.
    views : callable, optional
        Returns the sampled cells' features in all views; without it one view is used.
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
    sampled = sample(labels, fields, images or 30, seed, unselected=kind == "unlabelled")
    tested = ~np.isin(fields, fields[sampled])
    adapted, strength = model, None
    if kind == "unlabelled":
        adapted = adapt_unlabelled(model, features[sampled])
    elif kind == "labelled":
        seen = features[sampled][:, None] if views is None else views(sampled)
        examples = Examples(seen, labels[sampled], tuple(fields[sampled].tolist()))
        adapted, strength = adapt_labelled(model, examples, seed)
    found = adapted.predict(features[tested])
    probabilities, novelty = found.probabilities, found.novelty
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


def sample(
    labels: NDArray[np.int64],
    fields: NDArray[np.str_],
    images: int,
    seed: int,
    *,
    unselected: bool = False,
) -> NDArray[np.int64]:
    """Return the positions of cells to adapt to, from fields in random order.

    Parameters
    ----------
    images : int
        How many; fewer if half of every class is fewer.
    unselected : bool
        Take the first few cells of each field instead of some of each class.
    """
    rng = np.random.default_rng(seed)
    wanted = None if unselected else _quotas(np.bincount(labels), images)
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
    """Divide `images` among the classes as evenly as half of each allows."""
    quotas = np.zeros_like(counts)
    while quotas.sum() < images and (quotas < counts // 2).any():
        open_ = np.flatnonzero(quotas < counts // 2)
        quotas[open_[quotas[open_].argmin()]] += 1
    return quotas


def table(rows: Mapping[str, Sequence[Row]]) -> str:
    """Return rows by laboratory as a Markdown table, means over the samples."""
    head = (
        "| laboratory | adapted to | samples | macro-F1 | balanced accuracy | errors "
        "| sent for review | accuracy on the rest | ECE |"
    )
    lines = [head, "|" + "---|" * 9]
    for lab, all_rows in rows.items():
        by_kind: defaultdict[tuple[str, int], list[Row]] = defaultdict(list)
        for row in all_rows:
            by_kind[row.kind, row.images].append(row)
        for (kind, images), samples in by_kind.items():
            accepted = [r.accuracy_accepted for r in samples if r.accuracy_accepted is not None]
            lines.append(
                f"| {lab} | {f'{images} {kind}' if images else 'nothing'} | {len(samples)} "
                f"| {_mean(samples, 'macro_f1'):.3f} | {_mean(samples, 'balanced_accuracy'):.3f} "
                f"| {_mean(samples, 'errors'):.0f} of {_mean(samples, 'n'):.0f} "
                f"| {100 * _mean(samples, 'review_rate'):.1f}% "
                f"| {100 * float(np.mean(accepted)):.2f}% | {_mean(samples, 'ece'):.3f} |"
            )
    return "\n".join(lines)


def _mean(rows: Sequence[Row], name: str) -> float:
    return float(np.mean([getattr(row, name) for row in rows]))
