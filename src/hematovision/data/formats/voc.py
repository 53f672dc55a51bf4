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
from html import escape
from pathlib import Path
from xml.etree import ElementTree as ET

from hematovision import safe_xml
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
from hematovision.data.formats.json_files import read_start
from hematovision.data.formats.layout import (
    Place,
    find_places,
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
)
from hematovision.data.samples import Split
from hematovision.data.textfiles import MAX_TEXT_BYTES
from hematovision.errors import AnnotationError
from hematovision.files import write_text
from hematovision.images.boxes import Box, Size

__all__ = ["Voc"]

_SIDES = ("xmin", "ymin", "xmax", "ymax")
# Characters that are not valid in XML; they are written as escapes such as \x01.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class Voc(AnnotationFormat):
    """Pascal VOC files; the module's docstring describes the layouts."""

    image_folder = "JPEGImages"
    split_lists: Path = Path("ImageSets") / "Main"

    def recognise(self, folders: Sequence[Path]) -> Path | None:
        """Return the first XML file."""
        nearby = (file for folder in folders for file in folder.glob("*.xml") if _is_voc(file))
        inside = (file for folder in folders for file in (folder / "Annotations").rglob("*.xml"))
        return next(nearby, None) or next(inside, None)

    def read(
        self, source: Path, annotations: Path | None = None, names: Sequence[str] | None = None
    ) -> Annotations:
        """Read boxes in pixels."""
        del names
        boxes = annotations and (_annotations(annotations) or annotations)
        places = find_places(source, boxes, _annotations) or [Place(source, source)]
        expected = "SOURCE/Annotations/*.xml, or *.xml next to the images"
        files = list_files(places, lambda folder: visible_files(folder, "*.xml"), "XML", expected)
        found = Collector()
        opened = open_places(places, found)
        for place, images in opened:
            for file in files[place]:
                _read_file(file, place, images, found)
        return found.result((images for _, images in opened), "box file")

    def open_writer(self, folder: Path, header: Header) -> FieldWriter:
        """Write ``Annotations/*.xml`` and the lists in ``ImageSets/Main``."""
        return _Writer(folder, header.model, self.split_lists)


class _Writer:
    """Writes one file per field, element by element."""

    def __init__(self, folder: Path, model: str, lists: Path) -> None:
        self._folder, self._model, self._lists = folder, model, lists
        self._files = FieldFiles("</annotation>\n")
        self._listed: dict[Split, list[str]] = {}

    def field(self, field: FieldToWrite) -> None:
        self._files.start(self._folder / "Annotations" / f"{field.stem}.xml")
        if field.split:
            self._listed.setdefault(field.split, []).append(field.stem)
        folder, _, name = field.file.rpartition("/")
        width, height = map(str, field.size)
        size = _element("size", "    ", width=width, height=height, depth="3")
        source = _element("source", "    ", annotation=self._model) if self._model else ""
        folder = _element("folder", text=folder) if folder else ""
        self._files.write(f"<annotation>\n{folder}{_element('filename', text=name)}{source}{size}")

    def box(self, box: BoxToWrite) -> None:
        self._files.write(_object(box))

    def close(self) -> None:
        self._files.close()
        for split, stems in self._listed.items():
            name = "val" if split == "valid" else split
            listed = "".join(f"{stem}\n" for stem in stems)
            write_text(self._folder / self._lists / f"{name}.txt", listed)

    def discard(self) -> None:
        self._files.discard()


def _object(box: BoxToWrite) -> str:
    """Return one ``<object>``; a cell to review is ``difficult``, one at the edge ``truncated``.

    Whatever else is known goes into ``<attributes>``, as CVAT and Datumaro write them.
    """
    marks = {}
    if box.details:
        marks["truncated"] = str(int(bool(box.details.get("on_edge"))))
        marks["difficult"] = str(int(box.review))
    sides = {name: repr(whole_number(v)) for name, v in zip(_SIDES, box.box, strict=True)}
    known = {"confidence": box.details.get("confidence"), **box.attributes()}
    attributes = [
        _element("attribute", " " * 8, 6, name=name, value=_text(value))
        for name, value in known.items()
        if value is not None
    ]
    inner = "".join(_element(name, level=4, text=value) for name, value in marks.items())
    bounds = _element("bndbox", " " * 6, 4, **sides)
    if attributes:
        attributes = ["    <attributes>\n", *attributes, "    </attributes>\n"]
    name = _element("name", level=4, text=box.label)
    return f"  <object>\n{name}{inner}{bounds}{''.join(attributes)}  </object>\n"


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _element(tag: str, indent: str = "", level: int = 2, *, text: str = "", **children: str) -> str:
    """Return an element on its own lines: with text, or with `children` indented by `indent`."""
    inner = _escaped(text)
    if children:
        lines = (f"{indent}<{name}>{_escaped(v)}</{name}>\n" for name, v in children.items())
        inner = f"\n{''.join(lines)}{' ' * level}"
    return f"{' ' * level}<{tag}>{inner}</{tag}>\n"


def _escaped(text: str) -> str:
    return escape(_valid(text), quote=False)


def _valid(text: str) -> str:
    return _NOT_XML.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def _is_voc(file: Path) -> bool:
    """Return False for the label configuration of Label Studio, which is next to its tasks."""
    return not read_start(file).startswith(b"<View")


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
            label, box = _label(element, where), _box(element, where)
            boxes.append(NamedBox(label, box, where, _subtype(element)))
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


def _subtype(element: ET.Element) -> str:
    """Return the attribute ``subtype``, as CVAT, Datumaro and this program write attributes."""
    attributes = element.iterfind("attributes/attribute")
    found = (a.findtext("value") or "" for a in attributes if a.findtext("name") == "subtype")
    return next(found, "").strip()


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
