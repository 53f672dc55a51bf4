"""CSV: one row per box, with the columns under any of their usual names.

``SOURCE/annotations.csv`` (or the only CSV file there) and ``SOURCE/images`` (or SOURCE itself), or
``_annotations.csv`` next to the images in a folder for each split (Roboflow). Boxes are corners
(``xmin, ymin, xmax, ymax``), upper left corner and size (``x, y, width, height``, as in COCO), or
centre and size (``x_center, y_center, width, height``). They are fractions of the field if no value
in the file is above 1, else pixels. A row with an image but neither label nor box is a field
without cells. A table of images and labels without boxes describes cell images.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hematovision.data.folders import find_split
from hematovision.data.formats.annotations import (
    AnnotatedField,
    AnnotationFormat,
    Annotations,
    Collector,
    FieldImages,
    NamedBox,
    some,
    split_of,
    then,
    tidy,
    whole_number,
)
from hematovision.data.formats.layout import Place, find_places, image_folder, open_places
from hematovision.data.formats.writing import (
    BoxToWrite,
    FieldToWrite,
    FieldWriter,
    Header,
    TextFile,
)
from hematovision.data.textfiles import Row, Table, read_table
from hematovision.errors import AnnotationError, DatasetError
from hematovision.images import is_image_name
from hematovision.images.boxes import Box, Size
from hematovision.paths import csv_text
from hematovision.plurals import counted
from hematovision.taxonomy import normalise

__all__ = ["CsvTable", "find_table"]

# In order of preference, normalised: a file name is preferred to a numeric `image_id`.
_IMAGE = ("image", "filename", "file", "imagename", "imagefilename", "imagepath", "path",
          "filepath", "imagefile", "img", "imgname", "imgpath", "fname", "field",
          "imageid")  # fmt: skip
_LABEL = ("label", "class", "classname", "labelname", "classlabel", "celltype", "category",
          "categoryname", "type", "name")  # fmt: skip
_SPLIT = ("split", "subset", "set", "partition")
_CORNERS = (
    ("xmin", "x1", "left", "minx", "bboxxmin", "bboxx1", "boxxmin", "xtl", "xstart", "xleft"),
    ("ymin", "y1", "top", "miny", "bboxymin", "bboxy1", "boxymin", "ytl", "ystart", "ytop"),
    ("xmax", "x2", "right", "maxx", "bboxxmax", "bboxx2", "boxxmax", "xbr", "xend", "xright"),
    ("ymax", "y2", "bottom", "maxy", "bboxymax", "bboxy2", "boxymax", "ybr", "yend", "ybottom"),
)
_WIDTH = ("width", "w", "boxwidth", "bboxwidth", "bboxw", "boxw")
_HEIGHT = ("height", "h", "boxheight", "bboxheight", "bboxh", "boxh")
_SIZES = (
    ("x", "xmin", "left", "bboxx", "bboxleft", "bboxxmin", "x1", "minx", "xtl"),
    ("y", "ymin", "top", "bboxy", "bboxtop", "bboxymin", "y1", "miny", "ytl"),
    _WIDTH,
    _HEIGHT,
)
_CENTRES = (
    ("xcenter", "xcentre", "centerx", "centrex", "cx", "xc", "bboxcx", "bboxxcenter"),
    ("ycenter", "ycentre", "centery", "centrey", "cy", "yc", "bboxcy", "bboxycenter"),
    _WIDTH,
    _HEIGHT,
)
_PLACES = (*_CORNERS, *_CENTRES[:2], *_SIZES[:2])
_IMAGE_WIDTH = ("imagewidth", "imgwidth", "imagew", "imgw", "fieldwidth")
_IMAGE_HEIGHT = ("imageheight", "imgheight", "imageh", "imgh", "fieldheight")
_ROUNDING = 1e-3
_HEADER = "image,xmin,ymin,xmax,ymax,label"
_FILES = ("_annotations.csv", "annotations.csv")
_WRITTEN = ("image", "width", "height", "label", "xmin", "ymin", "xmax", "ymax", "split")


class CsvTable(AnnotationFormat):
    """Tables of boxes; the module's docstring describes the layouts."""

    one_file = True

    def recognise(self, folders: Sequence[Path]) -> Path | None:
        """Return the first table with a usual name, or the only table of the dataset."""
        usual = next(filter(None, map(find_table, folders)), None)
        tables = _tables(folders[0])
        return usual or (tables[0] if len(tables) == 1 else None)

    def read(
        self, source: Path, annotations: Path | None = None, names: Sequence[str] | None = None
    ) -> Annotations:
        """Read boxes in pixels, or as fractions if no value is above 1."""
        del names
        places = find_places(source, annotations, find_table) or [_only_table(source)]
        found = Collector()
        opened = open_places(places, found)
        tables = {
            place: _understand(read_table(place.boxes, keep_going=True)) for place, _ in opened
        }
        _check_alike(tables)
        fractions = not any(table.in_pixels for table in tables.values())
        for place, images in opened:
            _Reader(tables[place], images, found, fractions).read()
        result = found.result((images for _, images in opened), "boxes")
        return replace(result, whole=not any(table.box for table in tables.values()))

    def open_writer(self, folder: Path, header: Header) -> FieldWriter:
        """Write ``annotations.csv``."""
        del header  # a table has no list of classes
        return _Writer(TextFile(folder / "annotations.csv"))


