"""CSV: a line a box, with the columns under any of their usual names.

``SOURCE/annotations.csv`` (or the only CSV file there) and ``SOURCE/images`` (or SOURCE itself).
Boxes are corners (``xmin, ymin, xmax, ymax``) or a corner and a size (``x, y, width, height``, the
upper left corner, as in COCO). They are fractions of the field if no value in the file is above 1,
else pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hematovision.data.importing.annotations import (
    AnnotatedField,
    Annotations,
    FieldImages,
    NamedBox,
    some,
)
from hematovision.data.samples import Box
from hematovision.data.tables import Row, Table, read_table
from hematovision.errors import AnnotationError, DatasetError
from hematovision.taxonomy import normalise

__all__ = ["read"]

# In order of preference, normalised: a numeric `image_id` beside a file name should lose.
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "image": ("image", "filename", "file", "imagename", "imagepath", "path", "imagefile", "img",
              "field", "imageid"),
    "label": ("label", "class", "classname", "labelname", "celltype", "category", "type", "name"),
}  # fmt: skip
_ROUNDING = 1e-3
_CORNERS = (
    ("xmin", "x1", "left", "minx"),
    ("ymin", "y1", "top", "miny"),
    ("xmax", "x2", "right", "maxx"),
    ("ymax", "y2", "bottom", "maxy"),
)
_SIZES = (
    ("x", "xmin", "left", "bboxx"),
    ("y", "ymin", "top", "bboxy"),
    ("width", "w", "boxwidth", "bboxwidth", "bboxw"),
    ("height", "h", "boxheight", "bboxheight", "bboxh"),
)


def read(source: Path, annotations: Path | None = None) -> Annotations:
    """Read the boxes of a CSV file.

    Parameters
    ----------
    source : Path
        Holds ``images`` and, where `annotations` is None, ``annotations.csv``.
    annotations : Path, optional
        Another CSV file.

    Returns
    -------
    Annotations
        Fields sorted by image. Images that are missing are among the problems.

    Raises
    ------
    AnnotationError
        If the file cannot be understood.
    DatasetError
        If there is no CSV file or there are no images.
    """
    table = read_table(annotations if annotations is not None else _find_table(source))
    image_column = _column(table, *_COLUMNS["image"], what="image")
    label_column = _column(table, *_COLUMNS["label"], what="class")
    boxes = _boxes(table)
    # Corner plus size may exceed 1 by a rounding; a usable box in pixels reaches beyond 2.
    fractions = not any(value > 1 + _ROUNDING for box in boxes for value in box)
    images = FieldImages(source / "images" if (source / "images").is_dir() else source)
    found: dict[Path, list[NamedBox]] = {}
    lost: dict[str, int] = {}
    for row, box in zip(table.rows, boxes, strict=True):
        if not row[label_column] or not row[image_column]:
            raise row.error(f"the columns {image_column!r} and {label_column!r} may not be empty.")
        candidates = images.find(row[image_column])
        if len(candidates) == 1:
            named = NamedBox(row[label_column], box, f"{table.path}, line {row.line}")
            found.setdefault(candidates[0], []).append(named)
        else:
            lost.setdefault(row[image_column], row.line)
    problems = [
        f"{table.path}, line {line}: {'several images' if images.find(name) else 'no image'} "
        f"called {name!r} in {images.folder}"
        for name, line in lost.items()
    ]
    if unused := images.unused(found):
        problems.append(f"{len(unused)} images have no boxes: {some(unused)}")
    fields = (
        AnnotatedField(image, images.name(image), tuple(found[image]), fractions)
        for image in sorted(found)
    )
    return Annotations(tuple(fields), tuple(problems))


def _find_table(source: Path) -> Path:
    usual = source / "annotations.csv"
    if usual.is_file():
        return usual
    tables = sorted(source.glob("*.csv"))
    if len(tables) == 1:
        return tables[0]
    raise DatasetError(
        f"{source} has {len(tables) or 'no'} CSV files and none is called annotations.csv. Say "
        "which holds the boxes with --annotations FILE."
    )


def _column(table: Table, *names: str, what: str) -> str:
    column = _find_column(table, names)
    if column is None:
        raise AnnotationError(
            f"{table.path}, line 1: no column for the {what}. Expected one of {', '.join(names)}. "
            f"Received: {', '.join(table.columns)}"
        )
    return column


def _find_column(table: Table, names: tuple[str, ...]) -> str | None:
    by_name = {normalise(column): column for column in table.columns}
    return next((by_name[name] for name in names if name in by_name), None)


def _boxes(table: Table) -> list[Box]:
    """Return every row's box as corners."""
    corners = [_find_column(table, names) for names in _CORNERS]
    if all(corners):
        return [_values(row, corners) for row in table.rows]
    sizes = [_find_column(table, names) for names in _SIZES]
    if all(sizes):
        boxes = [_values(row, sizes) for row in table.rows]
        return [(x, y, x + width, y + height) for x, y, width, height in boxes]
    raise AnnotationError(
        f"{table.path}, line 1: no columns for the boxes. Expected xmin, ymin, xmax, ymax or x, y, "
        f"width, height. Received: {', '.join(table.columns)}"
    )


def _values(row: Row, columns: list[str | None]) -> Box:
    a, b, c, d = (row.number(column) for column in columns if column is not None)
    return a, b, c, d
