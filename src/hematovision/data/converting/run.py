"""Converting a dataset: read boxes, measure and copy images, write boxes."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from hematovision import images
from hematovision.data.appearing import appearing, check_free, check_outside
from hematovision.data.converting.writers import IMAGE_FOLDERS, WRITERS, FieldToWrite
from hematovision.data.importing import voc
from hematovision.data.importing.annotations import (
    AnnotatedField,
    Annotations,
    counted,
    some,
    split_of,
    tidy,
)
from hematovision.data.importing.frames import Frame, find_frame
from hematovision.data.importing.names import safe_name, unique_names
from hematovision.data.importing.parts import GivenSplit, SplitLists, find_given, parse_parts
from hematovision.data.importing.places import without_wrapper
from hematovision.data.importing.reading import (
    BOX_FORMATS,
    BoxFormat,
    detect_format,
    read_fields,
)
from hematovision.errors import AnnotationError, DatasetError, ImageError
from hematovision.files import copy_file, write_text
from hematovision.images import is_image_name
from hematovision.images.boxes import Box, intersect_box
from hematovision.paths import shown, valid_text, valid_value
from hematovision.progress import Progress, no_progress

__all__ = ["REPORT_FILE", "ConvertReport", "convert_dataset"]

REPORT_FILE = "convert.json"

_MOST_THREADS = 4


@dataclass(frozen=True)
class ConvertReport:
    """What a conversion did.

    Parameters
    ----------
    dest : Path
        The folder that was written.
    source : Path
        What it was made from.
    from_format, to_format : str
        The two formats.
    fields, boxes : int
        How many were written.
    splits : mapping of str to int
        The number of fields of each split; ``all`` where there is none.
    classes : tuple of str
        Their names, in the order of the ids in formats that have any.
    problems : tuple of str
        What could not be converted, each naming its file.
    notes : tuple of str
        What was done that someone may not expect.
    """

    dest: Path
    source: Path
    from_format: BoxFormat
    to_format: BoxFormat
    fields: int
    boxes: int
    splits: Mapping[str, int]
    classes: tuple[str, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether everything was converted."""
        return not self.problems

    def to_json(self) -> str:
        """Return the text of ``convert.json``."""
        value = {
            "source": str(self.source),
            "from": self.from_format,
            "to": self.to_format,
            "fields": self.fields,
            "boxes": self.boxes,
            "splits": dict(self.splits),
            "classes": list(self.classes),
            "problems": list(self.problems),
            "notes": list(self.notes),
        }
        return json.dumps(valid_value(value), indent=2, ensure_ascii=False) + "\n"


def convert_dataset(
    source: Path,
    dest: Path,
    *,
    to: BoxFormat,
    format: BoxFormat | None = None,  # noqa: A002  # as in `import_dataset`
    annotations: Path | None = None,
    names: Sequence[str] | None = None,
    progress: Progress = no_progress,
) -> ConvertReport:
    """Convert annotated fields to another format; images, class names and splits stay.

    Boxes are written for the upright image, in its pixels (``yolo``: as fractions of its sides).
    `dest` appears when it is complete, as in `import_dataset`.

    Parameters
    ----------
    source : Path
        The folder to convert.
    dest : Path
        A folder that does not exist, or is empty.
    to : {"voc", "yolo", "csv", "coco"}
        The format to write.
    format : {"voc", "yolo", "csv", "coco"}, optional
        The format of `source`; by default what `detect_format` finds.
    annotations : Path, optional
        Boxes elsewhere than the format keeps them.
    names : sequence of str, optional
        The names of the class ids 0, 1, 2, ... (yolo).
    progress : Progress
        Told about each field.

    Raises
    ------
    DatasetError
        If `source` has no annotated fields, or `dest` is not empty.
    OutputError
        If `dest` can't be written.
    """
    source, dest = Path(source), Path(dest)
    if not source.is_dir():
        raise DatasetError(f"The source {source} is not a folder. Give the folder to convert.")
    check_free(dest)
    check_outside(dest, source)
    from_ = _box_format(format or detect_format(source))
    _box_format(to)
    found = read_fields(source.resolve(), from_, annotations, names)
    if found.whole:
        raise DatasetError(
            f"The tables in {source} have labels but no boxes, so there is nothing to convert. Use "
            "`hematovision data import` for images of single cells."
        )
    fields, problems, notes = _with_splits(found, source.resolve(), from_)
    with appearing(dest) as folder:
        written, lost, said = _convert(fields, folder, to, progress)
        classes = _classes(found, written, to)
        WRITERS[to](folder, written, classes)
        report = ConvertReport(
            dest=dest,
            source=source,
            from_format=from_,
            to_format=to,
            fields=len(written),
            boxes=sum(len(field.boxes) for field in written),
            splits=Counter(field.split or "all" for field in written),
            classes=tuple(classes),
            problems=(*found.problems, *problems, *lost),
            notes=(*found.notes, *notes, *said),
        )
        write_text(folder / REPORT_FILE, report.to_json())
    return report


def _box_format(name: str) -> BoxFormat:
    for known in BOX_FORMATS:
        if name == known:
            return known
    raise DatasetError(
        f"The format of annotated fields must be one of {', '.join(BOX_FORMATS)}. Received: "
        f"{name!r}. Class folders have no boxes; use `hematovision data import` for them."
    )


