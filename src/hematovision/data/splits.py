"""Splits into train, valid and test: stratified by class, without dividing a group.

The assignment is the iterative stratification of Sechidis, Tsoumakas and Vlahavas 2011 ("On the
stratification of multi-label data", ECML PKDD, algorithm 1), with groups in place of examples. The
class with the fewest remaining groups is assigned first, starting with its largest groups, each to
the split that needs most of that class. Two rules are added, because a split without a class can
neither train nor evaluate it. A class's last groups go to splits that do not have it yet, and its
very last group goes to train if train would otherwise have none. So a class with one group is only
in train, and a class with two groups is in train and valid.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hematovision.data.samples import SPLITS, Dataset, Split
from hematovision.errors import SplitError
from hematovision.files import write_text
from hematovision.paths import csv_text, name_bytes

__all__ = [
    "FRACTIONS", "SPLIT_COLUMNS", "SPLIT_FILE", "complete_splits", "split_dataset", "write_splits",
]  # fmt: skip

FRACTIONS = (0.7, 0.15, 0.15)
"""Default shares of train, valid and test."""

VALID_SHARE = 0.15
"""Share of train that `complete_splits` moves to valid."""

SPLIT_FILE = "split.csv"
SPLIT_COLUMNS = ("file", "split", "group", "label")


def split_dataset(
    dataset: Dataset, fractions: tuple[float, float, float] = FRACTIONS, seed: int = 0
) -> Dataset:
    """Make a new split of a dataset.

    Raises `SplitError` if the fractions are invalid, or there are no samples.

    Parameters
    ----------
    dataset : Dataset
        Samples with groups.
    fractions : tuple of float
        Shares of train, valid and test, which sum to 1. Valid and test may be 0.
    seed : int
        Breaks ties. The same seed yields the same split, for any order of samples.

    Returns
    -------
    Dataset
        Each group is in one split, and each class is as close to `fractions` as whole groups allow.
        Every class is in train; a class with too few groups is missing from other splits.
    """
    _check_fractions(fractions)
    if not dataset.samples:
        raise SplitError(f"{dataset.root} has no samples to split. Add images first.")
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for sample in dataset:
        counts[sample.group][sample.label] += 1
    splits = _Dealer(counts, fractions, seed).deal()
    return dataset.with_samples(replace(s, split=splits[s.group]) for s in dataset)


def complete_splits(dataset: Dataset, seed: int = 0) -> Dataset:
    """Add the splits that training needs and a dataset lacks.

    A dataset without splits is split by `FRACTIONS`. With train but not valid, `VALID_SHARE` of
    train becomes valid, in whole groups. With train and valid, it is returned unchanged. Raises
    `SplitError` if only some samples are in a split, there is no train split, or a class is in
    other splits but not in train.
    """
    splits = {sample.split for sample in dataset}
    if splits <= {None}:
        return split_dataset(dataset, seed=seed)
    if None in splits:
        lost = [dataset.relative(s) for s in dataset if s.split is None]
        raise SplitError(
            f"{len(lost)} of {len(dataset)} images in {dataset.root} are in no split, the others "
            f"are in one: {', '.join(lost[:5])}. Move them into a split (or add them to "
            f"{SPLIT_FILE}), or remove the splits to have new ones made."
        )
    _check_training(dataset)
    if "valid" in splits:
        return dataset
    cut = split_dataset(dataset.subset("train"), (1 - VALID_SHARE, VALID_SHARE, 0.0), seed)
    new = {sample.path: sample for sample in cut}
    return dataset.with_samples(new.get(sample.path, sample) for sample in dataset)


def write_splits(dataset: Dataset, path: Path) -> Path:
    """Write the splits and groups of a dataset, usually to ``dataset.root / "split.csv"``.

    Raises `OutputError` if `path` can't be written.
    """
    rows = ((dataset.relative(s), s.split or "", s.group, s.label) for s in dataset)
    return write_text(path, csv_text((SPLIT_COLUMNS, *rows)))


def _check_fractions(fractions: Sequence[float]) -> None:
    usable = len(fractions) == 3 and all(math.isfinite(f) and f >= 0 for f in fractions)
    if not (usable and math.isclose(sum(fractions), 1, abs_tol=1e-6) and fractions[0] > 0):
        raise SplitError(
            "`fractions` must be three shares (train, valid, test) that sum to 1, with train above "
            f"0. Received: {tuple(fractions)}"
        )


def _check_training(dataset: Dataset) -> None:
    train = dataset.subset("train").counts()
    missing = [label for label, n in dataset.counts().items() if n and not train[label]]
    if missing:
        raise SplitError(
            f"{dataset.root} has images of {', '.join(missing)}, but none in its train split. "
            "Add some to Train, or remove the splits to have new ones made."
        )


class _Dealer:
    """Assigns groups to splits, one class at a time.

    `counts` has the samples per class of each group; `seed` orders groups of equal size.
    """

    def __init__(
        self, counts: Mapping[str, Counter[str]], fractions: Sequence[float], seed: int
    ) -> None:
        self._counts = counts
        self._splits = [i for i, fraction in enumerate(fractions) if fraction > 0]
        self._left: dict[str, int] = Counter(label for c in counts.values() for label in c)
        totals: Counter[str] = Counter()
        for count in counts.values():
            totals.update(count)
        self._wanted = {c: [f * n for f in fractions] for c, n in totals.items()}
        self._wanted_of_all = [f * totals.total() for f in fractions]
        self._lacking = {label: set(self._splits) for label in totals}
        self._dealt: dict[str, Split] = {}
        # A hash, not a shuffle, so that a group's place does not depend on the others.
        self._lot = {g: hashlib.sha256(name_bytes(f"{seed}:{g}")).digest() for g in counts}

    def deal(self) -> dict[str, Split]:
        """Return the split of every group."""
        members: defaultdict[str, list[str]] = defaultdict(list)
        for group, count in self._counts.items():
            for label in count:
                members[label].append(group)
        waiting = set(members)
        while waiting:
            label = min(waiting, key=lambda name: (self._left[name], name))
            waiting.remove(label)
            open_ = (group for group in members[label] if group not in self._dealt)
            for group in sorted(open_, key=lambda g: (-self._counts[g][label], self._lot[g])):
                self._give(group, self._choose(group, label))
        return self._dealt

    def _choose(self, group: str, label: str) -> int:
        if any(self._left[c] == 1 and 0 in self._lacking[c] for c in self._counts[group]):
            return 0
        lacking = self._lacking[label]
        splits: Iterable[int] = lacking if self._left[label] <= len(lacking) else self._splits
        wanted = self._wanted[label]
        return max(splits, key=lambda i: (wanted[i], self._wanted_of_all[i], -i))

    def _give(self, group: str, split: int) -> None:
        self._dealt[group] = SPLITS[split]
        for label, n in self._counts[group].items():
            self._left[label] -= 1
            self._wanted[label][split] -= n
            self._wanted_of_all[split] -= n
            self._lacking[label].discard(split)
