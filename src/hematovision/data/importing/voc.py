"""Pascal VOC: one XML file a field, with boxes in pixels.

``SOURCE/Annotations/**/*.xml`` and ``SOURCE/JPEGImages/`` (``images/``, or SOURCE itself, where
that is missing), the same in a folder for each split, or box files beside their images, as Roboflow
lays them out. A field's image is found by the name of its XML file; the ``<filename>`` inside,
which is often left over from another machine, only where that fails. Coordinates are taken as they
stand: the files in the wild disagree on whether the first pixel is 0 or 1.
"""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree.ElementTree import Element

from hematovision import safe_xml
from hematovision.data.importing.annotations import (
    AnnotatedField,
    Annotations,
    Collector,
    FieldImages,
    NamedBox,
    some,
    split_of,
    then,
)
from hematovision.data.importing.places import (
    Place,
    find_places,
    open_places,
    visible_files,
)
from hematovision.data.texts import MAX_TEXT_BYTES
from hematovision.errors import AnnotationError, DatasetError
from hematovision.images.boxes import Box, Size

__all__ = ["SPLIT_LISTS", "read"]

SPLIT_LISTS = Path("ImageSets") / "Main"
"""Where a VOC folder keeps its official split, relative to SOURCE."""


def read(source: Path, annotations: Path | None = None) -> Annotations:
    """Read the boxes of a Pascal VOC folder.

    Parameters
    ----------
    source : Path
        The folder; see this module's docstring for the layouts.
    annotations : Path, optional
        Another folder of XML files, searched recursively.

    Returns
    -------
    Annotations
        Boxes in pixels; fields sorted by image. Files without an image, and files and boxes that
        can't be understood, are among the problems.

    Raises
    ------
    DatasetError
        If there are no XML files or no images.
    """
    places = find_places(source, annotations, _annotations) or [Place(source, source)]
    files = {place: visible_files(place.boxes, "*.xml") for place in places}
    if not any(files.values()):
        raise DatasetError(
            f"No XML files in {', '.join(str(place.boxes) for place in places)}. Expected "
            "SOURCE/Annotations/*.xml, or *.xml beside the images; choose another folder with "
            "--annotations, or another --format."
        )
    found = Collector()
    opened = open_places(places, found)
    for place, images in opened:
        for file in files[place]:
            _read_file(file, place, images, found)
    return found.result((images for _, images in opened), "box file")


def _annotations(folder: Path) -> Path | None:
    inner = folder / "Annotations"
    return inner if inner.is_dir() else None


def _read_file(file: Path, place: Place, images: FieldImages, found: Collector) -> None:
    """Read one box file; one that can't be understood is a problem, not the end."""
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
    boxes, problems = _boxes(file, root, lines)
    found.some_of(problems, file)
    name = images.name(image)
    found.add(
        AnnotatedField(image, name, boxes, size=_size(root), split=split_of(name), where=str(file))
    )


def _parse(file: Path) -> tuple[Element, list[int]]:
    """Parse one XML file; return its root and the line of each ``<object>``, in order."""
    lines: list[int] = []

    def note(tag: str, line: int) -> None:
        if tag == "object":
            lines.append(line)

    try:
        if file.stat().st_size > MAX_TEXT_BYTES:
            raise AnnotationError(
                f"{file} has more than {MAX_TEXT_BYTES:,} bytes, too many for one image."
            )
        root = safe_xml.parse(file.read_bytes(), note)
    except OSError as error:
        raise AnnotationError(f"Cannot read {file}: {error}") from error
    except ValueError as error:
        raise AnnotationError(f"{file}, {error}") from error
    return _checked(file, root), lines


def _checked(file: Path, root: Element) -> Element:
    if root.tag != "annotation":
        raise AnnotationError(
            f"{file}: expected a Pascal VOC file, whose outermost element is <annotation>. "
            f"Received: <{root.tag}>"
        )
    return root


def _image(images: FieldImages, file: Path, root: Element) -> Path | str:
    """Find a file's image; a text says why there is none."""
    filename = (root.findtext("filename") or "").strip()
    for name in (file.with_suffix("").as_posix(), filename):
        found = images.find(name) if name else ()
        if len(found) == 1:
            return found[0]
        if found:
            return f"several images are called {name!r}: {some(list(map(str, found)))}"
    return f"no image {file.stem!r} (nor {filename!r}) in {images.folder}"


def _boxes(file: Path, root: Element, lines: list[int]) -> tuple[tuple[NamedBox, ...], list[str]]:
    """Return the boxes, and what is wrong with those that can't be understood."""
    boxes: list[NamedBox] = []
    problems: list[str] = []
    for element, line in zip(root.iter("object"), lines, strict=True):
        where = f"{file}, line {line}"
        try:
            boxes.append(NamedBox(_label(element, where), _box(element, where), where))
        except AnnotationError as error:
            problems.append(then(error, "This box was skipped."))
    return tuple(boxes), problems


def _size(root: Element) -> Size | None:
    """Return the width and height in ``<size>``; many tools leave 0 where they know none."""
    try:
        width, height = (float(root.findtext(f"size/{side}") or 0) for side in ("width", "height"))
    except ValueError:
        return None
    usable = math.isfinite(width) and math.isfinite(height) and width >= 1 and height >= 1
    return (round(width), round(height)) if usable else None


def _label(element: Element, where: str) -> str:
    label = (element.findtext("name") or "").strip()
    if not label:
        raise AnnotationError(f"{where}: an <object> needs a <name> that says its class.")
    return label


def _box(element: Element, where: str) -> Box:
    def side(name: str) -> float:
        text = element.findtext(f"bndbox/{name}")
        try:
            return float(text or "")
        except ValueError:
            raise AnnotationError(
                f"{where}: <bndbox> needs a number in <{name}>. Received: {text!r}."
            ) from None

    return side("xmin"), side("ymin"), side("xmax"), side("ymax")
