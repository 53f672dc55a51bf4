"""Label Studio: one JSON file of tasks, each an image with the regions that people or models found.

``SOURCE/*.json`` (or ``SOURCE/annotations/*.json``, or in a folder for each split) with
``SOURCE/images/``, exported as JSON or JSON-MIN. Coordinates are percentages of the image. Regions
that a person submitted are used, and those of a model only if no task of the file has any by a
person. Rotated rectangles, polygons and ellipses are replaced by their bounding boxes. The format
is described at https://labelstud.io/guide/task_format and https://labelstud.io/guide/export.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.etree import ElementTree as ET

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
)
from hematovision.data.formats.json_files import (
    MAX_JSON_BYTES,
    Counts,
    finite,
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
    class_colours,
)
from hematovision.errors import AnnotationError
from hematovision.files import write_text
from hematovision.images.boxes import Box, Size
from hematovision.paths import escape_name, unescape_name, valid_text
from hematovision.plurals import counted

__all__ = ["CONFIG_FILE", "TASKS_FILE", "LabelStudio"]

TASKS_FILE = "tasks.json"
CONFIG_FILE = "label_config.xml"
"""The labelling interface that the tasks need; to paste into the project's settings."""

_LOCAL = "/data/local-files/?d="  # files in the local storage of a Label Studio server
_LABELS = ("rectanglelabels", "polygonlabels", "ellipselabels", "labels")
_SIGNS = (
    b'"predictions"',
    b'"annotations"',
    b'"completions"',
    *(f'"{n}"'.encode() for n in _LABELS),
)
_KINDS = frozenset({"rectanglelabels", "polygonlabels", "ellipselabels", "rectangle", "polygon",
                    "ellipse", "labels"})  # fmt: skip
_Point: TypeAlias = tuple[float, float]
_DIGITS = 13  # of percentages: under a billionth of a pixel in the largest slide
_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")  # what a server puts before the names of uploads
_TWICE = "repeating another (same label and box), left out"
_SHAPE = "that are not upright rectangles; their bounding boxes were used"


class LabelStudio(AnnotationFormat):
    """Tasks of Label Studio; the module's docstring describes the layouts."""

    split_folders = True
    one_file = True

    def recognise(self, folders: Sequence[Path]) -> Path | None:
        """Return the first file of tasks."""
        return _FILES.first(folders)

    def read(
        self, source: Path, annotations: Path | None = None, names: Sequence[str] | None = None
    ) -> Annotations:
        """Read boxes in pixels, or as fractions if the file lacks the sizes of images."""
        del names
        found = Collector()

        def read_file(file: Path, images: FieldImages) -> None:
            _Reader(file, images, found).read(_parse(file))

        images = _FILES.read(source, annotations, found, read_file)
        return found.result(images, "task with an annotation")

    def open_writer(self, folder: Path, header: Header) -> FieldWriter:
        """Write ``tasks.json`` and ``label_config.xml``."""
        return _Writer(folder, header)


class _Writer:
    """Writes one task per field, region by region."""

    def __init__(self, folder: Path, header: Header) -> None:
        self._folder, self._header = folder, header
        self._text = TextFile(folder / TASKS_FILE)
        self._field: FieldToWrite | None = None
        self._tasks = self._boxes = self._review = 0
        self._confidence = 0.0
        self._subtypes = dict.fromkeys(header.subtypes)

    def field(self, field: FieldToWrite) -> None:
        self._end()
        self._field = field
        self._boxes, self._review, self._confidence = 0, 0, 0.0
        start = ",\n" if self._tasks else "[\n"
        self._tasks += 1
        if self._header.model:
            model = to_json(self._header.model)
            self._text.write(f'{start}{{"predictions": [{{"model_version": {model}, "result": [')
        else:
            self._text.write(f'{start}{{"annotations": [{{"result": [')

    def box(self, box: BoxToWrite) -> None:
        assert self._field is not None
        for item in _items(box, self._boxes + 1, self._field.size):
            start = ",\n" if self._boxes or "choices" in item["value"] else "\n"
            self._text.write(start + to_json(item))
        self._boxes += 1
        self._review += box.review
        self._confidence += float(box.details.get("confidence") or 0.0)
        if box.subtype:
            self._subtypes[box.subtype] = None

    def close(self) -> None:
        self._end()
        self._text.write("\n]\n" if self._tasks else "[]\n")
        self._text.close()
        config = _config(self._header.classes, list(self._subtypes))
        write_text(self._folder / CONFIG_FILE, config)

    def discard(self) -> None:
        self._text.discard()

    def _end(self) -> None:
        if self._field is None:
            return
        file, (width, height) = self._field.file, self._field.size
        url = self._field.url or _LOCAL + quote(f"images/{file}", errors="surrogateescape")
        data = {"image": url, "file": escape_name(file), "width": width, "height": height}
        end = "]}]"
        if self._header.model:
            data |= {"cells": self._boxes, "review": self._review}
            score = round(self._confidence / self._boxes, 6) if self._boxes else 0.0
            end = f'], "score": {score}}}]'
        self._text.write(f'\n{end}, "data": {to_json(data)}}}')


