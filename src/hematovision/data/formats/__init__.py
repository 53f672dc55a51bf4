"""The formats of annotated fields, and how they are recognised.

To add a format, write an `AnnotationFormat` and list it in `FORMATS`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hematovision.data.formats.annotations import AnnotationFormat, Annotations
from hematovision.data.formats.coco import Coco
from hematovision.data.formats.csv_table import CsvTable, find_table
from hematovision.data.formats.geojson import GeoJson
from hematovision.data.formats.label_studio import LabelStudio
from hematovision.data.formats.layout import image_folder, visible_folders, without_wrapper
from hematovision.data.formats.voc import Voc
from hematovision.data.formats.yolo import Yolo
from hematovision.errors import DatasetError
from hematovision.images import is_image_name

__all__ = ["FORMATS", "detect_format", "read_fields"]

FORMATS: Mapping[str, AnnotationFormat] = {
    format_.name: format_
    for format_ in (Voc(), Yolo(), CsvTable(), Coco(), GeoJson(), LabelStudio())
}
"""The formats of annotated fields by name."""


def read_fields(
    source: Path,
    name: str,
    annotations: Path | None = None,
    names: Sequence[str] | None = None,
) -> Annotations:
    """Read the annotated fields of a folder in the named format; see `AnnotationFormat.read`."""
    source = without_wrapper(source) if annotations is None else source
    return FORMATS[name].read(source, annotations, names)


def detect_format(source: Path) -> str:
    """Return the format of a folder: a key of `FORMATS`, or ``"folders"`` for class folders.

    Raises `DatasetError` if none or several formats fit; the message lists them.
    """
    source = without_wrapper(source)
    found = dict(_signs(source))
    if len(found) == 1:
        return next(iter(found))
    if not found and any(map(_has_images, visible_folders(source))):
        return "folders"
    choice = f"--format, one of {', '.join((*FORMATS, 'folders'))}"
    if not found:
        raise DatasetError(
            f"{source} has neither box files nor class folders. Put the box files (Pascal VOC, "
            "YOLO, CSV, COCO, GeoJSON or Label Studio) next to the images, or each image into a "
            f"folder named after its class. If the boxes are elsewhere, choose the format with "
            f"{choice}, and the box files with --annotations."
        )
    signs = "; ".join(f"{name} ({sign})" for name, sign in found.items())
    raise DatasetError(
        f"The format of {source} is ambiguous. Found: {signs}. Choose it with {choice}."
    )


def _signs(source: Path) -> Iterator[tuple[str, Path]]:
    """Yield the formats that fit a folder, each with a typical file or folder."""
    folders = [source, *visible_folders(source)]
    for name, format_ in FORMATS.items():
        if sign := format_.recognise(folders):
            yield name, sign
            # A table that is not called annotations.csv may contain notes on class folders.
            if name == "csv" and not any(map(find_table, folders)):
                classes = (f for f in folders[1:] if f != image_folder(source) and _has_images(f))
                if folder := next(classes, None):
                    yield "folders", folder


def _has_images(folder: Path) -> bool:
    return any(map(is_image_name, folder.rglob("*")))
