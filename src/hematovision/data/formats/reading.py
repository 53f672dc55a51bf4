"""Read annotated fields in any format, and recognise the format of a folder."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hematovision.data.formats import FORMATS
from hematovision.data.formats.annotations import AnnotatedField, Annotations, NamedBox, some
from hematovision.data.formats.csv_table import find_table
from hematovision.data.formats.layout import image_folder, visible_folders, without_wrapper
from hematovision.errors import DatasetError, PluginError
from hematovision.images import is_image_name

__all__ = ["detect_format", "read_fields"]

_LOG = logging.getLogger(__name__)


def read_fields(
    source: Path,
    name: str,
    annotations: Path | None = None,
    names: Sequence[str] | None = None,
) -> Annotations:
    """Read the annotated fields of a folder in the named format; see `AnnotationFormat.read`.

    Raises `PluginError` if a format from outside fails or returns something else.
    """
    source = without_wrapper(source) if annotations is None else source
    format_ = FORMATS[name]
    with FORMATS.calling(name):
        found = format_.read(source, annotations, names)
    if found is None:
        raise DatasetError(
            f"The {FORMATS.kind} {name!r} can be written, but not read. Choose another format."
        )
    if problem := _problem(found):
        raise FORMATS.broken(name, f"returned {problem}.")
    return found


def _problem(found: Annotations) -> str:
    """Return what is wrong with the result of a format; empty if nothing is."""
    value: Any = found  # what is declared may differ from what is returned
    if not isinstance(value, Annotations):
        return f"{type(value).__name__} instead of Annotations"
    for name in ("problems", "notes", "classes"):
        if not _is_tuple_of(str, getattr(value, name)):
            return f"Annotations whose {name} are not a tuple of texts"
    if not _is_tuple_of(AnnotatedField, value.fields):
        return "Annotations whose fields are not a tuple of AnnotatedField"
    if problem := next(filter(None, map(_field_problem, value.fields)), ""):
        return problem
    names = Counter(field.name for field in value.fields)
    twice = [name for name, n in names.items() if n > 1]
    return f"several fields of one name: {some(twice)}" if twice else ""


def _field_problem(field: Any) -> str:
    if not isinstance(field.image, Path) or not isinstance(field.name, str) or not field.name:
        return f"a field without the path of its image and a name: {field!r}"
    if not _is_tuple_of(NamedBox, field.boxes):
        return f"a field whose boxes are not a tuple of NamedBox: {field!r}"
    wrong = next((box for box in field.boxes if not _is_box(box)), None)
    if wrong is None:
        return ""
    return f"a box of {field.image} without a label and four numbers: {wrong!r}"


def _is_tuple_of(kind: type, value: Any) -> bool:
    """Return whether a value is a tuple or list of a kind; an iterator could be read only once."""
    return isinstance(value, tuple | list) and all(isinstance(one, kind) for one in value)


def _is_box(box: Any) -> bool:
    sides = box.box
    return (
        isinstance(box.label, str)
        and isinstance(sides, tuple | list)
        and len(sides) == 4
        and all(isinstance(side, int | float | np.number) for side in sides)
    )


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
    for name in FORMATS:
        if sign := _sign(name, folders):
            yield name, sign
            # A table that is not called annotations.csv may contain notes on class folders.
            if name == "csv" and not any(map(find_table, folders)):
                classes = (f for f in folders[1:] if f != image_folder(source) and _has_images(f))
                if folder := next(classes, None):
                    yield "folders", folder


def _sign(name: str, folders: Sequence[Path]) -> Path | None:
    """Return a file typical of a format; a broken format from outside is logged and skipped."""
    try:
        format_ = FORMATS[name]
        with FORMATS.calling(name):
            return format_.recognise(folders)
    except PluginError as error:
        _LOG.warning("%s", error)
        return None


def _has_images(folder: Path) -> bool:
    return any(map(is_image_name, folder.rglob("*")))
