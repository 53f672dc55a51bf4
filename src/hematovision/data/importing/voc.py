"""Pascal VOC: one XML file a field, with boxes in pixels.

``SOURCE/Annotations/**/*.xml`` and ``SOURCE/JPEGImages/`` (``images/``, or SOURCE itself, where
that is missing). A field's image is found by the name of its XML file; the ``<filename>`` inside,
which is often left over from another machine, only where that fails. Coordinates are taken as they
stand: the files in the wild disagree on whether the first pixel is 0 or 1.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element

from hematovision import safe_xml
from hematovision.data.importing.annotations import (
    AnnotatedField,
    Annotations,
    FieldImages,
    NamedBox,
    some,
)
from hematovision.data.samples import Box
from hematovision.errors import AnnotationError, DatasetError

__all__ = ["SPLIT_LISTS", "read"]

SPLIT_LISTS = Path("ImageSets") / "Main"
"""Where a VOC folder keeps its official split, relative to SOURCE."""

_IMAGE_FOLDERS = ("JPEGImages", "images")


def read(source: Path, annotations: Path | None = None) -> Annotations:
    """Read the boxes of a Pascal VOC folder.

    Parameters
    ----------
    source : Path
        Holds ``JPEGImages`` and, where `annotations` is None, ``Annotations``.
    annotations : Path, optional
        Another folder of XML files, searched recursively.

    Returns
    -------
    Annotations
        Boxes in pixels; fields sorted by image. A file without an image is among the problems.

    Raises
    ------
    AnnotationError
        If a file cannot be understood, or two files describe one image.
    DatasetError
        If there are no XML files or no images.
    """
    folder = annotations if annotations is not None else source / "Annotations"
    files = sorted(folder.rglob("*.xml"))
    if not files:
        raise DatasetError(
            f"No XML files in {folder}. Expected SOURCE/Annotations/*.xml; choose another folder "
            "with --annotations, or another --format."
        )
    images = FieldImages(next((f for n in _IMAGE_FOLDERS if (f := source / n).is_dir()), source))
    fields: dict[Path, AnnotatedField] = {}
    origin: dict[Path, Path] = {}
    problems: list[str] = []
    for file in files:
        root, lines = _parse(file)
        image = _image(images, file.relative_to(folder), root)
        if isinstance(image, str):
            problems.append(f"{file}: {image}")
            continue
        if image in origin:
            raise AnnotationError(
                f"{file} and {origin[image]} both describe {image}. Keep one of the two, or choose "
                "one folder with --annotations."
            )
        origin[image] = file
        fields[image] = AnnotatedField(image, images.name(image), _boxes(file, root, lines))
    if unused := images.unused(fields):
        problems.append(f"{len(unused)} images have no box file: {some(unused)}")
    return Annotations(tuple(fields[image] for image in sorted(fields)), tuple(problems))


def _parse(file: Path) -> tuple[Element, list[int]]:
    """Parse one XML file; return its root and the line of each ``<object>``, in order."""
    lines: list[int] = []

    def note(tag: str, line: int) -> None:
        if tag == "object":
            lines.append(line)

    try:
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


def _boxes(file: Path, root: Element, lines: list[int]) -> tuple[NamedBox, ...]:
    boxes = []
    for element, line in zip(root.iter("object"), lines, strict=True):
        where = f"{file}, line {line}"
        label = (element.findtext("name") or "").strip()
        if not label:
            raise AnnotationError(f"{where}: an <object> needs a <name> that says its class.")
        boxes.append(NamedBox(label, _box(element, where), where))
    return tuple(boxes)


def _box(element: Element, where: str) -> Box:
    def side(name: str) -> float:
        text = element.findtext(f"bndbox/{name}")
        try:
            return float(text or "")
        except ValueError:
            raise AnnotationError(
                f"{where}: <bndbox> needs a number in <{name}>. Received: {text!r}"
            ) from None

    return side("xmin"), side("ymin"), side("xmax"), side("ymax")