def _items(box: BoxToWrite, number: int, size: Size) -> Iterator[dict[str, Any]]:
    """Yield the region of a box, and the choice of its subtype."""
    left, top, right, bottom = (
        side / whole * 100 for side, whole in zip(box.box, (*size, *size), strict=True)
    )
    shape = {"x": left, "y": top, "width": right - left, "height": bottom - top}
    value = {**{name: round(v, _DIGITS) for name, v in shape.items()}, "rotation": 0}
    common: dict[str, Any] = {
        "id": f"cell{number}", "to_name": "image", "original_width": size[0],
        "original_height": size[1], "image_rotation": 0,
    }  # fmt: skip
    region = {**common, "from_name": "label", "type": "rectanglelabels",
              "value": {**value, "rectanglelabels": [box.label]}}  # fmt: skip
    if box.details.get("confidence") is not None:
        region["score"] = box.details["confidence"]
    if box.review:
        region["meta"] = {"text": [f"review: {box.details.get('reason') or 'no reason given'}"]}
    yield region
    if box.subtype:
        yield {**common, "from_name": "subtype", "type": "choices",
               "value": {**value, "choices": [box.subtype]}}  # fmt: skip


def _config(classes: Sequence[str], subtypes: Sequence[str]) -> str:
    """Return the labelling interface; subtypes can be chosen for each region."""
    view = ET.Element("View")
    ET.SubElement(view, "Image", name="image", value="$image", zoom="true", zoomControl="true")
    labels = ET.SubElement(view, "RectangleLabels", name="label", toName="image")
    for label, colour in class_colours(classes).items():
        background = "#{:02x}{:02x}{:02x}".format(*colour)
        ET.SubElement(labels, "Label", value=valid_text(label), background=background)
    if subtypes:
        choices = ET.SubElement(
            view, "Choices", name="subtype", toName="image", perRegion="true", choice="single"
        )
        for subtype in subtypes:
            ET.SubElement(choices, "Choice", value=valid_text(subtype))
    ET.indent(view)
    return ET.tostring(view, encoding="unicode") + "\n"


def _find_files(folder: Path) -> list[Path]:
    """Return the files of tasks in a folder, or in its ``annotations``, by their content."""
    here = [file for file in sorted(folder.glob("*.json")) if _has_tasks(file)]
    return here or [f for f in sorted((folder / "annotations").glob("*.json")) if _has_tasks(f)]


def _has_tasks(file: Path) -> bool:
    start = read_start(file)
    return start.startswith(b"[") and any(sign in start for sign in _SIGNS)


_FILES = SharedFiles(
    _find_files,
    "Label Studio",
    "one *.json that was exported as JSON, next to the images or to their folder images/",
)


def _parse(file: Path) -> list[Any]:
    tasks = read_json(file, MAX_JSON_BYTES)
    if isinstance(tasks, dict) and "data" in tasks:
        return [tasks]
    if not isinstance(tasks, list):
        raise AnnotationError(
            f"{file} is not a file of tasks: expected a list, as Label Studio exports it as JSON. "
            f"Received: a JSON {type(tasks).__name__}."
        )
    return tasks


