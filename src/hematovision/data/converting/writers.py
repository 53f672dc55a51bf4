"""Writers of annotated fields, one for each format; the readers read the same values back."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from hematovision.data.importing.annotations import tidy
from hematovision.data.importing.reading import BoxFormat
from hematovision.data.samples import SPLITS, Split
from hematovision.files import ensure_folder, write_text
from hematovision.images.boxes import Box, Size
from hematovision.paths import csv_cell

__all__ = ["IMAGE_FOLDERS", "WRITERS", "FieldToWrite", "Writer"]

_YAML_KEYS: Mapping[Split, str] = {"train": "train", "valid": "val", "test": "test"}
# Control characters, which XML can't hold in any way; they become escapes such as \x01.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_CSV_COLUMNS = ("image", "width", "height", "label", "xmin", "ymin", "xmax", "ymax", "split")


@dataclass(frozen=True, slots=True)
class FieldToWrite:
    """One field as every format can hold it.

    Parameters
    ----------
    file : str
        The image's path within the folder of images, with forward slashes.
    stem : str
        The same without suffix; unique.
    split : Split or None
        Its split.
    size : Size
        Width and height of the upright image.
    boxes : tuple of (str, Box)
        Class and corners in pixels of the upright image.
    """

    file: str
    stem: str
    split: Split | None
    size: Size
    boxes: tuple[tuple[str, Box], ...]


Writer = Callable[[Path, Sequence[FieldToWrite], Sequence[str]], None]
"""Writes the box files of fields, with the classes in order, into a folder."""


def _write_voc(folder: Path, fields: Sequence[FieldToWrite], classes: Sequence[str]) -> None:
    del classes  # VOC has no list of classes
    for field in fields:
        root = ET.Element("annotation")
        _sub(root, "filename", field.file.rpartition("/")[2])
        size = ET.SubElement(root, "size")
        for name, value in zip(("width", "height", "depth"), (*field.size, 3), strict=True):
            _sub(size, name, str(value))
        for label, box in field.boxes:
            element = ET.SubElement(root, "object")
            _sub(element, "name", label)
            bounds = ET.SubElement(element, "bndbox")
            for name, side in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True):
                _sub(bounds, name, _number(side))
        ET.indent(root)
        text = ET.tostring(root, encoding="unicode")
        _write(folder / "Annotations" / f"{field.stem}.xml", f"{text}\n")
    for split, members in _by_split(fields):
        if split is not None:
            listed = "".join(f"{field.stem}\n" for field in members)
            name = "val" if split == "valid" else split
            _write(folder / "ImageSets" / "Main" / f"{name}.txt", listed)


def _sub(parent: ET.Element, tag: str, text: str) -> None:
    ET.SubElement(parent, tag).text = _NOT_XML.sub(lambda m: f"\\x{ord(m[0]):02x}", text)


def _write_yolo(folder: Path, fields: Sequence[FieldToWrite], classes: Sequence[str]) -> None:
    ids = {label: number for number, label in enumerate(classes)}
    for field in fields:
        lines = (
            f"{ids[label]} {' '.join(_fractions(box, field.size))}\n" for label, box in field.boxes
        )
        _write(folder / "labels" / f"{field.stem}.txt", "".join(lines))
    paths = [f"{_YAML_KEYS[split]}: images/{split}\n" for split, _ in _by_split(fields) if split]
    comment = "" if paths else "# There is no split: add train: and val:\n"
    # A JSON list is YAML too, and quotes names such as `no` that YAML would take for values.
    names = json.dumps(list(classes), ensure_ascii=False)
    write_text(
        folder / "data.yaml", f"{comment}{''.join(paths)}nc: {len(classes)}\nnames: {names}\n"
    )


def _fractions(box: Box, size: Size) -> tuple[str, str, str, str]:
    """Return centre and size as fractions, in as few digits as give the same pixels."""
    x, width = _fraction_pair(box[0], box[2], size[0])
    y, height = _fraction_pair(box[1], box[3], size[1])
    return x, y, width, height


def _fraction_pair(low: float, high: float, side: int) -> tuple[str, str]:
    centre, extent = (low + high) / 2 / side, (high - low) / side
    for digits in range(6, 17):
        a, b = round(centre, digits), round(extent, digits)
        if tidy((a - b / 2) * side) == tidy(low) and tidy((a + b / 2) * side) == tidy(high):
            return _shortest(a, digits), _shortest(b, digits)
    return repr(centre), repr(extent)


def _shortest(value: float, digits: int) -> str:
    """Write a fraction with six decimals, as YOLO tools do, or as many as it needs."""
    text = f"{value:.{digits}f}"
    return (
        text if digits == 6 else text[: len(text) - digits + 6] + text[-(digits - 6) :].rstrip("0")
    )


def _write_csv(folder: Path, fields: Sequence[FieldToWrite], classes: Sequence[str]) -> None:
    del classes  # a table has no list of classes
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_CSV_COLUMNS)
    for field in fields:
        start, split = (csv_cell(field.file), *field.size), field.split or ""
        for label, box in field.boxes:
            writer.writerow((*start, csv_cell(label), *map(_number, box), split))
        if not field.boxes:
            writer.writerow((*start, "", "", "", "", "", split))
    write_text(folder / "annotations.csv", stream.getvalue())


def _write_coco(folder: Path, fields: Sequence[FieldToWrite], classes: Sequence[str]) -> None:
    ids = {label: number for number, label in enumerate(classes, start=1)}
    for split, members in _by_split(fields):
        images = [
            {"id": key, "file_name": field.file, "width": field.size[0], "height": field.size[1]}
            for key, field in enumerate(members, start=1)
        ]
        boxes = [
            (key, ids[label], box)
            for key, field in enumerate(members, start=1)
            for label, box in field.boxes
        ]
        value = {
            "info": {"description": "Written by HematoVision"},
            "licenses": [],
            "images": images,
            "annotations": [
                _coco_annotation(number, *box) for number, box in enumerate(boxes, start=1)
            ],
            "categories": [
                {"id": key, "name": label, "supercategory": "cell"} for label, key in ids.items()
            ],
        }
        name = f"instances_{split}.json" if split else "instances.json"
        _write(folder / "annotations" / name, json.dumps(value, ensure_ascii=False) + "\n")


def _coco_annotation(number: int, image: int, category: int, box: Box) -> dict[str, object]:
    width, height = tidy(box[2] - box[0]), tidy(box[3] - box[1])
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": [_plain(box[0]), _plain(box[1]), _plain(width), _plain(height)],
        "area": _plain(tidy(width * height)),
        "iscrowd": 0,
        "segmentation": [],
    }


def _by_split(
    fields: Sequence[FieldToWrite],
) -> Iterator[tuple[Split | None, list[FieldToWrite]]]:
    """Yield the fields of each split that has any, in order; None is the split of the others."""
    for split in (*SPLITS, None):
        if members := [field for field in fields if field.split == split]:
            yield split, members


def _plain(value: float) -> float:
    return int(value) if float(value).is_integer() else value


def _number(value: float) -> str:
    return repr(_plain(value))


def _write(path: Path, text: str) -> None:
    ensure_folder(path.parent)
    write_text(path, text)


WRITERS: Mapping[BoxFormat, Writer] = {
    "voc": _write_voc,
    "yolo": _write_yolo,
    "csv": _write_csv,
    "coco": _write_coco,
}

IMAGE_FOLDERS: Mapping[BoxFormat, str] = {
    "voc": "JPEGImages",
    "yolo": "images",
    "csv": "images",
    "coco": "images",
}
"""Where each format keeps its images."""
