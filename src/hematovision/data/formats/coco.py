"""COCO: one JSON file of images, annotations and categories per split.

``SOURCE/annotations/instances_<split>.json`` with the images in ``SOURCE/images`` (or SOURCE
itself), ``_annotations.coco.json`` next to the images in a folder for each split (Roboflow), or one
JSON file in SOURCE. Ids are any numbers or texts. An annotation without ``bbox`` gets the bounding
box of its polygons or its uncompressed mask. Regions of many cells (``iscrowd``) are left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

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
from hematovision.data.formats.json_files import (
    MAX_JSON_BYTES,
    START_BYTES,
    Counts,
    numbers,
    read_json,
    read_start,
    to_json,
)
from hematovision.data.formats.layout import SharedFiles
from hematovision.data.formats.writing import (
    BoxToWrite,
    FieldToWrite,
    FieldWriter,
    Header,
    TextFile,
)
from hematovision.data.samples import Split
from hematovision.errors import AnnotationError
from hematovision.images.boxes import Box, Size
from hematovision.paths import valid_text
from hematovision.plurals import counted

__all__ = ["Coco"]

_ROBOFLOW = "_annotations.coco.json"
_LISTS = ("images", "annotations", "categories")
_NO_BBOX = "without bbox; the bounding box of the segmentation was used"
_Id: TypeAlias = int | str


class Coco(AnnotationFormat):
    """COCO object detection files; the module's docstring describes the layouts."""

    split_folders = True
    declares_classes = True
    one_file = True

    def recognise(self, folders: Sequence[Path]) -> Path | None:
        """Return the first COCO file."""
        return _FILES.first(folders)

    def read(
        self, source: Path, annotations: Path | None = None, names: Sequence[str] | None = None
    ) -> Annotations:
        """Read boxes in pixels; classes are in the order of their ids."""
        del names
        found, categories = Collector(), dict[str, None]()

        def read_file(file: Path, images: FieldImages) -> None:
            reader = _Reader(file, _parse(file), images, found)
            reader.read()
            categories.update(dict.fromkeys(reader.classes()))

        images = _FILES.read(source, annotations, found, read_file)
        return found.result(images, "entry in a COCO file", categories)

    def open_writer(self, folder: Path, header: Header) -> FieldWriter:
        """Write ``annotations/instances_<split>.json``, or ``annotations.json`` without images."""
        return _Writer(folder, header)


class _Writer:
    """Writes one file per split: first the annotations, as they come, then the images."""

    def __init__(self, folder: Path, header: Header) -> None:
        self._folder, self._header = folder, header
        self._ids = {label: number for number, label in enumerate(header.classes, start=1)}
        self._files: dict[Split | None, _File] = {}
        self._file: _File | None = None
        if not header.images_inside:
            self._open(None)

    def field(self, field: FieldToWrite) -> None:
        self._file = self._files.get(field.split) or self._open(field.split)
        self._file.add_image(field)

    def box(self, box: BoxToWrite) -> None:
        assert self._file is not None
        self._file.add(box, self._ids[box.label])

    def close(self) -> None:
        categories = [
            {"id": key, "name": label, "supercategory": "cell"} for label, key in self._ids.items()
        ]
        for file in self._files.values():
            file.close(categories)

    def discard(self) -> None:
        for file in self._files.values():
            file.text.discard()

    def _open(self, split: Split | None) -> _File:
        name = "annotations.json"
        if self._header.images_inside:
            name = f"annotations/instances_{split}.json" if split else "annotations/instances.json"
        file = _File(TextFile(self._folder / name), self._header.model)
        self._files[split] = file
        return file


