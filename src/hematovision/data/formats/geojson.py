"""GeoJSON of QuPath: one file per field, an object with an outline and a classification per cell.

``SOURCE/annotations/**/*.geojson`` and ``SOURCE/images/``, or files next to their images. The image
is found by the name of its file; QuPath does not write it into the file. Coordinates are pixels of
the image (of slides: of level 0). Outlines are replaced by their bounding boxes. A derived class of
QuPath, ``WBC: neutrophil``, is read as the class ``WBC`` with the subtype ``neutrophil``. The
format is described at https://qupath.readthedocs.io/en/stable/docs/advanced/exporting_annotations.html.
"""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
    whole_number,
)
from hematovision.data.formats.json_files import (
    MAX_JSON_BYTES,
    Counts,
    finite,
    read_json,
    read_start,
    to_json,
)
from hematovision.data.formats.layout import (
    Place,
    find_places,
    image_folder,
    list_files,
    open_places,
    visible_files,
)
from hematovision.data.formats.writing import (
    BoxToWrite,
    FieldFiles,
    FieldToWrite,
    FieldWriter,
    Header,
    class_colours,
)
from hematovision.errors import AnnotationError
from hematovision.images.boxes import Box, Size
from hematovision.paths import escape_name, unescape_name, valid_text

__all__ = ["GeoJson"]

_FOLDER = "annotations"
_EXPECTED = (
    f"SOURCE/{_FOLDER}/*.geojson, or *.geojson next to the images, with the names of the images"
)
_OWN = "hematovision"  # the member with the image's name and size
_SIGN = re.compile(rb'"type"\s*:\s*"Feature(Collection)?"')
_SEPARATOR = ": "  # between a class and its subtype, as in QuPath
_NOT_CELLS = frozenset({"tile", "tmaCore", "tma_core", "root", "PathTileObject", "TMACoreObject",
                        "PathRootObject"})  # fmt: skip
_DERIVED = "with a derived class; what follows the colon was read as the subtype"
_OUTLINE = "with an outline that is not a rectangle; its bounding box was used"
_IGNORED = "with a class that QuPath ignores (its name ends in *), left out"
_PREDICTED = "predicted by a model, in files that nobody has saved since; they were used"
_NOTES = (_DERIVED, _OUTLINE, _IGNORED, _PREDICTED)


class GeoJson(AnnotationFormat):
    """GeoJSON files of QuPath; the module's docstring describes the layouts."""

    split_folders = True

    def recognise(self, folders: Sequence[Path]) -> Path | None:
        """Return the first file."""
        nearby = (file for folder in folders for file in _files(folder, deep=False))
        inside = (file for folder in folders for file in _files(folder / _FOLDER))
        return next(nearby, None) or next(inside, None)

    def read(
        self, source: Path, annotations: Path | None = None, names: Sequence[str] | None = None
    ) -> Annotations:
        """Read boxes in pixels."""
        del names
        boxes = annotations and (_annotations(annotations) or annotations)
        places = find_places(source, boxes, _annotations)
        places = places or [Place(source, image_folder(source))]
        files = list_files(places, _files, "GeoJSON", _EXPECTED)
        found, counts = Collector(), Counts("object")
        opened = open_places(places, found)
        for place, images in opened:
            for file in files[place]:
                _read_file(file, place, images, found, counts)
        counts.report(found, boxes or source, _NOTES)
        return found.result((images for _, images in opened), "GeoJSON file")

    def open_writer(self, folder: Path, header: Header) -> FieldWriter:
        """Write ``annotations/*.geojson``, or ``*.geojson`` without images."""
        return _Writer(folder / _FOLDER if header.images_inside else folder, header)