class _Writer:
    """Writes one line per box; a field without boxes gets a line without a box."""

    def __init__(self, text: TextFile) -> None:
        self._text = text
        self._field: FieldToWrite | None = None
        self._empty = False
        self._line(_WRITTEN)

    def field(self, field: FieldToWrite) -> None:
        self._end()
        self._field, self._empty = field, True

    def box(self, box: BoxToWrite) -> None:
        self._add(box.label, *(repr(whole_number(side)) for side in box.box))
        self._empty = False

    def close(self) -> None:
        self._end()
        self._text.close()

    def discard(self) -> None:
        self._text.discard()

    def _end(self) -> None:
        if self._empty:
            self._add("", "", "", "", "")

    def _add(self, *values: str) -> None:
        assert self._field is not None
        self._line((self._field.file, *self._field.size, *values, self._field.split or ""))

    def _line(self, values: Sequence[object]) -> None:
        self._text.write(csv_text([values]))


def find_table(folder: Path) -> Path | None:
    """Return the CSV file of boxes in a folder, if it has one of the usual names."""
    return next((file for name in _FILES if (file := folder / name).is_file()), None)


def _tables(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*.csv"), *folder.glob("*.tsv")])


def _only_table(source: Path) -> Place:
    tables = _tables(source)
    if len(tables) == 1:
        return Place(tables[0], image_folder(source))
    if tables:
        found = f"{source} has several CSV files: {some([path.name for path in tables])}."
    elif sheets := sorted([*source.glob("*.xls*"), *source.glob("*.ods")]):
        found = f"{sheets[0]} is a spreadsheet, which cannot be read. Save it as CSV."
    else:
        found = f"{source} has no CSV file."
    raise DatasetError(
        f"{found} Expected annotations.csv, or only one CSV file, in {source}, or "
        "_annotations.csv in its folders. Choose another file with --annotations FILE."
    )


@dataclass(frozen=True)
class _BoxTable:
    """A table and the meaning of its columns.

    `box` converts a row to corners; None if the table has no boxes. `size` names the columns of the
    image's width and height, if present.
    """

    table: Table
    image: str
    label: str
    split: str | None
    box: Callable[[Row], Box] | None
    box_columns: tuple[str, ...]
    size: tuple[str, str] | None

    @property
    def in_pixels(self) -> bool:
        """Whether a value is above 1, which means pixels."""
        # Corner plus size may exceed 1 by a rounding error.
        return any(value > 1 + _ROUNDING for box in self.boxes() for value in box)

    def boxes(self) -> Iterator[Box]:
        """Yield the usable boxes of all rows."""
        for row in self.table.rows:
            try:
                if self.box is not None:
                    yield self.box(row)
            except AnnotationError:
                continue

    def is_empty(self, row: Row) -> bool:
        """Return whether a row describes a field without cells."""
        values = [row[self.label], *(row[column] for column in self.box_columns)]
        return self.box is not None and not any(values)


def _check_alike(tables: Mapping[Place, _BoxTable]) -> None:
    without = [str(place.boxes) for place, table in tables.items() if table.box is None]
    if without and len(without) < len(tables):
        raise AnnotationError(
            f"{', '.join(without)} have no columns for boxes, but the other tables do. Import "
            "them separately, with --annotations FILE."
        )


def _understand(table: Table) -> _BoxTable:
    """Find the columns of a table.

    Raises `AnnotationError` if some are missing; the message names them, the separator and the
    columns found.
    """
    image, label = _column(table, _IMAGE), _column(table, _LABEL)
    if image is None and any(is_image_name(name) or _is_number(name) for name in table.columns):
        raise _error(
            table,
            f"the first line looks like data, not like column names. Add a line such as "
            f"{_HEADER} (or image,label for cell images without boxes) above it",
        )
    columns, box = _box_columns(table)
    if image is not None and label is None and (flags := _flags(table, image)):
        raise _error(
            table,
            f"no column for the class, but a column of 0 and 1 for each class ({some(flags)}). "
            "Write the name of each image's class into one column called label",
        )
    if image is None or label is None:
        columns_of = (("image", image, _IMAGE), ("class", label, _LABEL))
        lacking = [(what, names) for what, column, names in columns_of if column is None]
        usual = "; for the ".join(f"{what}: {', '.join(names[:6])}" for what, names in lacking)
        raise _error(
            table,
            f"no column for the {' and the '.join(what for what, _ in lacking)}. Rename the "
            f"column; known names for the {usual}",
        )
    partial = [c for c in table.columns if any(normalise(c) in n for n in _PLACES)]
    if box is None and (partial or _column(table, ("bbox", "box", "boundingbox", "geometry"))):
        raise _error(
            table,
            "no columns for the boxes. Expected xmin, ymin, xmax, ymax, or x, y, width, height, or "
            "x_center, y_center, width, height, each in its own column",
        )
    size = _size_columns(table, columns)
    return _BoxTable(table, image, label, _column(table, _SPLIT), box, columns, size)


def _flags(table: Table, image: str) -> list[str]:
    """Return the columns of a one-hot table: one for each class, with only 0 and 1."""
    others = [column for column in table.columns if column != image]
    is_hot = all(row[column] in ("0", "1") for row in table.rows for column in others)
    return others if table.rows and len(others) > 1 and is_hot else []


def _error(table: Table, problem: str) -> AnnotationError:
    return AnnotationError(
        f"{table.path}, line 1: {problem}. Received {counted(len(table.columns), 'column')}, "
        f"separated by {table.separator_name}s: {', '.join(table.columns)[:300]}"
    )


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-+]?\d+([.,]\d+)?", text) is not None


