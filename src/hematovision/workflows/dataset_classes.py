"""The classes in which a model is evaluated on a dataset whose folders may be coarser."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from hematovision.data.classes import choose_taxonomy
from hematovision.data.samples import Dataset
from hematovision.errors import TaxonomyError
from hematovision.evaluation.comparison import CommonClasses
from hematovision.taxonomy import FOLDERS, TAXONOMIES, Taxonomy
from hematovision.workflows.scoring import LabelledPredictions

__all__ = ["DatasetClasses", "classes_for"]


@dataclass(frozen=True)
class DatasetClasses:
    """How a model's predictions and a dataset's folders meet; make it with `classes_for`.

    Parameters
    ----------
    taxonomy : Taxonomy
        What the dataset is read with.
    common : CommonClasses or None
        Of `taxonomy` and the model's; None if these are one.
    """

    taxonomy: Taxonomy
    common: CommonClasses | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the metrics."""
        return self.taxonomy.classes if self.common is None else self.common.classes

    @property
    def notes(self) -> tuple[str, ...]:
        """Say which of the model's classes are added up."""
        if self.common is None:
            return ()
        meant = self.common.names[1]
        if not meant:
            return ()
        listed = (
            f"{end} ({', '.join(name for name, to in meant.items() if to == end)})"
            for end in self.common.classes
            if end in meant.values()
        )
        return (f"Model classes, summed for this dataset: {', '.join(listed)}.",)

    def relabel(self, data: Dataset) -> Dataset:
        """Return a dataset whose label indices are those of `classes`."""
        if self.common is None:
            return data
        return replace(data, taxonomy=replace(self.taxonomy, classes=self.classes))

    def fold(self, answered: LabelledPredictions) -> LabelledPredictions:
        """Add up probabilities; the model's own largest one still decides about review."""
        if self.common is None:
            return answered
        return replace(
            answered,
            probabilities=self.common.fold(answered.probabilities, 1),
            own_confidence=answered.probabilities.max(axis=1),
        )


def classes_for(
    model: Taxonomy, folders: Mapping[str, int], asked: str | None = None, *, where: str
) -> DatasetClasses:
    """Find the classes in which a model can be evaluated on a dataset.

    They are the model's own if it knows every folder, as a model of three classes knows the eight
    folders of PBC. If the folders are coarser, its probabilities are added up, as `compare` does.

    Parameters
    ----------
    model : Taxonomy
        Of the model.
    folders : mapping of str to int
        The dataset's class folders with their numbers of images.
    asked : str, optional
        The taxonomy to evaluate in, ``"folders"`` for that of the folders' names.
    where : str
        The dataset, for messages.

    Raises
    ------
    TaxonomyError
        If a folder is no class of the model, nor of a taxonomy that the model's classes fit into.
    """
    if asked is None and all(model.find(name) for name in folders):
        return DatasetClasses(model)
    for coarser in _candidates(folders, asked, where):
        common = _common(coarser, model)
        if common and {coarser.find(name) for name in folders} <= set(common.classes):
            return DatasetClasses(coarser, common)
    unknown = [f"{name!r} ({n})" for name, n in folders.items() if not model.find(name)]
    cannot = ", ".join(unknown) or f"the classes of the taxonomy {asked!r}"
    raise TaxonomyError(
        f"{where}: the model cannot predict {cannot}. Its classes are {', '.join(model.classes)} "
        "(and their usual spellings). Rename these folders, move them away, or evaluate a model "
        "that was trained on such classes."
    )


def _common(coarser: Taxonomy, model: Taxonomy) -> CommonClasses | None:
    """Return what both can say in the classes of `coarser`; None if that is less than two."""
    try:
        common = CommonClasses.of(coarser, model)
    except TaxonomyError:
        return None
    return common if common.taxonomy is coarser else None


def _candidates(folders: Mapping[str, int], asked: str | None, where: str) -> Iterable[Taxonomy]:
    """Yield the taxonomies that know every folder, the folders' own names last."""
    if asked is not None:
        yield choose_taxonomy(folders, asked, where=where)
        return
    for taxonomy in TAXONOMIES.values():
        if all(taxonomy.find(name) for name in folders):
            yield taxonomy
    if len(folders) > 1:
        yield choose_taxonomy(folders, FOLDERS, where=where)