@dataclass
class _Reader:
    """Reads the tasks of one file into a collector."""

    file: Path
    images: FieldImages
    found: Collector
    counts: Counts = field(default_factory=lambda: Counts("region"))
    problems: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    several: list[str] = field(default_factory=list)

    def read(self, tasks: Sequence[Any]) -> None:
        usable = [task for task in tasks if isinstance(task, dict)]
        if len(usable) < len(tasks):
            self.problems.append(
                f"{self.file}: {counted(len(tasks) - len(usable), 'task')} that is not an object"
            )
        by_people = any(_submitted(task) is not None for task in usable)
        for number, task in enumerate(usable, start=1):
            name = _task_id(task, number)
            regions = self._chosen(task, name) if by_people else _predicted(task)
            if regions is not None:
                self._add(task, regions, f"{self.file}, task {name}")
        if not by_people and self.found.fields:
            self.found.notes.append(
                f"{self.file}: no task has an annotation by a person; predictions were used"
            )
        self._report()

    def _chosen(self, task: Mapping[str, Any], name: str) -> list[Any] | None:
        """Return the regions of the annotation to use: the accepted or the latest one."""
        found = _submitted(task)
        if found is None:
            return None
        if len(found) > 1:
            self.several.append(name)
        best = max(
            found, key=lambda a: (a.get("ground_truth") is True, str(a.get("updated_at") or ""))
        )
        regions = best.get("result")
        return regions if isinstance(regions, list) else []

    def _add(self, task: Mapping[str, Any], regions: Sequence[Any], where: str) -> None:
        image = _find_image(task, self.images)
        if image is None:
            names = next(iter(_image_names(task)), "no name")
            self.lost.append(repr(valid_text(names))[:100])
            return
        boxes: dict[tuple[str, Box], NamedBox] = {}
        sizes: set[Size | None] = set()
        for region, others in _by_region(regions):
            try:
                box, size = _box(region, where)
                named = self._named(region, others, box, where)
                sizes.add(size)
                if boxes.setdefault((named.label, box), named) is not named:
                    self.counts.add(_TWICE, named.where)
            except AnnotationError as error:
                self.problems.append(then(error, "It was skipped."))
        if len(sizes) > 1:
            self.problems.append(f"{where}: its regions have several image sizes. It was skipped.")
            return
        size = next(iter(sizes), None)
        name = self.images.name(image)
        self.found.add(
            AnnotatedField(
                image, name, tuple(boxes.values()), fractions=size is None, size=size,
                split=split_of(name), where=where,
            )
        )  # fmt: skip

    def _named(
        self, region: Mapping[str, Any], others: Sequence[Mapping[str, Any]], box: Box, where: str
    ) -> NamedBox:
        values = [one["value"] for one in (region, *others)]
        labels = [label for value in values for key in _LABELS for label in _texts(value.get(key))]
        if len(set(labels)) != 1:
            raise AnnotationError(
                f"{where}, region {_region_id(region)}: expected one label. Received: "
                f"{some(labels) or 'none'}."
            )
        if not _is_upright_rectangle(region["value"]):
            self.counts.add(_SHAPE, where)
        subtypes = [text for value in values for text in _texts(value.get("choices"))]
        subtype = subtypes[0] if len(subtypes) == 1 else ""
        return NamedBox(labels[0], box, f"{where}, region {_region_id(region)}", subtype)

    def _report(self) -> None:
        self.found.some_of(self.problems, self.file)
        self.counts.report(self.found, self.file, [_SHAPE])
        if self.lost:
            self.found.problems.append(
                f"{self.file}: {counted(len(self.lost), 'task')} without an image in "
                f"{self.images.folder}: {some(self.lost)}"
            )
        if self.several:
            self.found.notes.append(
                f"{self.file}: {counted(len(self.several), 'task')} with several annotations; the "
                f"one marked as ground truth, or the latest, was used: {some(self.several)}"
            )


def _submitted(task: Mapping[str, Any]) -> list[Mapping[str, Any]] | None:
    """Return the annotations that people submitted, or None if there are none.

    A task in JSON-MIN is its own annotation: its regions are lists next to the image's name.
    """
    found = task.get("annotations", task.get("completions"))
    if found is None and "data" not in task and "predictions" not in task:
        lists = [value for value in task.values() if isinstance(value, list)]
        regions = [one for value in lists for one in value if _is_minimal(one)]
        return [{"result": [_from_minimal(one, n) for n, one in enumerate(regions, start=1)]}]
    if not isinstance(found, list):
        return None
    usable: list[Mapping[str, Any]] = [
        a for a in found if isinstance(a, dict) and not a.get("was_cancelled")
    ]
    return usable or None


def _is_minimal(region: object) -> bool:
    return isinstance(region, dict) and any(name in region for name in _LABELS)


def _from_minimal(region: Mapping[str, Any], number: int) -> dict[str, Any]:
    names = ("original_width", "original_height", "image_rotation")
    outer = {name: region[name] for name in names if name in region}
    return {**outer, "id": f"number {number}", "value": region}


def _predicted(task: Mapping[str, Any]) -> list[Any] | None:
    """Return the regions of a task's last prediction; None if it has none."""
    found = task.get("predictions")
    usable = [p for p in found if isinstance(p, dict)] if isinstance(found, list) else []
    regions = usable[-1].get("result") if usable else None
    return regions if isinstance(regions, list) else None


def _by_region(results: Sequence[Any]) -> Iterator[tuple[Mapping[str, Any], list[Any]]]:
    """Yield each region with the other results of the same region, such as its choices."""
    groups: dict[object, list[Mapping[str, Any]]] = {}
    for number, result in enumerate(results):
        if isinstance(result, dict) and isinstance(result.get("value"), dict):
            key = result.get("id")
            groups.setdefault(key if isinstance(key, str) else number, []).append(result)
    for group in groups.values():
        shapes = [one for one in group if str(one.get("type", "rectanglelabels")) in _KINDS]
        if shapes:
            yield shapes[0], [one for one in group if one is not shapes[0]]
        elif "labels" in str(group[0].get("type")):  # key points, brush strokes
            yield group[0], group[1:]