def _column(table: Table, names: tuple[str, ...]) -> str | None:
    by_name = {normalise(column): column for column in table.columns}
    return next((by_name[name] for name in names if name in by_name), None)


def _box_columns(table: Table) -> tuple[tuple[str, ...], Callable[[Row], Box] | None]:
    """Return the columns of the boxes, and the function that converts a row to corners."""
    for kind, corners in ((_CORNERS, _as_is), (_CENTRES, _from_centre), (_SIZES, _from_corner)):
        columns = tuple(column for names in kind if (column := _column(table, names)) is not None)
        if len(columns) == len(kind):
            return columns, _box_reader(columns, corners)
    return (), None


def _box_reader(
    columns: tuple[str, ...], corners: Callable[[float, float, float, float], Box]
) -> Callable[[Row], Box]:
    def read_box(row: Row) -> Box:
        a, b, c, d = (row.number(column) for column in columns)
        return corners(a, b, c, d)

    return read_box


def _as_is(xmin: float, ymin: float, xmax: float, ymax: float) -> Box:
    return xmin, ymin, xmax, ymax


def _from_corner(x: float, y: float, width: float, height: float) -> Box:
    return x, y, tidy(x + width), tidy(y + height)


def _from_centre(x: float, y: float, width: float, height: float) -> Box:
    left, top = x - width / 2, y - height / 2
    return tidy(left), tidy(top), tidy(left + width), tidy(top + height)


