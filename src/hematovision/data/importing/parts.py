"""What ``--split`` asks for: official lists, fractions, or no parts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from hematovision.data.folders import find_split
from hematovision.data.importing.annotations import AnnotatedField, counted, some
from hematovision.data.lookup import Lookup
from hematovision.data.samples import SPLITS, Dataset, Sample, Split
from hematovision.data.splits import FRACTIONS, split_dataset
from hematovision.data.texts import read_text
from hematovision.errors import SplitError

__all__ = [
    "Fractions",
    "GivenSplit",
    "NoParts",
    "Parts",
    "SplitLists",
    "apply_parts",
    "find_given",
    "parse_parts",
]

_EXPECTED = (
    "Expected a folder with train.txt, valid.txt (or val.txt) and test.txt, fractions such as "
    "70/15/15 or 85/15 (train/valid), or none."
)


@dataclass(frozen=True, slots=True)
class NoParts:
    """``none``: class folders only."""


@dataclass(frozen=True, slots=True)
class Fractions:
    """Shares of train, valid and test, adding up to 1."""

    values: tuple[float, float, float] = FRACTIONS


@dataclass(frozen=True, slots=True)
class SplitLists:
    """Official lists of the fields of each part.

    Parameters
    ----------
    folder : Path
        Where the lists were read.
    entries : mapping of str to Split
        The part of each name in the lists.
    """

    folder: Path
    entries: Mapping[str, Split]

    def assign(self, names: Iterable[str]) -> tuple[dict[str, Split], list[str]]:
        """Find the part of each field.

        Parameters
        ----------
        names : iterable of str
            Fields' paths; a list may name them by path or by name, with or without suffix.

        Returns
        -------
        parts : dict of str to Split
            The part of each field that is in a list.
        problems : list of str
            Fields in no list, and listed names without a field.

        Raises
        ------
        SplitError
            If none of the fields is in a list, or a field is in two.
        """
        lookup = Lookup(self.entries.items())
        parts: dict[str, Split] = {}
        unlisted = []
        for name in names:
            found = lookup.find(name)
            if len(found) > 1:
                raise SplitError(
                    f"{self.folder}: the field {name!r} is in the lists of {' and '.join(found)}. "
                    "Keep it in one."
                )
            if found:
                parts[name] = found[0]
            else:
                unlisted.append(name)
        if not parts:
            raise SplitError(
                f"{self.folder}: the lists name none of the fields. They name, for instance, "
                f"{some(list(self.entries), 3)!r}; the fields are {some(unlisted, 3)!r}."
            )
        return parts, self._problems(list(parts), unlisted)

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
class GivenSplit:
    """The split that the folders, the file names or ``data.yaml`` of a dataset give.

    Parameters
    ----------
    entries : mapping of str to Split
        The split of each field, by its name.
    """

    entries: Mapping[str, Split]

    def assign(self, names: Iterable[str]) -> tuple[dict[str, Split], list[str]]:
        """Return the split of each field that has one, and what is wrong with the others."""
        found = {name: self.entries[name] for name in names if name in self.entries}
        without = [name for name in names if name not in self.entries]
        if not without:
            return found, []
        problem = (
            f"{counted(len(without), 'field')} in none of the splits {', '.join(self.present)}, "
            f"left out: {some(without)}"
        )
        return found, [problem]

    @property
    def present(self) -> list[str]:
        """The splits that have fields."""
        return [split for split in SPLITS if split in self.entries.values()]


Parts: TypeAlias = NoParts | Fractions | SplitLists | GivenSplit


def find_given(fields: Iterable[AnnotatedField]) -> tuple[GivenSplit | None, list[str]]:
    """Return the split that a dataset comes with, and what is to be said about it.

    A dataset comes with a split if its fields are in ``train`` and in at least one other.
    """
    given = GivenSplit({field.name: field.split for field in fields if field.split})
    present = given.present
    if "train" in present and len(present) > 1:
        return given, [f"The split of the dataset was kept: {', '.join(present)}."]
    if present:
        note = (
            f"All fields with a split are in {', '.join(present)}; training needs train and at "
            "least one other split, so new splits were made."
        )
        return None, [note]
    return None, []


def parse_parts(spec: str | None, lists: Path | None = None) -> Parts | None:
    """Understand ``--split``.

    Parameters
    ----------
    spec : str or None
        ``"none"``; fractions or percentages of train, valid and test (``70/15/15``,
        ``0.7/0.15/0.15``) or of train and valid (``85/15``); or a folder of lists.
    lists : Path, optional
        Where official lists usually stand, taken if `spec` is None and they exist.

    Returns
    -------
    Parts or None
        None if nothing was asked for and there are no official lists.

    Raises
    ------
    SplitError
        If `spec` is none of these, the numbers add up to neither 1 nor 100, or a name is in two
        lists.
    """
    if spec is None:
        return _read_lists(lists) if lists and (lists / "train.txt").is_file() else None
    if spec.strip().casefold() == "none":
        return NoParts()
    if re.fullmatch(r"[\d.\s]+(/[\d.\s]+)+", spec):
        return _parse_fractions(spec)
    if not Path(spec).is_dir():
        raise SplitError(f"--split {spec} is no folder. {_EXPECTED}")
    return _read_lists(Path(spec))


def apply_parts(dataset: Dataset, parts: Parts | None, seed: int) -> Dataset:
    """Give samples their parts by fractions (`FRACTIONS` where `parts` is None), or no parts.

    Lists and given splits are applied to fields, with `SplitLists.assign` and `GivenSplit.assign`;
    samples keep the split they came with.
    """
    if isinstance(parts, SplitLists | GivenSplit):
        return dataset
    if isinstance(parts, NoParts):
        return dataset.with_samples(_without_part(sample) for sample in dataset)
    return split_dataset(dataset, (parts or Fractions()).values, seed)


def _without_part(sample: Sample) -> Sample:
    return replace(sample, split=None)


def _parse_fractions(spec: str) -> Fractions:
    try:
        values = [float(value) for value in spec.split("/")]
    except ValueError:
        values = []
    total = sum(values)
    whole = next((w for w in (1, 100) if abs(total - w) <= 0.001 * w), None)
    if len(values) not in (2, 3) or whole is None or not values[0]:
        raise SplitError(
            f"--split {spec}: two or three numbers that add up to 1 or 100 were expected, "
            f"with some for train. {_EXPECTED}"
        )
    train, valid, test = (value / total for value in (*values, 0.0)[:3])
    return Fractions((train, valid, test))


def _read_lists(folder: Path) -> SplitLists:
    entries: dict[str, Split] = {}
    seen: set[Split] = set()
    for path in sorted(folder.glob("*.txt")):
        # `trainval.txt` and the lists per class, usual in Pascal VOC, are no parts.
        split = find_split(path.stem)
        if split is None:
            continue
        seen.add(split)
        for line in read_text(path).content.splitlines():
            name = line.strip()
            if name and entries.setdefault(name, split) != split:
                raise SplitError(
                    f"{path}: {name!r} is in the list of {entries[name]} too. Keep it in one."
                )
    if "train" not in seen or not entries:
        lists = ", ".join(split for split in SPLITS if split in seen) or "none"
        raise SplitError(f"{folder} has no list train.txt with names. Found: {lists}. {_EXPECTED}")
    return SplitLists(folder, entries)