class _File:
    """One COCO file that is being written."""

    def __init__(self, text: TextFile, model: str) -> None:
        self.text = text
        self._images: list[dict[str, object]] = []
        self._number = 0
        info = {"description": "Written by HematoVision", **({"model": model} if model else {})}
        text.write(f'{{"info": {to_json(info)}, "licenses": [], "annotations": [')

    def add_image(self, field: FieldToWrite) -> None:
        width, height = field.size
        image = {"id": len(self._images) + 1, "file_name": field.file}
        self._images.append({**image, "width": width, "height": height})

    def add(self, box: BoxToWrite, category: int) -> None:
        start = ",\n" if self._number else "\n"
        self._number += 1
        annotation = _annotation(self._number, len(self._images), category, box)
        self.text.write(start + to_json(annotation))

    def close(self, categories: Sequence[Mapping[str, object]]) -> None:
        images = ",\n".join(map(to_json, self._images))
        self.text.write(f'\n], "images": [\n{images}\n], "categories": {to_json(categories)}}}\n')
        self.text.close()


def _annotation(number: int, image: int, category: int, box: BoxToWrite) -> dict[str, object]:
    left, top, right, bottom = box.box
    width, height = tidy(right - left), tidy(bottom - top)
    annotation: dict[str, object] = {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": [whole_number(side) for side in (left, top, width, height)],
        "area": whole_number(tidy(width * height)),
        "iscrowd": 0,
        "segmentation": [],
    }
    if box.details.get("confidence") is not None:
        annotation["score"] = box.details["confidence"]
    if attributes := box.attributes():
        annotation["attributes"] = attributes
    return annotation


def _find_files(folder: Path) -> list[Path]:
    """Return the COCO files of a folder, by their usual names or else by content."""
    if (roboflow := folder / _ROBOFLOW).is_file():
        return [roboflow]
    for usual in (folder / "annotations", folder / "Annotations"):
        files = sorted(usual.glob("instances*.json")) or sorted(usual.glob("*.json"))
        if files := [file for file in files if not read_start(file).startswith(b"[")]:
            return files
    return [file for file in sorted(folder.glob("*.json")) if _is_coco(file)]


def _is_coco(file: Path) -> bool:
    start = read_start(file)
    if not start.startswith(b"{"):  # the JSON files of Label Studio are lists
        return False
    if b'"images"' in start or b'"annotations"' in start:
        return True
    # Label tools also write a small file of categories; in a large file, the rest may follow.
    return b'"categories"' in start and file.stat().st_size > START_BYTES


_FILES = SharedFiles(
    _find_files,
    "COCO",
    f"SOURCE/annotations/instances_*.json, SOURCE/train/{_ROBOFLOW} or one *.json",
)


def _parse(file: Path) -> Mapping[str, list[Any]]:
    """Read a JSON file, and check that it contains COCO's three lists."""
    value = read_json(file, MAX_JSON_BYTES)
    if not isinstance(value, dict) or not all(isinstance(value.get(key), list) for key in _LISTS):
        kind = type(value).__name__
        keys = f"the keys {some(list(value), 10)}" if isinstance(value, dict) else f"a {kind}"
        raise AnnotationError(
            f"{file} is not a COCO object file: expected an object with the lists images, "
            f"annotations and categories. Received {keys}."
        )
    return {key: value[key] for key in _LISTS}