def _size_columns(table: Table, box: tuple[str, ...]) -> tuple[str, str] | None:
    """Return the columns of the image's size; ``width`` and ``height`` only if boxes are corners.

    In some files, these are the size of the box, and then equal every box's size.
    """
    width, height = _column(table, _IMAGE_WIDTH), _column(table, _IMAGE_HEIGHT)
    if width is not None and height is not None:
        return width, height
    width, height = _column(table, ("width",)), _column(table, ("height",))
    if width is None or height is None or not box or width in box:
        return None
    xmin, _, xmax, _ = box
    try:
        of_box = all(
            abs(row.number(xmax) - row.number(xmin) - row.number(width)) <= 1 for row in table.rows
        )
    except AnnotationError:
        of_box = False
    return None if of_box else (width, height)


@dataclass(frozen=True)
class _Reader:
    """Reads one table into a collector."""

    table: _BoxTable
    images: FieldImages
    found: Collector
    fractions: bool

    def read(self) -> None:
        table = self.table.table
        fields: dict[Path, AnnotatedField] = {}
        boxes: defaultdict[Path, list[NamedBox]] = defaultdict(list)
        problems = [then(line, "This line was skipped.") for line in table.broken]
        lost: dict[str, int] = {}
        for row in table.rows:
            name = row[self.table.image]
            candidates = self.images.find(name)
            if name and len(candidates) != 1:
                lost.setdefault(name, row.line)
                continue
            try:
                box = self._box(row)
                for image in candidates:
                    fields[image] = fields.get(image) or self._field(image, row)
                    boxes[image] += [box] if box else []
            except AnnotationError as error:
                problems.append(then(error, "This line was skipped."))
        self.found.some_of(problems, table.path)
        self._report_lost(lost)
        for image, field in fields.items():
            self._add(replace(field, boxes=tuple(boxes[image])))
        self._report_splits()
        if table.separator != "," or table.encoding != "utf-8-sig":
            self.found.notes.append(
                f"{table.path} was read as separated by {table.separator_name}s, encoded as "
                f"{table.encoding.removesuffix('-sig')}"
            )

    def _report_splits(self) -> None:
        table, column = self.table.table, self.table.split
        values = dict.fromkeys(row[column] for row in table.rows) if column else {}
        if unknown := [value for value in values if value and find_split(value) is None]:
            self.found.notes.append(
                f"{table.path}: values in the column {column!r} that are not train, valid or test "
                f"were ignored: {some(unknown)}"
            )

    def _report_lost(self, lost: Mapping[str, int]) -> None:
        self.found.problems += [
            f"{self.table.table.path}, line {line}: "
            f"{'several images' if self.images.find(name) else 'no image'} called {name!r} in "
            f"{self.images.folder}"
            for name, line in lost.items()
        ]

    def _box(self, row: Row) -> NamedBox | None:
        if row[self.table.image] and self.table.is_empty(row):
            return None
        if not row[self.table.label] or not row[self.table.image]:
            raise row.error(
                f"the columns {self.table.image!r} and {self.table.label!r} must not be empty."
            )
        where = f"{row.path}, line {row.line}"
        box = (0.0, 0.0, 1.0, 1.0) if self.table.box is None else self.table.box(row)
        return NamedBox(row[self.table.label], box, where)

    def _field(self, image: Path, row: Row) -> AnnotatedField:
        """Return a field without boxes."""
        name = self.images.name(image)
        named = find_split(row[self.table.split]) if self.table.split else None
        return AnnotatedField(
            image,
            name,
            (),
            fractions=self.fractions,
            size=self._size(row),
            split=named or split_of(name),
            where=str(row.path),
        )

    def _add(self, field: AnnotatedField) -> None:
        """Add a field; reject a cell image with several labels."""
        labels = {normalise(box.label) for box in field.boxes}
        if self.table.box is None and len(labels) > 1:
            named = ", ".join(f"{box.label!r}" for box in field.boxes)
            self.found.skip(
                field.image, f"{field.where}: {field.name} has several labels: {named}. Keep one."
            )
        elif self.table.box is None:
            self.found.add(replace(field, boxes=field.boxes[:1]))
        else:
            self.found.add(field)

    def _size(self, row: Row) -> Size | None:
        if self.table.size is None:
            return None
        try:
            width, height = (round(row.number(column)) for column in self.table.size)
        except (AnnotationError, ValueError, OverflowError):
            return None
        return (width, height) if width > 0 and height > 0 else None
