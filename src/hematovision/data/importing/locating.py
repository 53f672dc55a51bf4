"""The group of each field, and its split if lists or the dataset give one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hematovision.data.groups import groups_of, read_groups, source_of
from hematovision.data.importing.annotations import AnnotatedField, counted, some, split_of
from hematovision.data.importing.crops import FieldPlace
from hematovision.data.importing.parts import (
    Fractions,
    GivenSplit,
    NoParts,
    Parts,
    SplitLists,
    find_given,
)
from hematovision.data.samples import SPLITS, Split
from hematovision.paths import escape_name

__all__ = ["Located", "find_leaks", "locate", "tell_copies", "tell_made"]


@dataclass(frozen=True)
class Located:
    """Fields with their places, and what is to be said about them.

    Parameters
    ----------
    fields : tuple of AnnotatedField
        Those that are in the split, or all where the split is yet to be made.
    places : mapping of str to FieldPlace
        By the field's name.
    parts : Parts or None
        The split that was asked for or that the dataset came with; None to make the usual one.
    problems, notes : tuple of str
        For the report.
    """

    fields: tuple[AnnotatedField, ...]
    places: Mapping[str, FieldPlace]
    parts: Parts | None
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def locate(
    fields: Sequence[AnnotatedField],
    source: Path,
    lab: str,
    groups: str | None,
    parts: Parts | None,
) -> Located:
    """Find each field's group and, where lists or the dataset give one, its split.

    Parameters
    ----------
    fields : sequence of AnnotatedField
        All fields.
    source : Path
        The imported folder.
    lab : str
        Where the images come from.
    groups : str or None
        ``FILE:COLUMN``; by default a group is a field with its augmented copies.
    parts : Parts or None
        What was asked for. A split that the dataset came with is kept where nothing was.

    Raises
    ------
    SplitError
        If a field is in no group or in two lists.
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
    given, notes = find_given(fields)
    if parts is not None:
        notes = _tell_unused(given)
    elif given is not None:
        parts = given
    problems: list[str] = []
    if isinstance(parts, SplitLists | GivenSplit):
        split, problems = parts.assign([field.name for field in fields])
        places = {name: replace(places[name], split=part) for name, part in split.items()}
        problems += find_leaks((place.group, place.split) for place in places.values())
    notes += tell_copies([field.name for field in fields])
    notes += tell_made(parts)
    kept = tuple(field for field in fields if field.name in places)
    return Located(kept, places, parts, tuple(problems), tuple(notes))


def find_leaks(members: Iterable[tuple[str, Split | None]]) -> list[str]:
    """Say which groups are in several splits, as they came.

    Parameters
    ----------
    members : iterable of (str, Split or None)
        The group and the split of each field or image.
    """
    splits: defaultdict[str, set[Split]] = defaultdict(set)
    for group, split in members:
        if split is not None:
            splits[group].add(split)
    leaks = [f"{g} ({', '.join(sorted(s))})" for g, s in sorted(splits.items()) if len(s) > 1]
    if not leaks:
        return []
    sentence = (
        f"{counted(len(leaks), 'group')} of images, such as copies of one image, in several "
        f"splits: {some(leaks)}. "
        "The split was kept as it is; results on its valid and test images will look better than "
        "they are. For a new split that keeps groups together: --split 70/15/15"
    )
    return [sentence]


def tell_copies(names: Iterable[str]) -> list[str]:
    """Say how many images are augmented copies, by their names."""
    sources = Counter(_group(name) for name in names if source_of(name))
    if not sources:
        return []
    return [
        (
            f"{sum(sources.values())} images are copies of {len(sources)} sources, by their names "
            "(NAME.rf.HASH); copies of one source are one group, which no new split separates."
        )
    ]


def _group(name: str) -> str:
    """Return the name of a field's group: of a copy that of its source, in whichever split."""
    source = source_of(name)
    if source is None:
        return name
    return source.partition("/")[2] if split_of(source) else source


def _tell_unused(given: GivenSplit | None) -> list[str]:
    if given is None:
        return []
    return [
        (
            f"The split of the dataset ({', '.join(given.present)}) was not used: another was "
            "asked for."
        )
    ]


def tell_made(parts: Parts | None) -> list[str]:
    """Say which split was made, or asked for."""
    if isinstance(parts, NoParts):
        return ["No split was made, as asked for."]
    if isinstance(parts, GivenSplit):
        return []
    if isinstance(parts, SplitLists):
        return [f"The split of the lists in {parts.folder} was used."]
    shares = (parts or Fractions()).values
    made = ", ".join(f"{share:.0%} {split}" for share, split in zip(shares, SPLITS, strict=True))
    return [f"A split was made that keeps groups together: {made}."]
