"""The split of an imported dataset: kept from the source, from lists, or made from fractions.

Also the group of each field, and problems: groups in several splits, fields in none.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from hematovision.data.folders import find_split
from hematovision.data.formats.annotations import AnnotatedField, some, split_of
from hematovision.data.groups import groups_of, read_groups, source_of
from hematovision.data.lookup import Lookup
from hematovision.data.samples import SPLITS, Dataset, Split
from hematovision.data.splits import FRACTIONS, split_dataset
from hematovision.data.textfiles import read_lines
from hematovision.errors import SplitError
from hematovision.paths import escape_name
from hematovision.plurals import counted

__all__ = [
    "FieldPlace", "Fractions", "Located", "NoSplit", "SourceSplit", "SplitChoice", "SplitLists",
    "apply_split", "find_leaks", "find_source_split", "locate", "parse_split", "report_copies",
    "report_split",
]  # fmt: skip

_EXPECTED = (
    "Expected a folder with train.txt, valid.txt (or val.txt) and test.txt, fractions such as "
    "70/15/15 or 85/15 (train/valid), or none."
)


@dataclass(frozen=True, slots=True)
class NoSplit:
    """``none``: class folders only."""


@dataclass(frozen=True, slots=True)
class Fractions:
    """Shares of train, valid and test; they sum to 1."""

    values: tuple[float, float, float] = FRACTIONS


@dataclass(frozen=True, slots=True)
class SplitLists:
    """Official lists of the fields of each split: the folder, and the split of each name."""

    folder: Path
    entries: Mapping[str, Split]

    def assign(self, names: Iterable[str]) -> tuple[dict[str, Split], list[str]]:
        """Return the split of each field, and problems: fields in no list, names without a field.

        A list may name a field with or without folder and suffix.

        Raises `SplitError` if no field is in a list, or a field is in two.
        """
        lookup = Lookup(self.entries.items())
        splits: dict[str, Split] = {}
        unlisted = []
        for name in names:
            found = lookup.find(name)
            if len(found) > 1:
                raise SplitError(
                    f"{self.folder}: the field {name!r} is in the lists of {' and '.join(found)}. "
                    "Keep it in one."
                )
            if found:
                splits[name] = found[0]
            else:
                unlisted.append(name)
        if not splits:
            raise SplitError(
                f"{self.folder}: the lists name none of the fields. They name, for example, "
                f"{some(list(self.entries), 3)!r}; the fields are {some(unlisted, 3)!r}."
            )
        return splits, self._problems(list(splits), unlisted)

    def _problems(self, listed: list[str], unlisted: list[str]) -> list[str]:
        fields = Lookup((name, name) for name in listed)
        idle = [name for name in self.entries if not fields.find(name)]
        problems = []
        if unlisted:
            problems.append(
                f"{counted(len(unlisted), 'field')} in none of the lists of {self.folder}, left "
                f"out: {some(unlisted)}"
            )
        if idle:
            problems.append(
                f"{counted(len(idle), 'name')} in the lists of {self.folder} without a field: "
                f"{some(idle)}"
            )
        return problems


@dataclass(frozen=True, slots=True)
class SourceSplit:
    """The split of each field according to folders, file names or ``data.yaml``."""

    entries: Mapping[str, Split]

    def assign(self, names: Iterable[str]) -> tuple[dict[str, Split], list[str]]:
        """Return the split of each field that has one, and a problem that lists the others."""
        found = {name: self.entries[name] for name in names if name in self.entries}
        without = [name for name in names if name not in self.entries]
        if not without:
            return found, []
        return found, [
            (
                f"{counted(len(without), 'field')} in none of the splits "
                f"{', '.join(self.present)}, left out: {some(without)}"
            )
        ]

    @property
    def present(self) -> list[str]:
        """The splits that have fields."""
        return [split for split in SPLITS if split in self.entries.values()]


SplitChoice: TypeAlias = NoSplit | Fractions | SplitLists | SourceSplit


def find_source_split(fields: Iterable[AnnotatedField]) -> tuple[SourceSplit | None, list[str]]:
    """Return the split of a dataset, and notes about it.

    A dataset has a split if its fields are in ``train`` and in at least one other.
    """
    found = SourceSplit({field.name: field.split for field in fields if field.split})
    present = found.present
    if "train" in present and len(present) > 1:
        return found, [f"The split of the dataset was kept: {', '.join(present)}."]
    if not present:
        return None, []
    return None, [
        (
            f"All fields with a split are in {', '.join(present)}; training needs train and at "
            "least one other split, so new splits were made."
        )
    ]


def parse_split(spec: str | None, lists: Path | None = None) -> SplitChoice | None:
    """Parse ``--split``; None without a `spec` and without official lists in the folder `lists`.

    `spec` is ``none``; fractions or percentages of train, valid and test (``70/15/15``,
    ``0.7/0.15/0.15``) or of train and valid (``85/15``); or a folder of lists.

    Raises `SplitError` if `spec` is none of these, the numbers don't sum to 1 or 100, or a name is
    in two lists.
    """
    if spec is None:
        return _read_lists(lists) if lists and (lists / "train.txt").is_file() else None
    if spec.strip().casefold() == "none":
        return NoSplit()
    if re.fullmatch(r"[\d.\s]+(/[\d.\s]+)+", spec):
        return _parse_fractions(spec)
    if not Path(spec).is_dir():
        raise SplitError(f"--split {spec} is not a folder. {_EXPECTED}")
    return _read_lists(Path(spec))


def _parse_fractions(spec: str) -> Fractions:
    try:
        values = [float(value) for value in spec.split("/")]
    except ValueError:
        values = []
    total = sum(values)
    whole = next((w for w in (1, 100) if abs(total - w) <= 0.001 * w), None)
    if len(values) not in (2, 3) or whole is None or not values[0]:
        raise SplitError(
            f"--split {spec}: the two or three numbers must add up to 1 or 100, with more than 0 "
            f"for train. {_EXPECTED}"
        )
    train, valid, test = (value / total for value in (*values, 0.0)[:3])
    return Fractions((train, valid, test))


def _read_lists(folder: Path) -> SplitLists:
    entries: dict[str, Split] = {}
    seen: set[Split] = set()
    for path in sorted(folder.glob("*.txt")):
        # `trainval.txt` and the lists per class, usual in Pascal VOC, are not splits.
        split = find_split(path.stem)
        if split is None:
            continue
        seen.add(split)
        for name in read_lines(path):
            if entries.setdefault(name, split) != split:
                raise SplitError(
                    f"{path}: {name!r} is in the list of {entries[name]} too. Keep it in one."
                )
    if "train" not in seen or not entries:
        lists = ", ".join(split for split in SPLITS if split in seen) or "none"
        raise SplitError(f"{folder} has no list train.txt with names. Found: {lists}. {_EXPECTED}")
    return SplitLists(folder, entries)


def apply_split(dataset: Dataset, choice: SplitChoice | None, seed: int) -> Dataset:
    """Split samples by fractions (`FRACTIONS` if `choice` is None), or remove their splits.

    Samples keep splits from lists and the source, which were already assigned to fields.
    """
    if isinstance(choice, SplitLists | SourceSplit):
        return dataset
    if isinstance(choice, NoSplit):
        return dataset.with_samples(replace(sample, split=None) for sample in dataset)
    return split_dataset(dataset, (choice or Fractions()).values, seed)


@dataclass(frozen=True, slots=True)
class FieldPlace:
    """The source image, lab, group and split of a field's cells."""

    source: str
    lab: str
    group: str
    split: Split | None = None


