"""YOLO: one text file a field, a line a box: class id, centre x and y, width, height as fractions.

``SOURCE/labels/**/*.txt`` and ``SOURCE/images/**``. The names of the class ids are given with
``--names``, or stand in ``data.yaml`` (its ``names:``), ``classes.txt`` or ``obj.names``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from hematovision.data.importing.annotations import (
    AnnotatedField,
    Annotations,
    FieldImages,
    NamedBox,
    read_text,
    some,
)
from hematovision.data.samples import Box
from hematovision.errors import AnnotationError, DatasetError

__all__ = ["read"]

_NAME_LISTS = ("classes.txt", "obj.names")
_YAML = ("data.yaml", "data.yml", "dataset.yaml")
# Label tools round; a value this far outside [0, 1] is a pixel or another format's column.
_TOLERANCE = 0.05


def read(
    source: Path, annotations: Path | None = None, names: Sequence[str] | None = None
) -> Annotations:
    """Read the boxes of a YOLO folder.

    Parameters
    ----------
    source : Path
        Holds ``images`` and, where `annotations` is None, ``labels``.
    annotations : Path, optional
        Another folder of label files, searched recursively.
    names : sequence of str, optional
        The names of the ids 0, 1, 2, ...

    Returns
    -------
    Annotations
        Boxes as fractions; fields sorted by image. A label file without an image is among the
        problems.

    Raises
    ------
    AnnotationError
        If a file cannot be understood, an id has no name, or two files describe one image.
    DatasetError
        If there are no label files or no images.
    """
    folder = annotations if annotations is not None else source / "labels"
    files = [f for f in sorted(folder.rglob("*.txt")) if f.name not in _NAME_LISTS]
    if not files:
        raise DatasetError(
            f"No label files in {folder}. Expected SOURCE/labels/*.txt; choose another folder with "
            "--annotations, or another --format."
        )
    known = list(names) if names else _find_names(source, folder)
    images = FieldImages(source / "images" if (source / "images").is_dir() else source)
    fields: dict[Path, AnnotatedField] = {}
    problems: list[str] = []
    for file in files:
        found = images.find(file.relative_to(folder).with_suffix("").as_posix())
        if len(found) != 1:
            problems.append(f"{file}: {'no image' if not found else 'several images'} of that name")
            continue
        image = found[0]
        if image in fields:
            raise AnnotationError(f"{file}: another label file describes {image} too. Keep one.")
        boxes = tuple(_boxes(file, known))
        fields[image] = AnnotatedField(image, images.name(image), boxes, fractions=True)
    if unused := images.unused(fields):
        problems.append(f"{len(unused)} images have no label file: {some(unused)}")
    return Annotations(tuple(fields[image] for image in sorted(fields)), tuple(problems))


def _boxes(file: Path, names: Sequence[str]) -> Iterator[NamedBox]:
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        if line.strip():
            where = f"{file}, line {number}"
            label, box = _box(line.split(), names, where)
            yield NamedBox(label, box, where)


def _box(values: list[str], names: Sequence[str], where: str) -> tuple[str, Box]:
    if len(values) != 5:
        kind = "predictions with confidence" if len(values) == 6 else "polygons"
        hint = f" ({kind} are not boxes drawn by a person)" if len(values) >= 6 else ""
        raise AnnotationError(
            f"{where}: expected 5 values: class id, centre x, centre y, width, height. Received "
            f"{len(values)}{hint}: {' '.join(values)[:200]!r}"
        )
    try:
        number = int(values[0])
        x, y, width, height = map(float, values[1:])
    except ValueError:
        raise AnnotationError(
            f"{where}: expected a whole number and four fractions. Received: {' '.join(values)!r}"
        ) from None
    if any(v > 1 + _TOLERANCE or v < -_TOLERANCE for v in (x, y, width, height)):
        raise AnnotationError(
            f"{where}: centre and size should be fractions of the image, between 0 and 1. "
            f"Received: {' '.join(values)!r}"
        )
    if not 0 <= number < len(names):
        raise AnnotationError(f"{where}: the class id {number} has no name. {_hint(names)}")
    return names[number], (x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def _hint(names: Sequence[str]) -> str:
    if names:
        return (
            f"Names are known for 0 to {len(names) - 1}: {', '.join(names)}. Give all, in the "
            "order of the ids, with --names."
        )
    return "Give the names in the order of the ids, for instance --names WBC,RBC,Platelets."


def _find_names(source: Path, labels: Path) -> list[str]:
    """Read the names of the class ids from the first file that has them; none is an empty list."""
    for folder in dict.fromkeys((source, labels)):
        for name in _NAME_LISTS:
            if (folder / name).is_file():
                return [
                    line.strip() for line in read_text(folder / name).splitlines() if line.strip()
                ]
    for name in _YAML:
        if (source / name).is_file():
            return _yaml_names(source / name)
    return []


def _yaml_names(file: Path) -> list[str]:
    """Read the ``names:`` of a ``data.yaml``, in the four forms in which YOLO tools write it.

    ``[a, b]``, ``{0: a, 1: b}``, or a block of ``- a`` or ``0: a`` lines. This is no YAML reader:
    anything else is refused rather than guessed.
    """
    text = re.sub(r"(?m)(^|\s)#.*$", "", read_text(file))
    found = re.search(r"(?m)^names[ \t]*:[ \t]*", text)
    if not found:
        return []
    rest = text[found.end() :]
    if inline := re.match(r"\[([^\[\]{}]*)\]|\{([^\[\]{}]*)\}", rest):
        items = [part.strip() for part in (inline[1] or inline[2] or "").split(",")]
        numbered = inline[2] is not None
    else:
        block = re.match(r"\s*\n((?:[ \t]*(?:-[ \t]|\d+[ \t]*:[ \t]).*(?:\n|$)|[ \t]*\n)*)", rest)
        items = [line.strip() for line in block[1].splitlines()] if block else []
        numbered = not any(item.startswith("-") for item in items)
        items = [item.removeprefix("-").strip() for item in items]
    names = [_unquote(item) for item in items if item]
    if numbered:
        names = _in_order(names)
    if not names or not all(names):
        raise AnnotationError(
            f"{file}: cannot understand `names:`. Expected names: [WBC, RBC, Platelets]. Write it "
            "so, or give the names with --names."
        )
    return names


def _in_order(items: list[str]) -> list[str]:
    """Return the names of ``0: a`` items, or nothing if the ids are not 0, 1, 2, ..."""
    pairs = [item.partition(":") for item in items]
    numbers = [key.strip() for key, _, _ in pairs]
    if sorted(numbers, key=lambda n: (len(n), n)) != list(map(str, range(len(pairs)))):
        return []
    ordered = sorted(pairs, key=lambda pair: int(pair[0]))
    return [_unquote(value) for _, _, value in ordered]


def _unquote(text: str) -> str:
    text = text.strip()
    quoted = len(text) >= 2 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if quoted else text
