"""Exports: the cells of an analysis as annotation files for other tools.

Images are not copied. Files refer to them by their paths in the folder that all have in common:
``a/1.png`` and ``b/1.png`` for ``fields/a/1.png`` and ``fields/b/1.png``. Boxes are in pixels of
the image as displayed (of slides: of level 0), rounded to `DIGITS` decimals.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from types import TracebackType
from urllib.parse import quote

from hematovision.data.destination import unique_names
from hematovision.data.formats import FORMATS
from hematovision.data.formats.writing import (
    BoxToWrite,
    FieldToWrite,
    FieldWriter,
    Header,
    open_writer,
)
from hematovision.data.lookup import without_suffix
from hematovision.errors import OutputError
from hematovision.images.boxes import Box, intersect_box, round_box, show_box
from hematovision.rows import ERROR, Value
from hematovision.taxonomy import RBC_WBC_PLATELETS

__all__ = ["DIGITS", "Export", "open_export"]

DIGITS = 3
"""Decimals of coordinates in pixels; confidences have six, as in ``cells.csv``."""

_SIDES = ("x_min", "y_min", "x_max", "y_max")
_OWN = frozenset({"image", "row", "label", "subtype", ERROR, *_SIDES})
_URL = "/data/local-files/?d="  # Label Studio's path of files in its local storage


def open_export(
    name: str,
    folder: Path,
    *,
    images: Iterable[str] = (),
    classes: Sequence[str] = RBC_WBC_PLATELETS.classes,
    subtypes: Sequence[str] = (),
    model: str = "HematoVision",
) -> Export:
    """Open an export: files that contain the cells of fields, written as the cells come.

    Use it in a ``with`` block, or call `Export.close` or `Export.discard` at the end. Memory does
    not grow with the cells, only with the images. Older files of the same names are replaced.

    Parameters
    ----------
    name : str
        One of `FORMATS`.
    folder : Path
        Where to write; created if missing.
    images : iterable of str
        All images of the analysis, named as in its rows. Names in the files are relative to the
        folder that these have in common. Without them, they are paths as given.
    classes : sequence of str
        The classes, in the order of their ids.
    subtypes : sequence of str
        The subtypes that cells may have, for tools in which a person can choose another.
    model : str
        Name and version of the model, for formats that record it.

    Raises
    ------
    OutputError
        If there is no such format, it can only be read, or the folder can't be written.

    Examples
    --------
    >>> with open_export("coco", folder, images=["fields/1.png"]) as export:  # doctest: +SKIP
    ...     export.field("fields/1.png", 640, 480)
    ...     export.cell(row.values())
    """
    if name not in FORMATS:
        raise OutputError(f"The export must be one of {', '.join(FORMATS)}. Received: {name!r}.")
    header = Header(tuple(classes), tuple(subtypes), model or "HematoVision", images_inside=False)
    names = _Names(list(images))
    return Export(name, open_writer(name, folder, header), names, classes)


class Export:
    """An open export: `field` for each image, then `cell` for each of its cells."""

    def __init__(
        self, format_: str, writer: FieldWriter, names: _Names, classes: Sequence[str]
    ) -> None:
        self._format, self._writer, self._names, self._classes = format_, writer, names, classes
        self._clip = FORMATS[format_].fractions
        self._image: str | None = None
        self._size = (0, 0)
        self._done: set[str] = set()
        self.cells = 0
        """Number of cells written."""

    def field(self, image: str, width: int, height: int) -> None:
        """Start a field; an image without cells is a field too.

        Parameters
        ----------
        image : str
            The image as named in the rows.
        width, height : int
            Size in pixels of the image as displayed; of a slide, of level 0.

        Raises
        ------
        ValueError
            If the image was a field before, or has no size.
        """
        if image in self._done or width < 1 or height < 1:
            raise ValueError(f"not a new field: {image!r} of {width} x {height} pixels")
        self._done.add(image)
        self._image, self._size = image, (width, height)
        file, stem, url = self._names.of(image)
        with FORMATS.calling(self._format):
            self._writer.field(FieldToWrite(file, stem, self._size, url=url))

    def cell(self, values: Mapping[str, Value]) -> None:
        """Add a cell of the current field.

        Parameters
        ----------
        values : mapping
            A row of ``cells.csv`` by column.

        Raises
        ------
        ValueError
            If the row is of another image, or has no usable box, or its label is not a class.
        OutputError
            If the box is outside the image, so that its size must be wrong.
        """
        if values["image"] != self._image or values["label"] not in self._classes:
            raise ValueError(f"not a cell of {self._image!r} with a class: {dict(values)}")
        box = _box(values)
        inside = intersect_box(box, *self._size)
        if inside[0] >= inside[2] or inside[1] >= inside[3]:
            raise OutputError(
                f"The cell at {show_box(box)} is outside {self._image}, which has "
                f"{self._size[0]} x {self._size[1]} pixels. The image may have changed since it "
                "was analysed. Analyse it again."
            )
        details = {name: _short(value) for name, value in values.items() if name not in _OWN}
        subtype = str(values.get("subtype") or "")
        label = str(values["label"])
        with FORMATS.calling(self._format):
            self._writer.box(BoxToWrite(label, inside if self._clip else box, subtype, details))
        self.cells += 1

    def close(self) -> None:
        """Complete the files."""
        with FORMATS.calling(self._format):
            try:
                self._writer.close()
            except BaseException:
                self._writer.discard()
                raise

    def discard(self) -> None:
        """Give up incomplete files."""
        with FORMATS.calling(self._format):
            self._writer.discard()

    def __enter__(self) -> Export:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self.discard()


def _box(values: Mapping[str, Value]) -> Box:
    sides = [values[side] for side in _SIDES]
    numbers = [float(side) for side in sides if isinstance(side, int | float)]
    if len(numbers) == 4 and all(map(math.isfinite, numbers)):
        box = round_box((numbers[0], numbers[1], numbers[2], numbers[3]), DIGITS)
        if box[0] < box[2] and box[1] < box[3]:
            return box
    raise ValueError(f"the box of a cell must have an area. Received: {sides}")


def _short(value: Value) -> Value:
    if not isinstance(value, float):
        return value
    return round(value, 6) if math.isfinite(value) else None


class _Names:
    """The names of images in exported files."""

    def __init__(self, images: Sequence[str]) -> None:
        self._root = _common_folder(images)
        self._root_name = Path(self._root).resolve().name if self._root is not None else ""
        files = [self._file(image) for image in images]
        self._stems = dict(zip(images, _stems(files), strict=True))
        self._taken = {stem.casefold() for stem in self._stems.values()}

    def of(self, image: str) -> tuple[str, str, str]:
        """Return an image's path in the common folder, the stem of its file, and its URL."""
        file = self._file(image)
        stem = self._stems.get(image)
        if stem is None:
            # not announced: the name with its suffix if another image has the name without
            found = (
                stem for stem in (without_suffix(file), file) if stem.casefold() not in self._taken
            )
            stem = next(found, f"{file}-{len(self._taken)}")
            self._taken.add(stem.casefold())
        path = f"{self._root_name}/{file}" if self._root_name else file
        return file, stem, _URL + quote(path, errors="surrogateescape")

    def _file(self, image: str) -> str:
        """Return a path relative to the common folder, with forward slashes and nothing above."""
        path = PurePath(image)
        if self._root is not None and path.is_relative_to(self._root):
            path = path.relative_to(self._root)
        parts = [part for part in path.parts if part not in (path.anchor, "..")]
        return "/".join(parts) or "image"


def _common_folder(images: Sequence[str]) -> str | None:
    folders = {os.path.dirname(image) for image in images}  # noqa: PTH120 - a million names
    try:
        return os.path.commonpath(folders) if folders else None
    except ValueError:  # absolute and relative, or on several drives
        return None


def _stems(files: Sequence[str]) -> list[str]:
    """Return unique names without suffix; with it, if two files differ only there."""
    short = [without_suffix(file) for file in files]
    counts: dict[str, int] = {}
    for stem in short:
        counts[stem] = counts.get(stem, 0) + 1
    pairs = zip(files, short, strict=True)
    return unique_names([file if counts[stem] > 1 else stem for file, stem in pairs])
