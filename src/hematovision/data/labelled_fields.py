"""Annotated fields as whole images with boxes, for evaluating and fitting detectors.

The formats are those of `hematovision.data.formats`. Fields are read when they are needed; class
names and splits are read at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.data.formats import FORMATS
from hematovision.data.formats.annotations import AnnotatedField, Annotations, some
from hematovision.data.formats.layout import without_wrapper
from hematovision.data.formats.reading import detect_format, read_fields
from hematovision.data.frames import find_frame
from hematovision.data.samples import SPLITS, Split
from hematovision.data.source_splits import locate, parse_split
from hematovision.errors import AnnotationError, DatasetError, TaxonomyError
from hematovision.images.boxes import clip_box
from hematovision.paths import valid_text
from hematovision.taxonomy import RBC_WBC_PLATELETS, Taxonomy

__all__ = ["LabelledField", "LabelledFields", "LoadedField", "read_labelled_fields"]


@dataclass(frozen=True, eq=False)
class LoadedField:
    """The pixels and cells of one annotated field."""

    pixels: NDArray[np.uint8]  # shape (H, W, 3): RGB, upright
    boxes: NDArray[np.float64]  # shape (N, 4): xmin, ymin, xmax, ymax in pixels, within the field
    labels: NDArray[np.int64]  # shape (N,): class indices
    problems: tuple[str, ...] = ()  # boxes that were left out, with the file and line
    note: str = ""  # how boxes were scaled or turned, if they were


@dataclass(frozen=True)
class LabelledField:
    """One annotated field on disk."""

    source: AnnotatedField
    taxonomy: Taxonomy
    lab: str
    group: str  # fields that must stay together: a field and its augmented copies, or a patient
    split: Split | None = None

    @property
    def image(self) -> Path:
        """The image file."""
        return self.source.image

    @property
    def name(self) -> str:
        """The image's path in its folder, without suffix if that is unique."""
        return self.source.name

    def load(self) -> LoadedField:
        """Read the image, and return its cells in pixels of the upright image.

        Boxes are clipped to the field; degenerate ones are left out and listed as problems.

        Raises
        ------
        ImageError
            If the image can't be read.
        AnnotationError
            If the size in the box file contradicts the image.
        """
        pixels = images.read(self.image)
        height, width = pixels.shape[:2]
        try:
            frame = find_frame(self.image, (width, height), self.source.size)
        except AnnotationError as error:
            raise AnnotationError(f"{self.source.where}: {self.name}: {error}") from error
        boxes, labels, problems = [], [], []
        for named in self.source.boxes:
            exact = frame.upright(self.source.box_in_pixels(named.box, width, height, digits=9))
            try:
                boxes.append(clip_box(exact, width, height))
            except AnnotationError as error:
                problems.append(f"{named.where}: {error}; it was left out")
                continue
            labels.append(self.taxonomy.index(self.taxonomy.resolve(named.label)))
        return LoadedField(
            pixels,
            np.array(boxes, np.float64).reshape(-1, 4),
            np.array(labels, np.int64),
            tuple(problems),
            frame.note,
        )


