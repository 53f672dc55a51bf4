"""Datasets: samples with a class, a split, a group and a lab."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from hematovision.images.boxes import Box
from hematovision.paths import escape_name
from hematovision.taxonomy import Taxonomy

__all__ = ["SPLITS", "SPLIT_FOLDERS", "Dataset", "Sample", "Split"]

Split: TypeAlias = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
SPLIT_FOLDERS: Mapping[Split, str] = {"train": "Train", "valid": "Valid", "test": "Test"}


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
    """

    path: Path
    label: str
    split: Split | None = None
    group: str = ""
    lab: str | None = None
    box: Box | None = None


@dataclass(frozen=True)
class Dataset:
    """Samples under one root with the labels of one taxonomy, sorted by path."""

    root: Path
    taxonomy: Taxonomy
    samples: tuple[Sample, ...]

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

    def relative(self, sample: Sample) -> str:
        """Return the sample's path relative to the root for tables; see `escape_name`."""
        return escape_name(sample.path.relative_to(self.root).as_posix())