@dataclass
class _Reader:
    """Reads one COCO file into a collector."""

    file: Path
    content: Mapping[str, list[Any]]
    images: FieldImages
    found: Collector
    names: dict[_Id, str] = field(default_factory=dict)
    boxes: dict[_Id, list[NamedBox]] = field(default_factory=dict)
    seen: set[tuple[_Id, str, Box]] = field(default_factory=set)
    counts: Counts = field(default_factory=lambda: Counts("annotation"))

    def read(self) -> None:
        self._read_categories()
        entries = self._entries()
        problems = []
        for number, annotation in enumerate(self.content["annotations"]):
            where = f"{self.file}, annotation {_shown_id(annotation, number)}"
            try:
                self._read_annotation(annotation, entries, where)
            except AnnotationError as error:
                problems.append(then(error, "It was skipped."))
        self.found.some_of(problems, self.file)
        self.counts.report(self.found, self.file, notes=[_NO_BBOX])
        self._add_fields(entries)

    def classes(self) -> list[str]:
        """Return the names of the categories in the order of their ids.

        Roboflow adds a category for the project that has no annotations; it is not a class.
        """
        used = {box.label for boxes in self.boxes.values() for box in boxes}
        projects = {
            _name(category)
            for category in self.content["categories"]
            if isinstance(category, dict) and category.get("supercategory") == "none"
        }
        order = sorted(self.names, key=lambda key: (isinstance(key, str), key))
        names = [self.names[key] for key in order]
        return [name for name in names if name in used or name not in projects]

    def _read_categories(self) -> None:
        for category in self.content["categories"]:
            key = _id(category.get("id")) if isinstance(category, dict) else None
            name = _name(category)
            if key is None or not name or self.names.setdefault(key, name) != name:
                raise AnnotationError(
                    f"{self.file}: the category {str(category)[:200]} has no id or no name, or its "
                    "id is used twice."
                )

    def _entries(self) -> dict[_Id, Mapping[str, Any]]:
        """Return the entries of images by their ids."""
        entries: dict[_Id, Mapping[str, Any]] = {}
        problems = []
        for entry in self.content["images"]:
            key = _id(entry.get("id")) if isinstance(entry, dict) else None
            if key is None or not isinstance(entry.get("file_name"), str):
                problems.append(
                    f"{self.file}: the image {str(entry)[:200]} has no id or no file_name"
                )
            elif key in entries:
                problems.append(
                    f"{self.file}: the image id {key!r} is used twice; {entry['file_name']!r} was "
                    "skipped"
                )
            else:
                entries[key] = entry
        self.found.some_of(problems, self.file)
        return entries

    def _read_annotation(
        self, annotation: Any, entries: Mapping[_Id, Mapping[str, Any]], where: str
    ) -> None:
        if not isinstance(annotation, dict):
            raise AnnotationError(f"{where} is not a JSON object.")
        image, category = _id(annotation.get("image_id")), _id(annotation.get("category_id"))
        if image is None or image not in entries:
            raise AnnotationError(f"{where}: there is no image {annotation.get('image_id')!r:.99}.")
        label = None if category is None else self.names.get(category)
        if label is None:
            raise AnnotationError(
                f"{where}: there is no category {annotation.get('category_id')!r:.99}."
            )
        if annotation.get("iscrowd"):
            self.counts.add("of regions of many cells (iscrowd), left out", where)
            return
        box = self._box(annotation, where)
        if (image, label, box) in self.seen:
            self.counts.add("repeating another (same image, class and box), left out", where)
            return
        self.seen.add((image, label, box))
        self.boxes.setdefault(image, []).append(NamedBox(label, box, where, _subtype(annotation)))

    def _box(self, annotation: Mapping[str, Any], where: str) -> Box:
        bbox = numbers(annotation.get("bbox"))
        if bbox is not None and len(bbox) == 4:
            x, y, width, height = bbox
            return x, y, tidy(x + width), tidy(y + height)
        box = _bounding_box(annotation.get("segmentation"))
        if box is None or bbox:
            raise AnnotationError(
                f"{where}: expected bbox: [x, y, width, height], or polygons in segmentation. "
                f"Received bbox: {str(annotation.get('bbox'))[:100]}."
            )
        self.counts.add(_NO_BBOX, where)
        return box

    def _add_fields(self, entries: Mapping[_Id, Mapping[str, Any]]) -> None:
        split = _split_of_file(self.file)
        lost: list[str] = []
        joined: list[str] = []
        by_image: dict[Path, AnnotatedField] = {}
        for key, entry in entries.items():
            candidates = self._candidates(entry["file_name"], split)
            if len(candidates) != 1:
                lost.append(f"{entry['file_name']!r}{' (several)' if candidates else ''}")
                continue
            (image,) = candidates
            name = self.images.name(image)
            boxes = tuple(self.boxes.get(key, ()))
            if image in by_image:
                joined.append(name)
                boxes = (*by_image[image].boxes, *boxes)
            by_image[image] = AnnotatedField(
                image, name, boxes, size=_size(entry), split=split or split_of(name),
                where=str(self.file),
            )  # fmt: skip
        for found in by_image.values():
            self.found.add(found)
        if joined:
            self.found.problems.append(
                f"{self.file}: {counted(len(joined), 'image')} with several entries, whose boxes "
                f"were joined: {some(joined)}"
            )
        if lost:
            self.found.problems.append(
                f"{self.file}: {counted(len(lost), 'image')} not in {self.images.folder}: "
                f"{some(lost)}"
            )

    def _candidates(self, name: str, split: Split | None) -> tuple[Path, ...]:
        """Find an image; of several with the same name, the one in the file's split folder."""
        found = self.images.find(name)
        if len(found) > 1 and split is not None:
            found = tuple(path for path in found if split_of(self.images.name(path)) == split)
        return found


