"""Reading annotated fields in any format, and detecting the format of a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from hematovision.data.importing import boxes_csv, coco, voc, yolo
from hematovision.data.importing.annotations import Annotations
from hematovision.data.importing.data_yaml import find_data_yaml
from hematovision.data.importing.places import image_folder, visible_folders, without_wrapper
from hematovision.errors import DatasetError
from hematovision.images import is_image_name

__all__ = ["BOX_FORMATS", "FORMATS", "BoxFormat", "Format", "detect_format", "read_fields"]

BoxFormat: TypeAlias = Literal["voc", "yolo", "csv", "coco"]
BOX_FORMATS: tuple[BoxFormat, ...] = get_args(BoxFormat)

Format: TypeAlias = Literal["voc", "yolo", "csv", "coco", "folders"]
FORMATS: tuple[Format, ...] = get_args(Format)


def read_fields(
    source: Path,
    format_: BoxFormat,
    annotations: Path | None = None,
    names: Sequence[str] | None = None,
) -> Annotations:
    """Read the annotated fields of a folder.

    Parameters
    ----------
    source : Path
        The folder; the modules of this package say how each format lies on disk.
    format_ : {"voc", "yolo", "csv", "coco"}
        The format of the boxes.
    annotations : Path, optional
        Boxes elsewhere than the format keeps them.
    names : sequence of str, optional
        The names of the class ids 0, 1, 2, ... (yolo).

    Raises
    ------
    DatasetError
        If there are no images or no boxes in that format; its kind `AnnotationError` names a file
        without which nothing can be read.
    """
    if annotations is None:
        source = without_wrapper(source)
    match format_:
        case "voc":
            return voc.read(source, annotations)
        case "yolo":
            return yolo.read(source, annotations, names)
        case "csv":
            return boxes_csv.read(source, annotations)
        case "coco":
            return coco.read(source, annotations)


def detect_format(source: Path) -> Format:
    """Return the format of a folder, where only one fits.

    Raises
    ------
    DatasetError
        If none or several fit; the message lists them.
    """
    source = without_wrapper(source)
    found = dict(_signs(source))
    if len(found) == 1:
        return next(iter(found))
    if not found and any(_has_images(folder) for folder in visible_folders(source)):
        return "folders"
    if not found:
        raise DatasetError(
            f"{source} has neither box files nor class folders. Put the box files (Pascal VOC, "
            "YOLO, CSV or COCO) beside the images, or each image into a folder named after its "
            "class. Where they lie elsewhere, name the format with --format, one of "
            f"{', '.join(FORMATS)}, and the box files with --annotations."
        )
    signs = "; ".join(f"{name} ({sign})" for name, sign in found.items())
    raise DatasetError(
        f"The format of {source} is not clear. Found: {signs}. Name it with --format, "
        f"one of {', '.join(FORMATS)}."
    )


def _signs(source: Path) -> Iterator[tuple[Format, str]]:
    """Yield the formats that a folder has signs of, with the sign."""
    folders = [source, *visible_folders(source)]
    if file := next((file for folder in folders for file in coco.find_files(folder)), None):
        yield "coco", str(file)
    if file := _yolo_sign(source, folders):
        yield "yolo", str(file)
    beside = (file for folder in folders for file in folder.glob("*.xml"))
    inside = (file for folder in folders for file in (folder / "Annotations").rglob("*.xml"))
    if file := next(beside, None) or next(inside, None):
        yield "voc", str(file)
    tables = [*source.glob("*.csv"), *source.glob("*.tsv")]
    if file := next(filter(None, map(boxes_csv.find_table, folders)), None):
        yield "csv", str(file)
    elif len(tables) == 1:  # a list of boxes, or notes beside class folders
        yield "csv", str(tables[0])
        others = (f for f in folders[1:] if image_folder(source) != f and _has_images(f))
        if folder := next(others, None):
            yield "folders", str(folder)


def _yolo_sign(source: Path, folders: Sequence[Path]) -> Path | None:
    labels = (f / "labels" for f in folders if f.name != "labels")
    by_folder = next((f for f in labels if f.is_dir() and next(f.rglob("*.txt"), None)), None)
    if by_folder is not None:
        return by_folder
    beside = any(
        yolo.is_label_file(file) and any(map(is_image_name, _same_stem(file)))
        for folder in folders
        for file in folder.glob("*.txt")
    )
    return (find_data_yaml(source) or source) if beside else None


def _same_stem(file: Path) -> Iterator[Path]:
    suffixes = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
    return (image for suffix in suffixes if (image := file.with_suffix(suffix)).is_file())


def _has_images(folder: Path) -> bool:
    return any(is_image_name(path) for path in folder.rglob("*"))