class _Writer:
    """Writes one file per field, feature by feature.

    Cells to review and boxes of a person are annotations, which QuPath lists and lets a person
    edit; the others are detections, of which it handles millions.
    """

    def __init__(self, folder: Path, header: Header) -> None:
        self._folder, self._header = folder, header
        self._colours = class_colours(header.classes)
        self._files = FieldFiles("\n]}\n")
        self._file = ""
        self._number = 0

    def field(self, field: FieldToWrite) -> None:
        self._files.start(self._folder / f"{field.stem}.geojson")
        self._file, self._number = escape_name(field.file), 0
        about = {"image": self._file, "width": field.size[0], "height": field.size[1]}
        if self._header.model:
            about["model"] = self._header.model
        start = f'{{"type": "FeatureCollection", "{_OWN}": {to_json(about)}, "features": ['
        self._files.write(start)

    def box(self, box: BoxToWrite) -> None:
        start = ",\n" if self._number else "\n"
        self._number += 1
        name = valid_text(f"{self._file}#{self._number}")
        feature = {
            "type": "Feature",
            # A fixed identifier: importing twice replaces objects instead of doubling them.
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
            "geometry": {"type": "Polygon", "coordinates": [_rectangle(box.box)]},
            "properties": self._properties(box),
        }
        self._files.write(start + to_json(feature))

    def close(self) -> None:
        self._files.close()

    def discard(self) -> None:
        self._files.discard()

    def _properties(self, box: BoxToWrite) -> dict[str, object]:
        names = (box.label, box.subtype) if box.subtype else (box.label,)
        by_model = bool(box.details) and box.details.get("source") != "person"
        properties: dict[str, object] = {
            "objectType": "detection" if by_model and not box.review else "annotation",
            "classification": {
                "name": _SEPARATOR.join(names),
                "color": list(self._colours[box.label]),
            },
        }
        values = {name: v for name, v in box.details.items() if isinstance(v, int | float)}
        if box.details:
            values["review"] = box.review
            properties["measurements"] = {name: whole_number(v) for name, v in values.items()}
        texts = {name: v for name, v in box.details.items() if isinstance(v, str) and v}
        if texts:
            properties["metadata"] = texts
        return properties


def _rectangle(box: Box) -> list[list[float]]:
    left, top, right, bottom = map(whole_number, box)
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def _files(folder: Path, *, deep: bool = True) -> Iterator[Path]:
    """Yield the GeoJSON files of a folder, in order: by suffix, or ``.json`` with features."""
    if not folder.is_dir():
        return
    found = visible_files(folder, "*json") if deep else sorted(folder.glob("*json"))
    for file in found:
        suffix = file.suffix.casefold()
        if suffix == ".geojson" or (suffix == ".json" and _has_features(file)):
            yield file


def _has_features(file: Path) -> bool:
    return _SIGN.search(read_start(file)) is not None


def _annotations(folder: Path) -> Path | None:
    inner = folder / _FOLDER
    return inner if next(_files(inner), None) else None


def _read_file(
    file: Path, place: Place, images: FieldImages, found: Collector, counts: Counts
) -> None:
    relative = file.relative_to(place.boxes)
    try:
        content = read_json(file, MAX_JSON_BYTES)
        features = list(_features(content, file))
    except AnnotationError as error:
        candidates = images.find(relative.with_suffix("").as_posix())
        problem = then(error, "Its image was left out.")
        if len(candidates) == 1:
            found.skip(candidates[0], problem)
        else:
            found.problems.append(problem)
        return
    own = content.get(_OWN) if isinstance(content, dict) else None
    own = own if isinstance(own, dict) else {}
    image = _image(images, relative, own)
    if isinstance(image, str):
        found.problems.append(f"{file}: {image}")
        return
    reader = _Reader(counts)
    for number, feature in enumerate(features, start=1):
        where = f"{file}, object {number}"
        reader.read(feature, where)
        if own and _is_predicted(feature):
            counts.add(_PREDICTED, where)
    found.some_of(reader.problems, file)
    name = images.name(image)
    boxes = tuple(reader.boxes)
    found.add(
        AnnotatedField(image, name, boxes, size=_size(own), split=split_of(name), where=str(file))
    )


def _features(content: object, file: Path) -> Iterator[Any]:
    """Yield the features of a file, with the child objects of each."""
    if isinstance(content, dict) and content.get("type") == "FeatureCollection":
        content = content.get("features")
    elif isinstance(content, dict) and content.get("type") == "Feature":
        content = [content]
    if not isinstance(content, list):
        raise AnnotationError(
            f"{file} is not a GeoJSON file of QuPath: expected a FeatureCollection, or a list of "
            f"features. Received: {_kind(content)}."
        )
    waiting = content[::-1]
    while waiting:
        feature = waiting.pop()
        yield feature
        children = _member(_member(feature, "properties"), "childObjects")
        if isinstance(children, list):
            waiting += children[::-1]


def _is_predicted(feature: object) -> bool:
    """Return whether `hematovision analyze` wrote an object that no person has changed."""
    metadata = _member(_member(feature, "properties"), "metadata")
    return bool(_member(metadata, "source") == "model")


def _kind(value: object) -> str:
    kind = _member(value, "type")
    return f"{kind!r:.50}" if isinstance(kind, str) else f"a JSON {type(value).__name__}"


