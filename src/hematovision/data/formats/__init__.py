"""The formats of annotated fields by name.

`reading` reads a folder in any of them, and `export` writes the cells of an analysis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hematovision.plugins import Registry

if TYPE_CHECKING:
    from hematovision.data.formats.annotations import AnnotationFormat

__all__ = ["FORMATS", "is_written"]


def _accepted(thing: object) -> AnnotationFormat:
    from hematovision.data.formats.annotations import AnnotationFormat

    made: Any = thing() if isinstance(thing, type) else thing
    if AnnotationFormat not in type(made).__mro__:
        raise TypeError(f"it must be a subclass of AnnotationFormat. Received: {thing!r}")
    format_: AnnotationFormat = made
    return format_


FORMATS: Registry[AnnotationFormat] = Registry(
    "annotation format",
    "hematovision.formats",
    {
        "voc": "hematovision.data.formats.voc:Voc",
        "yolo": "hematovision.data.formats.yolo:Yolo",
        "csv": "hematovision.data.formats.csv_table:CsvTable",
        "coco": "hematovision.data.formats.coco:Coco",
        "geojson": "hematovision.data.formats.geojson:GeoJson",
        "labelstudio": "hematovision.data.formats.label_studio:LabelStudio",
    },
    _accepted,
    reserved={"folders": "the choice of class folders"},
)
"""The formats of annotated fields by name; each is a subclass of `AnnotationFormat`."""


def is_written(name: str) -> bool:
    """Return whether the named format can be written, not only read."""
    from hematovision.data.formats.annotations import AnnotationFormat

    return type(FORMATS[name]).open_writer is not AnnotationFormat.open_writer
