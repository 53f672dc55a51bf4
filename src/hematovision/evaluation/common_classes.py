"""What two models with different classes can both say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import TaxonomyError
from hematovision.taxonomy import Taxonomy

__all__ = ["OTHER", "CommonClasses"]

OTHER = "another class"
"""Where an answer goes that only one of the two models can give: it is never right."""


@dataclass(frozen=True)
class CommonClasses:
    """The classes in which two models are compared; make them with `of`.

    Parameters
    ----------
    taxonomy : Taxonomy
        The coarser of the two taxonomies: the one that knows most classes of the other, by name or
        alias. Datasets are read with it.
    classes : tuple of str
        Those of its classes that both models can say, and `OTHER` if either can say more.
    columns : tuple of two tuples of int
        For each class of the first, and of the second model, its position in `classes`.
    names : tuple of two mappings of str to str
        The same as names, for a reader; only where the name changes.
    """

    taxonomy: Taxonomy
    classes: tuple[str, ...]
    columns: tuple[tuple[int, ...], tuple[int, ...]]
    names: tuple[Mapping[str, str], Mapping[str, str]]

    @classmethod
    def of(cls, first: Taxonomy, second: Taxonomy) -> CommonClasses:
        """Find what both taxonomies can say.

        A class is the same in both if one taxonomy knows the other's name for it: ``neutrophil``
        is an alias of ``WBC``, so a model of eight classes is compared with one of three in those
        three.

        Raises
        ------
        TaxonomyError
            If they share fewer than two classes.
        """
        known = [_known(first, second), _known(second, first)]
        base, other = (second, first) if known[1] > known[0] else (first, second)
        meant = [
            [_meaning(name, base, other) for name in taxonomy.classes]
            for taxonomy in (first, second)
        ]
        shared = tuple(name for name in base.classes if all(name in row for row in meant))
        if len(shared) < 2:
            raise TaxonomyError(
                f"The models cannot be compared: the first says {', '.join(first.classes)}; the "
                f"second says {', '.join(second.classes)}; {_both(shared)}. At least two classes "
                "must be the same, by name or alias. Compare models of like classes, or train one "
                "with --taxonomy."
            )
        further = any(name not in shared for row in meant for name in row)
        classes = (*shared, OTHER) if further else shared
        ends = [[name if name in shared else OTHER for name in row] for row in meant]
        columns = [tuple(classes.index(name) for name in row) for row in ends]
        names = [
            {name: end for name, end in zip(taxonomy.classes, row, strict=True) if name != end}
            for taxonomy, row in zip((first, second), ends, strict=True)
        ]
        return cls(base, classes, (columns[0], columns[1]), (names[0], names[1]))

    def fold(self, probabilities: NDArray[np.floating], model: int) -> NDArray[np.float64]:
        """Add up the probabilities of a model's classes that are one class here.

        Parameters
        ----------
        probabilities : ndarray of float, shape (N, C of the model)
        model : int
            0 for the first, 1 for the second.

        Returns
        -------
        ndarray of float64, shape (N, C of `classes`)
        """
        membership = np.eye(len(self.classes))[list(self.columns[model])]
        return np.asarray(probabilities, np.float64) @ membership


def _known(taxonomy: Taxonomy, other: Taxonomy) -> int:
    """Count how many classes of `other` mean one of `taxonomy`."""
    return sum(taxonomy.find(name) is not None for name in other.classes)


def _meaning(name: str, base: Taxonomy, other: Taxonomy) -> str | None:
    """Return the class of `base` that a name means to it, or the only one that means it."""
    found = base.find(name)
    if found is not None:
        return found
    meaning = [label for label in base.classes if other.find(label) == name]
    return meaning[0] if len(meaning) == 1 else None


def _both(shared: tuple[str, ...]) -> str:
    return f"both say only {shared[0]}" if shared else "they have none in common"
