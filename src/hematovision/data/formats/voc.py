"""Pascal VOC: one XML file per field, with boxes in pixels.

``SOURCE/Annotations/**/*.xml`` and ``SOURCE/JPEGImages/`` (or ``images/``, or SOURCE itself), the
same in a folder per split, or box files next to their images (Roboflow). The image is found by the
name of its XML file; the ``<filename>`` inside is often outdated and used only if that fails.
Coordinates are not changed, although files differ in whether the first pixel is 0 or 1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from hematovision import safe_xml
from hematovision.data.formats.annotations import (
    AnnotatedField,
    AnnotationFormat,
    Annotations,
    Collector,
    FieldImages,
    FieldToWrite,
    NamedBox,
    fields_by_split,
    some,
    split_of,
    then,
    whole_number,
)
from hematovision.data.formats.layout import Place, find_places, open_places, visible_files
from hematovision.data.textfiles import MAX_TEXT_BYTES
from hematovision.errors import AnnotationError, DatasetError
from hematovision.files import write_text
from hematovision.images.boxes import Box, Size

__all__ = ["Voc"]

_SIDES = ("xmin", "ymin", "xmax", "ymax")
# Characters that are not valid in XML; they are written as escapes such as \x01.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class Voc(AnnotationFormat):
    """Pascal VOC files; the module's docstring describes the layouts."""

    name = "voc"
    image_folder = "JPEGImages"
    split_lists: Path = Path("ImageSets") / "Main"

    def recognise(self, folders: Sequence[Path]) -> Path | None:
        """Return the first XML file."""
        nearby = (file for folder in folders for file in folder.glob("*.xml"))
        inside = (file for folder in folders for file in (folder / "Annotations").rglob("*.xml"))
        return next(nearby, None) or next(inside, None)

    def read(
        self, source: Path, annotations: Path | None = None, names: Sequence[str] | None = None
    ) -> Annotations:
        """Read boxes in pixels."""
        del names
        places = find_places(source, annotations, _annotations) or [Place(source, source)]
        files = {place: visible_files(place.boxes, "*.xml") for place in places}
        if not any(files.values()):
            raise DatasetError(
                f"No XML files in {', '.join(str(place.boxes) for place in places)}. Expected "
                "SOURCE/Annotations/*.xml, or *.xml next to the images. Choose another folder with "
                "--annotations, or another --format."
            )
        found = Collector()
        opened = open_places(places, found)
        for place, images in opened:
            for file in files[place]:
                _read_file(file, place, images, found)
        return found.result((images for _, images in opened), "box file")

    def write(self, folder: Path, fields: Sequence[FieldToWrite], classes: Sequence[str]) -> None:
        """Write ``Annotations/*.xml`` and the lists in ``ImageSets/Main``."""
        del classes  # VOC has no list of classes
        for field in fields:
            write_text(folder / "Annotations" / f"{field.stem}.xml", _to_xml(field))
        for split, members in fields_by_split(fields):
            if split is not None:
                name = "val" if split == "valid" else split
                listed = "".join(f"{field.stem}\n" for field in members)
                write_text(folder / self.split_lists / f"{name}.txt", listed)


def _to_xml(field: FieldToWrite) -> str:
    root = ET.Element("annotation")
    _add(root, "filename", field.file.rpartition("/")[2])
    size = ET.SubElement(root, "size")
    for name, value in zip(("width", "height", "depth"), (*field.size, 3), strict=True):
        _add(size, name, str(value))
    for label, box in field.boxes:
        element = ET.SubElement(root, "object")
        _add(element, "name", label)
        bounds = ET.SubElement(element, "bndbox")
        for name, side in zip(_SIDES, box, strict=True):
            _add(bounds, name, repr(whole_number(side)))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def _add(parent: ET.Element, tag: str, text: str) -> None:
    ET.SubElement(parent, tag).text = _NOT_XML.sub(lambda m: f"\\x{ord(m[0]):02x}", text)


def _annotations(folder: Path) -> Path | None:
    inner = folder / "Annotations"
    return inner if inner.is_dir() else None


def _read_file(file: Path, place: Place, images: FieldImages, found: Collector) -> None:
    try:
        root, lines = _parse(file)
    except AnnotationError as error:
        candidates = images.find(file.relative_to(place.boxes).with_suffix("").as_posix())
        problem = then(error, "Its image was left out.")
        if len(candidates) == 1:
            found.skip(candidates[0], problem)
        else:
            found.problems.append(problem)
        return
    image = _image(images, file.relative_to(place.boxes), root)
    if isinstance(image, str):
        found.problems.append(f"{file}: {image}")
        return
    boxes: list[NamedBox] = []
    problems: list[str] = []
    for element, line in zip(root.iter("object"), lines, strict=True):
        where = f"{file}, line {line}"
        try:
            boxes.append(NamedBox(_label(element, where), _box(element, where), where))
        except AnnotationError as error:
            problems.append(then(error, "This box was skipped."))
    found.some_of(problems, file)
    name, size = images.name(image), _size(root)
    found.add(
        AnnotatedField(image, name, tuple(boxes), size=size, split=split_of(name), where=str(file))
    )


def _parse(file: Path) -> tuple[ET.Element, list[int]]:
    """Parse one XML file; return its root and the line of each ``<object>``, in order."""
    lines: list[int] = []

    def note(tag: str, line: int) -> None:
        if tag == "object":
            lines.append(line)

    try:
        size = file.stat().st_size
        root = safe_xml.parse(file.read_bytes(), note) if size <= MAX_TEXT_BYTES else None
    except OSError as error:
        raise AnnotationError(f"Cannot read {file}: {error}") from error
    except ValueError as error:
        raise AnnotationError(f"{file}, {error}") from error
    if root is None:
        raise AnnotationError(
            f"{file} has more than {MAX_TEXT_BYTES:,} bytes, too many for one image."
        )
    if root.tag != "annotation":
        raise AnnotationError(
            f"{file}: expected a Pascal VOC file with the root element <annotation>. "
            f"Received: <{root.tag}>"
        )
    return root, lines


def _image(images: FieldImages, file: Path, root: ET.Element) -> Path | str:
    """Return a file's image, or text with the reason why there is none."""
    filename = (root.findtext("filename") or "").strip()
    for name in (file.with_suffix("").as_posix(), filename):
        found = images.find(name) if name else ()
        if len(found) == 1:
            return found[0]
        if found:
            return f"several images are called {name!r}: {some(list(map(str, found)))}"
    return f"no image {file.stem!r} (nor {filename!r}) in {images.folder}"


def _size(root: ET.Element) -> Size | None:
    """Return the width and height in ``<size>``; many tools write 0 for an unknown size."""
    try:
        width, height = (float(root.findtext(f"size/{side}") or 0) for side in ("width", "height"))
    except ValueError:
        return None
    usable = math.isfinite(width) and math.isfinite(height) and width >= 1 and height >= 1
    return (round(width), round(height)) if usable else None


def _label(element: ET.Element, where: str) -> str:
    label = (element.findtext("name") or "").strip()
    if not label:
        raise AnnotationError(f"{where}: an <object> needs a <name> with its class.")
    return label


def _box(element: ET.Element, where: str) -> Box:
    def side(name: str) -> float:
        text = element.findtext(f"bndbox/{name}")
        try:
            return float(text or "")
        except ValueError:
            raise AnnotationError(
                f"{where}: <bndbox> needs a number in <{name}>. Received: {text!r}."
            ) from None

    return side("xmin"), side("ymin"), side("xmax"), side("ymax")
