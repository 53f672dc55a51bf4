"""Choosing the classes of a dataset from its names, and the message that reports them.

Every command uses the same rule for class folders and box files: names are kept, unless a taxonomy
was requested, or they are all spellings of RBC, WBC and Platelets, or the eight of PBC. A mapping
of several names to a single class is an error.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from hematovision.errors import TaxonomyError
from hematovision.paths import shown
from hematovision.taxonomy import (
    FOLDERS,
    TAXONOMIES,
    Taxonomy,
    get_taxonomy,
    names_pbc8,
    normalise,
    suggested_taxonomy,
)

__all__ = ["ClassChoice", "choose_classes", "choose_taxonomy"]

_How: TypeAlias = Literal["names", "words", "pbc8", "requested", "given"]

_KEEP = f"To keep the names as they are: --taxonomy {FOLDERS}"


@dataclass(frozen=True)
class ClassChoice:
    """The classes of a dataset, and how its names were mapped to them; see `choose_classes`."""

    taxonomy: Taxonomy
    spellings: Mapping[str, tuple[str, ...]]  # names of each class; empty for one without images
    how: _How  # kept, spellings of the three words, the eight of PBC, requested by name, passed in
    what: str  # the origin of the names, such as "folder names"

    @property
    def sentence(self) -> str:
        """One line for the user: ``Classes: EOSINOPHIL, MONOCYTE (folder names)``."""
        classes = ", ".join(
            _with_spellings(label, names, mapped=self.how in {"pbc8", "requested", "given"})
            for label, names in self.spellings.items()
        )
        missing = ", ".join(label for label, names in self.spellings.items() if not names)
        further = [f"no images of {missing}"] if missing else []
        further += [self.taxonomy.note] if self.taxonomy.note else []
        return f"Classes: {classes}{self._reason(''.join(f'; {one}' for one in further))}"

    def _reason(self, further: str) -> str:
        renamed = any(set(names) - {label} for label, names in self.spellings.items())
        match self.how:
            case "names" | "words" | "given" if not renamed:
                return f" ({self.what}{further})"
            case "names":
                return f": {self.what}; case and separators make no difference"
            case "words":
                return f": spellings of RBC, WBC and Platelets{further}. {_KEEP}"
            case "pbc8":
                return f": mapped from the eight PBC classes{further}. {_KEEP}"
            case "requested" | "given":
                known = self.taxonomy.name in TAXONOMIES
                to = f"by the taxonomy {self.taxonomy.name}" if known else "to the classes given"
                return f": mapped {to}{further}"


def choose_classes(
    spellings: Mapping[str, int],
    requested: Taxonomy | str | None,
    *,
    where: str,
    what: str = "folder names",
) -> ClassChoice:
    """Choose the classes of a dataset from the names in it.

    `spellings` are the names found, with the number of images or boxes of each. `requested` is a
    taxonomy, the name of one, or ``"folders"`` to keep the names; None is `suggested_taxonomy`,
    which keeps them unless they are the three words or the eight classes of PBC. Names that differ
    only in case and separators are one class. `where` and `what` describe the names in messages.

    Raises `TaxonomyError` if the taxonomy is unknown or lacks a name, several names would become
    one class, fewer than two classes were found, or a name can't be a class.
    """
    _check_text(spellings, where)
    taxonomy, how = _taxonomy(spellings, requested, where)
    unknown = [f"{name!r} ({n})" for name, n in spellings.items() if taxonomy.find(name) is None]
    if unknown:
        raise TaxonomyError(
            f"{where}: {', '.join(unknown)} {'is' if len(unknown) == 1 else 'are'} not in the "
            f"taxonomy {taxonomy.name!r}, whose classes are {', '.join(taxonomy.classes)} (and "
            f"their usual spellings). {_what_to_do(how)}"
        )
    meant = defaultdict[str, list[str]](list)
    for name in sorted(spellings):
        meant[taxonomy.resolve(name)].append(name)
    _check_several(meant, taxonomy, how, where)
    return ClassChoice(
        taxonomy, {label: tuple(meant[label]) for label in taxonomy.classes}, how, what
    )


def choose_taxonomy(
    spellings: Mapping[str, int], requested: Taxonomy | str | None, *, where: str
) -> Taxonomy:
    """Return the taxonomy of `choose_classes`."""
    return choose_classes(spellings, requested, where=where).taxonomy


def _taxonomy(
    spellings: Iterable[str], requested: Taxonomy | str | None, where: str
) -> tuple[Taxonomy, _How]:
    if isinstance(requested, Taxonomy):
        return requested, "given"
    if requested is not None and requested != FOLDERS:
        return get_taxonomy(requested), "requested"
    suggested = suggested_taxonomy(spellings) if requested is None else None
    if suggested is None:
        return _merged(spellings, where), "names"
    return suggested, "pbc8" if names_pbc8(spellings) else "words"


def _merged(spellings: Iterable[str], where: str) -> Taxonomy:
    """Keep names as classes; those that differ only in case or separators are one class."""
    merged: dict[str, str] = {}
    for spelling in sorted(spellings):
        first = merged.setdefault(normalise(spelling), spelling)
        if _plain(first) != _plain(spelling):
            raise TaxonomyError(
                f"{where}: the classes {first!r} and {spelling!r} differ only in signs or accents, "
                "which class names ignore. Rename one of them, for example "
                "'positive' for '+'."
            )
    if len(merged) == 1:
        (only,) = merged.values()
        raise TaxonomyError(
            f"{where}: there is only one class, {only!r}; a classifier needs at least two. Add "
            "images of another class."
        )
    return Taxonomy.of_folders(merged.values())


def _plain(spelling: str) -> str:
    """Remove differences that never distinguish classes: case, and separators before letters."""
    text = unicodedata.normalize("NFKC", spelling).casefold().strip()
    return re.sub(r"[\s_-]+(?=\w)", "", text)


def _what_to_do(how: _How) -> str:
    if how == "given":
        return "Rename them, or move them out of the dataset."
    return (
        "Rename them, or choose another taxonomy with --taxonomy "
        f"(--taxonomy {FOLDERS} keeps the names)."
    )


def _check_text(spellings: Iterable[str], where: str) -> None:
    for name in spellings:
        if shown(name) != name:
            raise TaxonomyError(
                f"{where}: the class '{shown(name)}' has a name with bytes that are not UTF-8, or "
                "with characters that can't be displayed. Rename it."
            )


def _check_several(
    meant: Mapping[str, list[str]], taxonomy: Taxonomy, how: _How, where: str
) -> None:
    """Raise an error if several names map to a single class."""
    names = {normalise(name) for spellings in meant.values() for name in spellings}
    if len(meant) > 1 or len(names) < 2:
        return
    (label,) = meant
    keep = "" if how == "given" else f"Keep the names with --taxonomy {FOLDERS}, or add"
    raise TaxonomyError(
        f"{where}: {', '.join(meant[label])} all mean {label} in the taxonomy "
        f"{taxonomy.name!r}, which leaves one class. {keep or 'Add'} images of another of its "
        f"classes ({', '.join(taxonomy.classes)})."
    )


def _with_spellings(label: str, names: tuple[str, ...], *, mapped: bool) -> str:
    other = mapped and any(normalise(name) != normalise(label) for name in names)
    if other or set(names) - {label}:
        return f"{label} ({', '.join(names)})"
    return label