def _split_of_file(file: Path) -> Split | None:
    """Return the split in a name such as ``instances_val2017.json``."""
    words = re.split(r"[\W\d_]+", file.stem)
    return next((split for word in words if (split := find_split(word))), None)


def _id(value: object) -> _Id | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value


def _name(category: object) -> str:
    name = category.get("name") if isinstance(category, dict) else None
    return valid_text(str(name or "")).strip()


def _subtype(annotation: Mapping[str, Any]) -> str:
    attributes = annotation.get("attributes")
    subtype = attributes.get("subtype") if isinstance(attributes, dict) else None
    return valid_text(subtype).strip() if isinstance(subtype, str) else ""


def _shown_id(annotation: object, number: int) -> str:
    key = _id(annotation.get("id")) if isinstance(annotation, dict) else None
    return f"number {number + 1}" if key is None else f"id {str(key)[:50]}"


def _bounding_box(segmentation: object) -> Box | None:
    """Return the bounding box of polygons or of a run-length mask; None if there is neither."""
    if isinstance(segmentation, dict):
        return _mask_box(segmentation)
    if not isinstance(segmentation, list):
        return None
    nested = bool(segmentation) and isinstance(segmentation[0], list)
    xs: list[float] = []
    ys: list[float] = []
    for polygon in segmentation if nested else [segmentation]:
        points = numbers(polygon)
        if points is None or len(points) < 6 or len(points) % 2:
            return None
        if not all(map(math.isfinite, points)):
            return None
        xs += points[::2]
        ys += points[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def _mask_box(mask: Mapping[str, Any]) -> Box | None:
    """Return the bounding box of an uncompressed mask: runs of 0 and 1 in turn, by columns."""
    counts, size = mask.get("counts"), numbers(mask.get("size"))
    if not isinstance(counts, list) or size is None or len(size) != 2 or size[0] < 1:
        return None
    height = int(size[0])
    runs = [(start, end) for start, end in _runs(counts) if end > start]
    if not runs:
        return None
    inside = [(s % height, (e - 1) % height) for s, e in runs if s // height == (e - 1) // height]
    whole = len(inside) < len(runs)  # a run over the end of a column reaches bottom and top
    top = 0 if whole else min(first for first, _ in inside)
    bottom = height if whole else max(last for _, last in inside) + 1
    left, right = runs[0][0] // height, (runs[-1][1] - 1) // height + 1
    return float(left), float(top), float(right), float(bottom)


def _runs(counts: Sequence[object]) -> Iterator[tuple[int, int]]:
    position = 0
    for number, count in enumerate(counts):
        length = count if isinstance(count, int) and not isinstance(count, bool) else 0
        if number % 2:
            yield position, position + length
        position += length


def _size(entry: Mapping[str, Any]) -> Size | None:
    sides = numbers([entry.get("width"), entry.get("height")])
    if sides is None or len(sides) != 2 or not all(math.isfinite(s) and s >= 1 for s in sides):
        return None
    return round(sides[0]), round(sides[1])