def _member(value: object, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _image(images: FieldImages, file: Path, own: Mapping[str, Any]) -> Path | str:
    """Return a file's image, or text with the reason why there is none."""
    inside = unescape_name(str(own.get("image") or ""))
    for name in (file.with_suffix("").as_posix(), inside):
        found = images.find(name) if name else ()
        if len(found) == 1:
            return found[0]
        if found and name is inside:
            return f"several images are called {name!r}: {some(list(map(str, found)))}"
    return f"no image {file.stem!r}, or several, in {images.folder}"


def _size(own: Mapping[str, Any]) -> Size | None:
    sides = finite([own.get("width"), own.get("height")], 2)
    return (round(sides[0]), round(sides[1])) if sides and min(sides) >= 1 else None


@dataclass
class _Reader:
    """Reads the features of one file."""

    counts: Counts  # of all files
    boxes: list[NamedBox] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    seen: set[tuple[str, str, Box]] = field(default_factory=set)

    def read(self, feature: Any, where: str) -> None:
        if _member(feature, "type") != "Feature":
            self.problems.append(f"{where} is not a GeoJSON feature. It was skipped.")
            return
        properties = _member(feature, "properties")
        if _object_type(feature, properties) in _NOT_CELLS:
            self.counts.add("that are tiles, cores or the root, left out", where)
            return
        names = _class_names(_member(properties, "classification"))
        if not names:
            self.counts.add("without a class, left out", where)
            return
        if names[0].endswith("*"):
            self.counts.add(_IGNORED, where)
            return
        outline = _bounds(_member(feature, "geometry"))
        if outline is None:
            received = _kind(_member(feature, "geometry"))
            self.problems.append(
                f"{where}: expected a polygon with an area. Received: {received}. It was skipped."
            )
            return
        self._add(names, *outline, where)

    def _add(self, names: Sequence[str], box: Box, is_box: bool, where: str) -> None:  # noqa: FBT001
        key = (names[0], _SEPARATOR.join(names[1:]), box)
        if key in self.seen:
            self.counts.add("repeating another (same class and box), left out", where)
            return
        self.seen.add(key)
        if not is_box:
            self.counts.add(_OUTLINE, where)
        if len(names) > 1:
            self.counts.add(_DERIVED, where)
        self.boxes.append(NamedBox(key[0], box, where, key[1]))


def _object_type(feature: object, properties: object) -> str:
    """Return the type of an object: ``objectType``, or what older versions of QuPath wrote."""
    known = (_member(properties, name) for name in ("objectType", "object_type"))
    return str(next((name for name in known if name), _member(feature, "id")))


def _class_names(classification: object) -> tuple[str, ...]:
    """Return the parts of a classification: a name, an object with one, or with several names."""
    name = classification
    if isinstance(classification, dict):
        name = classification.get("name") or classification.get("names")
    parts = name.split(_SEPARATOR) if isinstance(name, str) else name
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        return ()
    stripped = [valid_text(part).strip() for part in parts]
    return tuple(stripped) if all(stripped) else ()


def _bounds(geometry: object) -> tuple[Box, bool] | None:
    """Return the bounding box of a geometry, and whether it is that box; None without an area."""
    rings = list(_rings(geometry))
    points = [
        finite(point[:2], 2) if isinstance(point, list) else None for r in rings for point in r
    ]
    if not points or any(point is None for point in points):
        return None
    xs, ys = zip(*(point for point in points if point), strict=True)
    box = (min(xs), min(ys), max(xs), max(ys))
    if not (box[0] < box[2] and box[1] < box[3] and all(map(math.isfinite, box))):
        return None
    corners = {(x, y) for x, y in zip(xs, ys, strict=True)}
    left, top, right, bottom = box
    return box, corners == {(left, top), (right, top), (right, bottom), (left, bottom)}


def _rings(geometry: object) -> Iterator[list[Any]]:
    """Yield the outer rings of a polygon, of several, or of a collection; nothing for the rest."""
    kind, coordinates = _member(geometry, "type"), _member(geometry, "coordinates")
    if kind == "GeometryCollection":
        geometries = _member(geometry, "geometries")
        for inner in geometries if isinstance(geometries, list) else []:
            if _member(inner, "type") != "GeometryCollection":
                yield from _rings(inner)
        return
    polygons = [coordinates] if kind == "Polygon" else coordinates if kind == "MultiPolygon" else []
    for polygon in polygons if isinstance(polygons, list) else []:
        if isinstance(polygon, list) and polygon and isinstance(polygon[0], list):
            yield polygon[0]
