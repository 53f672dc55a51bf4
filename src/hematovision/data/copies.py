"""Finding identical files in several classes or splits of a dataset, before the work starts.

`hematovision.data.duplicates` finds far more, but has to decode every image. Here files are
compared: by size, then by their beginning, then whole; most are never opened.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path

from hematovision.data.findings import ADVICE
from hematovision.data.samples import Dataset, Sample
from hematovision.files import sha256_file

__all__ = ["copy_warnings", "same_files"]

_BEGINNING = 16 * 1024
"""Bytes. Uncompressed images of one size differ in their first rows."""

_SHOWN = 3


def same_files(paths: Sequence[Path]) -> list[tuple[int, ...]]:
    """Return the groups of positions whose files have the same content, two or more each.

    Files that cannot be read are in no group: reading them as images says what is wrong.
    """
    groups: list[tuple[int, ...]] = [tuple(range(len(paths)))]
    for key in (_size, _beginning, sha256_file):
        groups = [group for old in groups for group in _equal(paths, old, key)]
    return groups


def copy_warnings(dataset: Dataset) -> tuple[str, ...]:
    """Say how many files lie in several classes and in several splits, with some of them.

    Returns
    -------
    tuple of str
        At most one sentence about classes and one about splits.
    """
    groups = [
        [dataset.samples[position] for position in group]
        for group in same_files([sample.path for sample in dataset])
    ]
    conflicts = [group for group in groups if len({sample.label for sample in group}) > 1]
    leaks = [group for group in groups if len({sample.split for sample in group}) > 1]
    return (
        *_warning(dataset, conflicts, "several classes", ADVICE["label-conflict"]),
        *_warning(dataset, leaks, "several splits", ADVICE["exact-duplicates-across"]),
    )


def _warning(
    dataset: Dataset, groups: Sequence[Sequence[Sample]], where: str, advice: str
) -> Iterable[str]:
    if not groups:
        return
    files = sum(map(len, groups))
    count = "One image lies" if len(groups) == 1 else f"{len(groups)} images lie"
    named = [dataset.relative(sample) for sample in groups[0][:_SHOWN]]
    more = f" and {len(groups[0]) - _SHOWN} more" if len(groups[0]) > _SHOWN else ""
    yield (
        f"{count} in {where} ({files} files with the same content), for example "
        f"{', '.join(named)}{more}. {advice} `hematovision data check` lists all."
    )


def _equal(
    paths: Sequence[Path], group: Sequence[int], key: Callable[[Path], Hashable]
) -> list[tuple[int, ...]]:
    """Split a group by `key` and keep what is still several."""
    members = defaultdict[Hashable, list[int]](list)
    for position in group:
        try:
            members[key(paths[position])].append(position)
        except OSError:
            continue
    return [tuple(positions) for positions in members.values() if len(positions) > 1]


def _size(path: Path) -> int:
    return path.stat().st_size


def _beginning(path: Path) -> bytes:
    with path.open("rb") as stream:
        return hashlib.sha256(stream.read(_BEGINNING)).digest()