def _with_splits(
    found: Annotations, source: Path, format_: BoxFormat
) -> tuple[list[AnnotatedField], list[str], list[str]]:
    """Give each field the split it comes with; fields in none of the splits are left out."""
    lists = without_wrapper(source) / voc.SPLIT_LISTS if format_ == "voc" else None
    parts = parse_parts(None, lists)
    given, _ = find_given(found.fields)
    if given is None and all(field.split for field in found.fields):
        given = GivenSplit({field.name: field.split for field in found.fields if field.split})
    parts = parts or given
    if not isinstance(parts, SplitLists | GivenSplit):
        return [replace(field, split=None) for field in found.fields], [], ["There is no split."]
    splits, problems = parts.assign([field.name for field in found.fields])
    fields = [
        replace(field, split=splits[field.name]) for field in found.fields if field.name in splits
    ]
    return fields, problems, [f"The split was kept: {', '.join(sorted(set(splits.values())))}."]


def _convert(
    fields: Sequence[AnnotatedField], folder: Path, to: BoxFormat, progress: Progress
) -> tuple[list[FieldToWrite], list[str], list[str]]:
    """Copy the images and bring the boxes into pixels of the upright images."""
    stems = _stems(fields, by_split=to in ("yolo", "coco"))
    images_folder = folder / IMAGE_FOLDERS[to]

    def work(field: AnnotatedField, stem: str) -> _Converted:
        return _convert_field(field, stem, images_folder, clip=to == "yolo")

    written: list[FieldToWrite] = []
    problems: list[str] = []
    said: dict[str, list[str]] = {}
    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        try:
            for done, one in enumerate(pool.map(work, fields, stems)):
                progress(done, len(fields), "converting fields")
                problems += one.problems
                for note in one.notes:
                    said.setdefault(note, []).append(one.name)
                if one.field is not None:
                    written.append(one.field)
        finally:
            pool.shutdown(cancel_futures=True)
    progress(len(fields), len(fields), "converting fields")
    if not written:
        raise DatasetError(f"No field could be converted. {' '.join(problems[:3])}")
    notes = [
        f"{note} ({counted(len(names), 'field')}: {some(names)})" for note, names in said.items()
    ]
    return written, problems, notes


@dataclass(frozen=True, slots=True)
class _Converted:
    name: str
    field: FieldToWrite | None
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _convert_field(field: AnnotatedField, stem: str, folder: Path, *, clip: bool) -> _Converted:
    try:
        height, width = images.read(field.image).shape[:2]
        frame = find_frame(field.image, (width, height), field.size)
    except ImageError as error:
        return _Converted(field.name, None, (f"{error} Its field was left out.",))
    except AnnotationError as error:
        problem = f"{field.where}: {field.name}: {error}. Its field was left out."
        return _Converted(field.name, None, (problem,))
    file = f"{stem}{field.image.suffix}"
    copy_file(field.image, folder / file)
    boxes: list[tuple[str, Box]] = []
    problems: list[str] = []
    notes = {frame.said} - {""}
    for named in field.boxes:
        exact = _exact(field, named.box, frame)
        box = intersect_box(exact, width, height) if clip else exact
        if not (box[0] < box[2] and box[1] < box[3] and all(abs(side) < 1e9 for side in box)):
            problems.append(f"{named.where}: the box {box} has no area; it was left out")
            continue
        if box != exact:
            notes.add("boxes that reach out of their image were cut at its border")
        boxes.append((named.label, box))
    converted = FieldToWrite(file, stem, field.split, (width, height), tuple(boxes))
    return _Converted(field.name, converted, tuple(problems), tuple(sorted(notes)))


def _exact(field: AnnotatedField, box: Box, frame: Frame) -> Box:
    inside = field.box_in_pixels(box, frame.width, frame.height, digits=9)
    xmin, ymin, xmax, ymax = map(tidy, frame.upright(inside))
    return xmin, ymin, xmax, ymax


def _stems(fields: Sequence[AnnotatedField], *, by_split: bool) -> list[str]:
    """Return where each image belongs, without suffix: unique, and usable on every system.

    A folder for each split comes first where the format keeps splits so, or where names would
    else be the same.
    """
    names = [_without_split(field) for field in fields]
    keys = [name.casefold() for name in names]
    if by_split or len(set(keys)) < len(keys):
        names = [f"{f.split}/{n}" if f.split else n for f, n in zip(fields, names, strict=True)]
    return unique_names(["/".join(map(_usable, name.split("/"))) for name in names])


def _without_split(field: AnnotatedField) -> str:
    own = split_of(field.name) is not None and split_of(field.name) == field.split
    return field.name.partition("/")[2] if own else field.name


def _usable(name: str) -> str:
    """Return a part of a name as it is, or made safe if a text file can't hold it."""
    stem = f"{name.rpartition('.')[0]}_{name.rpartition('.')[2]}" if is_image_name(name) else name
    return stem if valid_text(stem) == stem == shown(stem).strip() else safe_name(stem)


def _classes(found: Annotations, written: Sequence[FieldToWrite], to: BoxFormat) -> list[str]:
    """Return the declared classes, in their order, and then the others, sorted."""
    labels = sorted({label for field in written for label, _ in field.boxes})
    if to in ("voc", "csv"):
        return labels
    return list(dict.fromkeys((*found.classes, *labels)))