@dataclass(frozen=True)
class Located:
    """Fields with their places."""

    fields: tuple[AnnotatedField, ...]  # those in the split, or all if it is yet to be made
    places: Mapping[str, FieldPlace]  # by the field's name
    split: SplitChoice | None  # None to make the default split
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def locate(
    fields: Sequence[AnnotatedField],
    source: Path,
    lab: str,
    groups: str | None,
    choice: SplitChoice | None,
) -> Located:
    """Find each field's group, and its split if lists or the dataset define one.

    `groups` is ``FILE:COLUMN``; by default a group is a field with its augmented copies. Without a
    `choice`, the split of the dataset is kept.

    Raises `SplitError` if a field is in no group or in two lists.
    """
    files = [escape_name(field.image.relative_to(source).as_posix()) for field in fields]
    if groups is None:
        names = [f"{lab}/{escape_name(_group(field.name))}" for field in fields]
    else:
        names = groups_of(files, read_groups(groups))
    places = {
        field.name: FieldPlace(file, lab, group)
        for field, file, group in zip(fields, files, names, strict=True)
    }
    own, notes = find_source_split(fields)
    if choice is not None:
        unused = f"The split of the dataset ({', '.join(own.present)})" if own else ""
        notes = [f"{unused} was not used: another was requested."] if own else []
    elif own is not None:
        choice = own
    problems: list[str] = []
    if isinstance(choice, SplitLists | SourceSplit):
        splits, problems = choice.assign([field.name for field in fields])
        places = {name: replace(places[name], split=split) for name, split in splits.items()}
        problems += find_leaks((place.group, place.split) for place in places.values())
    notes += report_copies([field.name for field in fields])
    notes += report_split(choice)
    kept = tuple(field for field in fields if field.name in places)
    return Located(kept, places, choice, tuple(problems), tuple(notes))


def find_leaks(members: Iterable[tuple[str, Split | None]]) -> list[str]:
    """Report groups in several splits, from the group and split of each field or image."""
    splits: defaultdict[str, set[Split]] = defaultdict(set)
    for group, split in members:
        if split is not None:
            splits[group].add(split)
    leaks = [f"{g} ({', '.join(sorted(s))})" for g, s in sorted(splits.items()) if len(s) > 1]
    if not leaks:
        return []
    return [
        (
            f"{counted(len(leaks), 'group')} of images, such as copies of one image, in several "
            f"splits: {some(leaks)}. The split was kept; results on its valid and test "
            "images will be too good. For a new split that keeps groups together: --split 70/15/15"
        )
    ]


def report_copies(names: Iterable[str]) -> list[str]:
    """Report how many images are augmented copies, by their names."""
    sources = Counter(_group(name) for name in names if source_of(name))
    if not sources:
        return []
    return [
        (
            f"{sum(sources.values())} images are copies of {counted(len(sources), 'source')}, by "
            "their names (NAME.rf.HASH). Copies of one source are one group, which stays in one "
            "new split."
        )
    ]


def report_split(choice: SplitChoice | None) -> list[str]:
    """Report which split was made or requested."""
    if isinstance(choice, NoSplit):
        return ["No split was made, as requested."]
    if isinstance(choice, SourceSplit):
        return []
    if isinstance(choice, SplitLists):
        return [f"The split of the lists in {choice.folder} was used."]
    shares = (choice or Fractions()).values
    made = ", ".join(f"{share:.0%} {split}" for share, split in zip(shares, SPLITS, strict=True))
    return [f"A split was made that keeps groups together: {made}."]


def _group(name: str) -> str:
    """Return the name of a field's group; a copy has its source's, in any split."""
    source = source_of(name)
    if source is None:
        return name
    return source.partition("/")[2] if split_of(source) else source
