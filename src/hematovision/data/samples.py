"""Datasets: samples with a class, a split, a group and a lab."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from hematovision.frames import data_frame
from hematovision.images.boxes import Box
from hematovision.paths import escape_name
from hematovision.plurals import counted
from hematovision.rows import ERROR, Column, Schema
from hematovision.taxonomy import Taxonomy

if TYPE_CHECKING:
    from hematovision.frames import DataFrame

__all__ = ["SPLITS", "SPLIT_FOLDERS", "Dataset", "Sample", "Split"]

Split: TypeAlias = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
SPLIT_FOLDERS: Mapping[Split, str] = {"train": "Train", "valid": "Valid", "test": "Test"}

_COLUMNS = ("path", "label", "split", "group", "lab", ERROR)
_SCHEMA = Schema(tuple(Column(name) for name in _COLUMNS))


@dataclass(frozen=True, slots=True)
class Sample:
    """One cell image on disk.

    Parameters
    ----------
    path : Path
        The image file.
    label : str
        A class of the dataset's taxonomy.
    split : {"train", "valid", "test"} or None
        None if there is no split yet.
    group : str
        Images that must stay in one split, such as those of a field or patient; by default the
        file's path relative to the dataset.
    lab : str or None
        Where the image comes from (stain, optics, camera), if known.
    box : Box or None
        The cell's box in its field, if known.

    Examples
    --------
    >>> import hematovision
    >>> sample = hematovision.read_dataset("cells").samples[0]
    >>> sample.path.as_posix(), sample.label, sample.split
    ('cells/Test/Platelets/cell0.png', 'Platelets', 'test')
    """

    path: Path
    label: str
    split: Split | None = None
    group: str = ""
    lab: str | None = None
    box: Box | None = None


@dataclass(frozen=True)
class Dataset:
    """Samples under one root with the labels of one taxonomy, sorted by path.

    Parameters
    ----------
    root : Path
        The folder with the splits or classes.
    taxonomy : Taxonomy
        The classes.
    samples : tuple of Sample
        The images.

    Examples
    --------
    >>> import hematovision
    >>> dataset = hematovision.read_dataset("cells")
    >>> dataset
    Dataset('cells', 30 images: 10 RBC, 10 WBC, 10 Platelets; train, valid, test)
    >>> dataset.subset("test").counts()
    {'RBC': 2, 'WBC': 2, 'Platelets': 2}
    >>> dataset.to_pandas()["label"].tolist().count("WBC")
    10
    """

    root: Path
    taxonomy: Taxonomy
    samples: tuple[Sample, ...]

    def __repr__(self) -> str:
        found = ", ".join(f"{n:,} {label}" for label, n in self.counts().items())
        splits = f"; {', '.join(self.splits)}" if self.splits else ""
        return f"Dataset({str(self.root)!r}, {counted(len(self), 'image')}: {found}{splits})"

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class indices in the taxonomy's order, shape (N,)."""
        position = {label: i for i, label in enumerate(self.taxonomy.classes)}
        return np.array([position[sample.label] for sample in self.samples], dtype=np.int64)

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits that have samples, in the order train, valid, test."""
        present = {sample.split for sample in self.samples}
        return tuple(split for split in SPLITS if split in present)

    def subset(self, split: Split) -> Dataset:
        """Return the samples of one split."""
        return self.with_samples(s for s in self.samples if s.split == split)

    def with_samples(self, samples: Iterable[Sample]) -> Dataset:
        """Return this dataset with other samples."""
        return replace(self, samples=tuple(samples))

    def counts(self) -> dict[str, int]:
        """Return the number of samples per class, including 0, in the taxonomy's order."""
        found = Counter(sample.label for sample in self.samples)
        return {label: found[label] for label in self.taxonomy.classes}

    def to_pandas(self) -> DataFrame:
        """Return a data frame with a row per sample: path, label, split, group, lab.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        rows = (
            {
                "path": str(one.path),
                "label": one.label,
                "split": one.split or "",
                "group": one.group,
                "lab": one.lab or "",
                "error": "",
            }
            for one in self.samples
        )
        return data_frame(_SCHEMA, rows).drop(columns=ERROR)

    def relative(self, sample: Sample) -> str:
        """Return the sample's path relative to the root for tables; see `escape_name`."""
        return escape_name(sample.path.relative_to(self.root).as_posix())