@dataclass(frozen=True)
class LabelledFields:
    """The annotated fields of one folder."""

    root: Path
    taxonomy: Taxonomy
    fields: tuple[LabelledField, ...]
    # the classes with a box anywhere in the folder, in any split; the others were not annotated
    annotated: tuple[str, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.fields)

    def __iter__(self) -> Iterator[LabelledField]:
        return iter(self.fields)

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits that have fields, in the order train, valid, test."""
        present = {field.split for field in self.fields}
        return tuple(split for split in SPLITS if split in present)

    def subset(self, split: Split) -> LabelledFields:
        """Return the fields of one split."""
        return self.with_fields(field for field in self.fields if field.split == split)

    def with_fields(self, fields: Iterable[LabelledField]) -> LabelledFields:
        """Return this folder with other fields; `annotated` stays."""
        return replace(self, fields=tuple(fields))


def read_labelled_fields(
    source: Path,
    *,
    format: str | None = None,  # noqa: A002  # as in `import_dataset`
    annotations: Path | None = None,
    names: Sequence[str] | None = None,
    split: str | None = None,
    groups: str | None = None,
    lab: str | None = None,
    taxonomy: Taxonomy = RBC_WBC_PLATELETS,
) -> LabelledFields:
    """Read annotated fields, including those without a box; no image is opened.

    Parameters
    ----------
    source : Path
        The folder; `hematovision.data.formats` describes the layouts.
    format : str, optional
        One of `hematovision.data.formats.FORMATS`; detected by default.
    annotations : Path, optional
        Folder or file with the boxes, if outside `source`.
    names : sequence of str, optional
        The names of classes 0, 1, 2, ... (yolo).
    split : str, optional
        A folder with the lists ``train.txt``, ``valid.txt`` or ``val.txt``, ``test.txt``, or
        ``none``; by default the split of `source`, if it has one. Fields in none of its splits are
        left out and listed as problems.
    groups : str, optional
        ``FILE:COLUMN``, as in `import_dataset`.
    lab : str, optional
        Name of the lab; by default the name of `source`.
    taxonomy : Taxonomy
        The classes; finer ones, such as ``neutrophil``, are mapped to them.

    Raises
    ------
    DatasetError
        If there are no annotated fields; a `TaxonomyError` if boxes have other classes, an
        `AnnotationError` or `SplitError` if a file or list can't be used.
    """
    source = Path(source)
    if not source.is_dir():
        raise DatasetError(f"The source {source} is not a folder. Pass a folder of fields.")
    form = format or detect_format(source)
    _check_format(form, source)
    root = source.resolve()
    found = read_fields(root, form, annotations, names)
    _check_classes(found, taxonomy, source)
    lists = FORMATS[form].split_lists
    choice = parse_split(split, without_wrapper(root) / lists if lists else None)
    located = locate(found.fields, root, valid_text(lab or root.name), groups, choice)
    fields = (
        LabelledField(field, taxonomy, place.lab, place.group, place.split)
        for field in located.fields
        if (place := located.places[field.name])
    )
    present = {taxonomy.resolve(label) for label in found.spellings()}
    return LabelledFields(
        root,
        taxonomy,
        tuple(fields),
        tuple(label for label in taxonomy.classes if label in present),
        (*found.problems, *located.problems),
        found.notes,
    )


def _check_format(form: str, source: Path) -> None:
    if form == "folders":
        raise DatasetError(
            f"{source} has class folders, images of single cells. A detector needs whole fields "
            "with boxes: Pascal VOC, YOLO, CSV, COCO, GeoJSON or Label Studio."
        )
    if form not in FORMATS:
        raise DatasetError(f"`format` must be one of {', '.join(FORMATS)}. Received: {form!r}")


def _check_classes(found: Annotations, taxonomy: Taxonomy, source: Path) -> None:
    if found.whole:
        raise DatasetError(
            f"The tables in {source} have labels but no boxes. A detector needs fields with boxes."
        )
    spellings: Counter[str] = found.spellings()
    unknown = [f"{name!r} ({n})" for name, n in spellings.items() if not taxonomy.find(name)]
    if unknown:
        numbered = all(name.isdigit() for name in spellings)
        hint = "Name the classes with --names, in the order of their numbers." if numbered else ""
        raise TaxonomyError(
            f"{source}: the boxes have classes that a detector cannot predict: {some(unknown)}. "
            f"Its classes are {', '.join(taxonomy.classes)} (and their usual spellings). "
            f"{hint or 'Rename these classes, or remove their boxes.'}"
        )
    if not spellings:
        raise DatasetError(" ".join([f"No usable boxes in {source}.", *found.problems[:3]]))
