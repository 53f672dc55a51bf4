"""Quick checks before a dataset is used: identical files, and images in unsupported formats.

`hematovision.data.duplicates` finds far more, but decodes every image. Here files are compared by
size, then by their first bytes, then completely; most files are never opened.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path

from hematovision.data.check import ADVICE, find_unsupported_files
from hematovision.data.samples import Dataset, Sample
from hematovision.files import sha256_file
from hematovision.paths import escape_name

__all__ = ["copy_warnings", "same_files", "unsupported_warnings"]

_FIRST_BYTES = 16 * 1024  # uncompressed images of one size differ in their first rows
_SHOWN = 3


def same_files(paths: Sequence[Path]) -> list[tuple[int, ...]]:
    """Return the groups of two or more positions whose files have the same content.

    Unreadable files are in no group; reading them as images reports the reason.
    """
    groups: list[tuple[int, ...]] = [tuple(range(len(paths)))]
    for key in (_size, _start, sha256_file):
        groups = [group for old in groups for group in _equal(paths, old, key)]
    return groups


def copy_warnings(dataset: Dataset) -> tuple[str, ...]:
    """Return warnings about files in several classes, and in several splits."""
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


def unsupported_warnings(dataset: Dataset) -> tuple[str, ...]:
    """Return a warning about images left out because of their format, if any."""
    found = find_unsupported_files(dataset)
    if not found:
        return ()
    named = [
        f"{escape_name(path.relative_to(dataset.root).as_posix())}, {name}"
        for path, name in found[:_SHOWN]
    ]
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    files = "One file has" if len(found) == 1 else f"{len(found)} files have"
    return (f"{files} an unsupported format: {'; '.join(named)}{more}. {ADVICE['unsupported']}",)


def _warning(
    dataset: Dataset, groups: Sequence[Sequence[Sample]], where: str, advice: str
) -> Iterable[str]:
    if not groups:
        return
    files = sum(map(len, groups))
    count = "One image is" if len(groups) == 1 else f"{len(groups)} images are"
    named = [dataset.relative(sample) for sample in groups[0][:_SHOWN]]
    more = f" and {len(groups[0]) - _SHOWN} more" if len(groups[0]) > _SHOWN else ""
    yield (
        f"{count} in {where} ({files} files with the same content), for example "
        f"{', '.join(named)}{more}. {advice} `hematovision data check` lists all."
    )


def _equal(
    paths: Sequence[Path], group: Sequence[int], key: Callable[[Path], Hashable]
) -> list[tuple[int, ...]]:
    """Split a group by `key`; omit groups of one member."""
    members = defaultdict[Hashable, list[int]](list)
    for position in group:
        try:
            members[key(paths[position])].append(position)
        except OSError:
            continue
    return [tuple(positions) for positions in members.values() if len(positions) > 1]


def _size(path: Path) -> int:
    return path.stat().st_size


def _start(path: Path) -> bytes:
    with path.open("rb") as stream:
        return hashlib.sha256(stream.read(_FIRST_BYTES)).digest()
