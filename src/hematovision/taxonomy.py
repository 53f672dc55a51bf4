"""Taxonomies: named, ordered lists of classes, with the accepted spellings of each.

A taxonomy maps the class names of folders, annotation files and columns to its classes. Aliases
also map finer classes to coarser ones: an ``erythroblast`` is an ``RBC`` in `RBC_WBC_PLATELETS`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hematovision.errors import TaxonomyError

__all__ = [
    "FIVE_KINDS", "FOLDERS", "PBC8", "RBC_WBC_PLATELETS", "TAXONOMIES", "WHITE_CELLS", "Taxonomy",
    "get_taxonomy", "names_pbc8", "normalise", "suggested_taxonomy",
]  # fmt: skip

FOLDERS = "folders"
"""The taxonomy name that keeps the class names as found."""


_LONGEST_LABEL = 200
_UNREADABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def normalise(spelling: str) -> str:
    """Reduce a spelling to lower-case letters and digits without accents.

    >>> normalise("Red Blood-Cells")
    'redbloodcells'
    """
    decomposed = unicodedata.normalize("NFKD", spelling)
    return re.sub(r"[\W_]+", "", decomposed.casefold())


def _check_labels(name: str, labels: tuple[str, ...]) -> None:
    """Check that class names are unique, printable and at most 200 characters long.

    Control characters, lone surrogates (from folder names that are not UTF-8) and marks that change
    the direction of text are rejected.
    """
    for position, label in enumerate(labels):
        if label in labels[:position]:
            problem = "appears twice, so its table columns would be ambiguous"
        elif len(label) > _LONGEST_LABEL:
            problem = f"has {len(label)} characters; at most {_LONGEST_LABEL} are allowed"
        elif any(unicodedata.category(c) in _UNREADABLE or c in _TURNING for c in label):
            problem = "has a character that cannot be displayed"
        else:
            continue
        raise TaxonomyError(
            f"In taxonomy {name!r} the class {label[:_LONGEST_LABEL]!r} {problem}. Rename its "
            "folder. If the taxonomy comes with a model, use the model only if you trust its "
            "origin."
        )


@dataclass(frozen=True)
class Taxonomy:
    """A named, ordered list of classes with their aliases.

    Parameters
    ----------
    name : str
        The taxonomy's name, such as ``"pbc8"``.
    classes : tuple of str
        At least two different class names, in the order of a model's outputs.
    aliases : mapping of str to tuple of str
        Additional spellings of each class. A class name and its plural in ``s`` are always
        accepted. A normalised spelling may mean one class only.

    Raises
    ------
    TaxonomyError
        If there are fewer than two classes, a name is repeated or not printable, or a spelling is
        ambiguous.

    Examples
    --------
    >>> import hematovision
    >>> mine = hematovision.Taxonomy("mine", ("blast", "other"), {"blast": ("blast cell",)})
    >>> mine.find("Blast cells"), mine.find("platelet")
    ('blast', None)
    >>> hematovision.RBC_WBC_PLATELETS
    Taxonomy('rbc-wbc-platelets': RBC, WBC, Platelets)
    """

    name: str
    classes: tuple[str, ...]
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    _by_spelling: Mapping[str, str] = field(init=False, repr=False, compare=False, hash=False)

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise TaxonomyError(
                f"Taxonomy {self.name!r} has the classes {list(self.classes)}; a classifier needs "
                "at least two. Add images of another class."
            )
        _check_labels(self.name, self.classes)
        by_spelling: dict[str, str] = {}
        for label in self.classes:
            for spelling in (label, *self.aliases.get(label, ())):
                key = normalise(spelling)
                known = by_spelling.setdefault(key, label)
                if not key or known != label:
                    raise TaxonomyError(
                        f"In taxonomy {self.name!r} the spelling {spelling!r} of class {label!r} "
                        f"is {'empty' if not key else f'already used by class {known!r}'}. "
                        "Each spelling may mean one class only."
                    )
        for key, label in list(by_spelling.items()):
            by_spelling.setdefault(key + "s", label)
        object.__setattr__(self, "_by_spelling", by_spelling)

    def __repr__(self) -> str:
        return f"Taxonomy({self.name!r}: {', '.join(self.classes)})"

    def find(self, spelling: str) -> str | None:
        """Return the class that `spelling` means, or None."""
        return self._by_spelling.get(normalise(spelling))

    @property
    def note(self) -> str:
        """What the class names alone do not show, in words; empty for most taxonomies.

        >>> import hematovision
        >>> hematovision.RBC_WBC_PLATELETS.note
        'nucleated red cells count as RBC'
        """
        label = self.find("erythroblast")
        if label is None or normalise(label) in map(normalise, _pbc8_spellings("erythroblast")):
            return ""
        return f"nucleated red cells count as {label}"

    def resolve(self, spelling: str) -> str:
        """Return the class that `spelling` means.

        Raises
        ------
        TaxonomyError
            If it means none of this taxonomy's classes.
        """
        label = self.find(spelling)
        if label is None:
            raise TaxonomyError(
                f"{spelling!r} is not a class of taxonomy {self.name!r}. Known classes: "
                f"{', '.join(self.classes)} (and their usual spellings). Rename it, or choose "
                "another taxonomy with --taxonomy (--taxonomy folders keeps the names)."
            )
        return label

    def index(self, label: str) -> int:
        """Return the position of class `label` in a model's outputs."""
        return self.classes.index(label)

    def to_json(self) -> dict[str, object]:
        """Return a JSON-serialisable description; see `from_json`."""
        return {
            "name": self.name,
            "classes": list(self.classes),
            "aliases": {label: list(names) for label, names in self.aliases.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> Taxonomy:
        """Rebuild a taxonomy from `to_json`'s output.

        Raises
        ------
        TaxonomyError
            If `value` does not describe a taxonomy.
        """
        name, classes, aliases = value.get("name"), value.get("classes"), value.get("aliases", {})
        if not (isinstance(name, str) and isinstance(classes, list) and isinstance(aliases, dict)):
            raise TaxonomyError(
                "A taxonomy is described by `name` (text), `classes` (list) and `aliases` "
                f"(object). Received: {repr(value)[:80]}"
            )
        return cls(name, tuple(map(str, classes)), {k: tuple(v) for k, v in aliases.items()})

    @classmethod
    def of_folders(cls, names: Iterable[str]) -> Taxonomy:
        """Return the taxonomy ``folders`` with the given class names, sorted."""
        return cls(FOLDERS, tuple(sorted(set(names), key=lambda name: (name.casefold(), name))))


PBC8 = Taxonomy(
    "pbc8",
    (
        "basophil", "eosinophil", "erythroblast", "ig", "lymphocyte", "monocyte", "neutrophil",
        "platelet",
    ),
    {
        "basophil": ("ba", "baso"),
        "eosinophil": ("eo", "eos", "eosino"),
        "erythroblast": ("erb", "normoblast", "nrbc", "nucleated red blood cell"),
        "ig": (
            "immature granulocyte", "promyelocyte", "myelocyte", "metamyelocyte", "pmy", "my", "mmy"
        ),
        "lymphocyte": ("ly", "lymph", "lympho"),
        "monocyte": ("mo", "mono"),
        "neutrophil": (
            "neu", "neut", "ne", "band neutrophil", "segmented neutrophil", "bne", "sne"
        ),
        "platelet": ("plt", "thrombocyte"),
    },
)  # fmt: skip
"""Eight classes of peripheral blood cells: Acevedo et al. 2020, Data in Brief 30:105474."""

_WHITE = ("basophil", "eosinophil", "ig", "lymphocyte", "monocyte", "neutrophil")


def _pbc8_spellings(*labels: str) -> tuple[str, ...]:
    return tuple(name for label in labels for name in (label, *PBC8.aliases.get(label, ())))


def _kinds(name: str, *labels: str) -> Taxonomy:
    return Taxonomy(name, labels, {label: PBC8.aliases[label] for label in labels})


FIVE_KINDS = _kinds("five-kinds", "basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil")
"""The five kinds of a normal differential count."""

WHITE_CELLS = _kinds(
    "white-cells", "basophil", "eosinophil", "erythroblast", "ig", "lymphocyte", "monocyte",
    "neutrophil",
)  # fmt: skip
"""The nucleated cells of a blood film by kind: the classes of `PBC8` without platelets."""

_WORDS = Taxonomy(
    name="rbc-wbc-platelets",
    classes=("RBC", "WBC", "Platelets"),
    aliases={
        "RBC": ("red blood cell", "red cell", "red", "erythrocyte"),
        "WBC": ("white blood cell", "white cell", "white", "leukocyte", "leucocyte"),
        "Platelets": ("platelet", "blood platelet", "plt", "thrombocyte"),
    },
)
"""The three classes with their own spellings, without finer classes."""

RBC_WBC_PLATELETS = Taxonomy(
    name=_WORDS.name,
    classes=_WORDS.classes,
    aliases={
        "RBC": (*_WORDS.aliases["RBC"], *_pbc8_spellings("erythroblast")),
        "WBC": (*_WORDS.aliases["WBC"], *_pbc8_spellings(*_WHITE)),
        "Platelets": _WORDS.aliases["Platelets"],
    },
)
"""Red cells, white cells and platelets; the eight classes of `PBC8` map to it by alias."""

TAXONOMIES: Mapping[str, Taxonomy] = {
    t.name: t for t in (RBC_WBC_PLATELETS, PBC8, WHITE_CELLS, FIVE_KINDS)
}


def suggested_taxonomy(spellings: Iterable[str]) -> Taxonomy | None:
    """Return the taxonomy that class names suggest; None to keep the names.

    `RBC_WBC_PLATELETS` if every name is a spelling of one of its classes, or if the names are
    exactly the eight of `PBC8`. A finer class such as ``neutrophil`` is not a spelling of ``WBC``:
    its name is kept.

    Examples
    --------
    >>> suggested_taxonomy(["Red blood cells", "WBC"]).name
    'rbc-wbc-platelets'
    >>> suggested_taxonomy(["eosinophil", "neutrophil"]) is None
    True
    """
    names = list(spellings)
    if all(_WORDS.find(name) for name in names) or names_pbc8(names):
        return RBC_WBC_PLATELETS
    return None


def names_pbc8(spellings: Iterable[str]) -> bool:
    """Return whether class names are exactly those of `PBC8`, in any case, singular or plural."""
    names = {normalise(name) for name in spellings}
    return len(names) == len(PBC8.classes) and all(
        label in names or f"{label}s" in names for label in PBC8.classes
    )


def get_taxonomy(name: str) -> Taxonomy:
    """Return a taxonomy by name; raise `TaxonomyError` if it is unknown."""
    try:
        return TAXONOMIES[name]
    except KeyError:
        raise TaxonomyError(
            f"There is no taxonomy {name!r}. Choose one of {', '.join(TAXONOMIES)}, or {FOLDERS} "
            "to keep the class names as they are."
        ) from None