def _box(region: Mapping[str, Any], where: str) -> tuple[Box, Size | None]:
    """Return the bounding box of a region in pixels and the image's size, or fractions and None."""
    value = region["value"]
    size = finite([region.get("original_width"), region.get("original_height")], 2)
    if size is not None and min(size) < 1:
        size = None
    points = _outline(value, *(size or (1.0, 1.0)))
    turned = region.get("image_rotation") or (value.get("rotation") and size is None)
    if not points or turned or not all(math.isfinite(side) for point in points for side in point):
        raise AnnotationError(
            f"{where}, region {_region_id(region)}: expected a rectangle, polygon or ellipse in "
            "percent of an image that is not turned, with original_width and original_height. "
            f"Received: {region.get('type')!r:.50} with {some(list(map(str, value)))[:100]}."
        )
    xs, ys = zip(*points, strict=True)
    box = (tidy(min(xs)), tidy(min(ys)), tidy(max(xs)), tidy(max(ys)))
    return box, None if size is None else (round(size[0]), round(size[1]))


def _outline(value: Mapping[str, Any], width: float, height: float) -> list[_Point]:
    """Return points in pixels that span the bounding box of a shape; none if it isn't one."""
    if "points" in value:
        points = value["points"] if isinstance(value["points"], list) else []
        found = [finite(point, 2) for point in points]
        corners = [(p[0] * width / 100, p[1] * height / 100) for p in found if p]
        return corners if len(corners) == len(found) > 2 else []
    names = (
        ("x", "y", "radiusX", "radiusY") if "radiusX" in value else ("x", "y", "width", "height")
    )
    sides = finite([*(value.get(name) for name in names), value.get("rotation") or 0], 5)
    if sides is None:
        return []
    x, y = sides[0] * width / 100, sides[1] * height / 100
    across, down = sides[2] * width / 100, sides[3] * height / 100
    cos, sin = math.cos(math.radians(sides[4])), math.sin(math.radians(sides[4]))
    if "radiusX" in value:  # around its centre
        half = math.hypot(across * cos, down * sin), math.hypot(across * sin, down * cos)
        return [(x - half[0], y - half[1]), (x + half[0], y + half[1])]
    # Label Studio turns rectangles clockwise around their first corner.
    corners = [(0.0, 0.0), (across, 0.0), (across, down), (0.0, down)]
    return [(x + a * cos - b * sin, y + a * sin + b * cos) for a, b in corners]


def _is_upright_rectangle(value: Mapping[str, Any]) -> bool:
    return "points" not in value and "radiusX" not in value and not value.get("rotation")


def _texts(value: object) -> list[str]:
    found = value if isinstance(value, list) else []
    return [valid_text(text).strip() for text in found if isinstance(text, str) and text.strip()]


def _task_id(task: Mapping[str, Any], number: int) -> str:
    key = task.get("id")
    return str(key)[:50] if isinstance(key, int | str) else f"#{number}"


def _region_id(region: Mapping[str, Any]) -> str:
    return valid_text(str(region.get("id")))[:50]


def _find_image(task: Mapping[str, Any], images: FieldImages) -> Path | None:
    """Return the image of a task: the first name that fits exactly one."""
    for name in _image_names(task):
        parts = name.replace("\\", "/").split("/")
        for start in range(len(parts)):
            found = images.find("/".join(parts[start:]))
            if len(found) == 1:
                return found[0]
    return None


def _image_names(task: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names that a task may give its image, the most reliable first."""
    data = task.get("data", task)
    values = data if isinstance(data, dict) else {}
    keys = sorted(values, key=lambda key: (key != "file", key != "image"))
    texts = [values[key] for key in keys if isinstance(values[key], str)]
    for text in (*texts, task.get("file_upload")):
        if not isinstance(text, str) or not text.strip():
            continue
        path = _path_of(text)
        yield unescape_name(path)
        folder, slash, name = path.rpartition("/")
        if _UPLOADED.match(name):
            yield f"{folder}{slash}{_UPLOADED.sub('', name, count=1)}"


def _path_of(url: str) -> str:
    """Return the path in a URL: of Label Studio's local storage, of a bucket, or a plain path."""
    if url.startswith(_LOCAL):
        query = parse_qs(url.partition("?")[2], errors="surrogateescape")
        return query.get("d", [""])[0]
    if "://" not in url and not url.startswith("/data/"):
        return url
    try:
        return unquote(urlsplit(url).path, errors="surrogateescape")
    except ValueError:
        return url
