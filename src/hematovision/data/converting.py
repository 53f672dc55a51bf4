"""Conversion of annotated fields between formats: read boxes, copy images, write boxes."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from hematovision import images
from hematovision.data.cell_images import join_notes, map_in_threads
from hematovision.data.destination import (
    appearing,
    check_free,
    check_outside,
    safe_name,
    unique_names,
)
from hematovision.data.formats import FORMATS
from hematovision.data.formats.annotations import (
    AnnotatedField,
    AnnotationFormat,
    Annotations,
    split_of,
)
from hematovision.data.formats.layout import without_wrapper
from hematovision.data.formats.reading import detect_format, read_fields
from hematovision.data.formats.writing import BoxToWrite, FieldToWrite, Header, open_writer
from hematovision.data.frames import find_frame
from hematovision.data.source_splits import SourceSplit, SplitLists, find_source_split, parse_split
from hematovision.errors import AnnotationError, DatasetError, ImageError
from hematovision.files import copy_file, write_text
from hematovision.images import is_image_name
from hematovision.images.boxes import intersect_box, round_box
from hematovision.paths import shown, valid_text, valid_value
from hematovision.progress import Progress, no_progress

__all__ = ["REPORT_FILE", "ConvertReport", "convert_dataset"]

REPORT_FILE = "convert.json"
_WHAT = "converting fields"


@dataclass(frozen=True)
class ConvertReport:
    """The result of a conversion."""

    dest: Path
    source: Path
    from_format: str
    to_format: str
    fields: int  # number written
    boxes: int  # number written
    splits: Mapping[str, int]  # number of fields of each split; "all" without a split
    classes: tuple[str, ...]  # in the order of their ids in formats that have ids
    problems: tuple[str, ...]  # failed conversions, with the file
    notes: tuple[str, ...]  # changes, such as the scale of boxes

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
    to: str,
    format: str | None = None,  # noqa: A002  # as in `import_dataset`
    annotations: Path | None = None,
    names: Sequence[str] | None = None,
    progress: Progress = no_progress,
) -> ConvertReport:
    """Convert annotated fields to another format; images, class names and splits stay the same.

    Boxes are written for the upright image, in pixels (``yolo``: as fractions of its sides).
    `dest` appears only when it is complete.

    Raises `DatasetError` if `source` has no annotated fields, or `dest` is not empty. Raises
    `OutputError` if `dest` can't be written.

    Parameters
    ----------
    source : Path
        The folder to convert.
    dest : Path
        A folder that does not exist, or is empty.
    to : str
        The format to write, one of `hematovision.data.formats.FORMATS`.
    format : str, optional
        Format of `source`, one of the same; detected by default.
    annotations : Path, optional
        Folder or file with the boxes, if outside `source`.
    names : sequence of str, optional
        The names of classes 0, 1, 2, ... (yolo).
    progress : Progress
        Receives the number of fields done.
    """
    source, dest = Path(source), Path(dest)
    if not source.is_dir():
        raise DatasetError(f"The source {source} is not a folder. Pass the folder to convert.")
    check_free(dest)
    check_outside(dest, source)
    form = format or detect_format(source)
    own, target = _format(form), _format(to)
    found = read_fields(source.resolve(), form, annotations, names)
    if found.whole:
        raise DatasetError(
            f"The tables in {source} have labels but no boxes, so there is nothing to convert. Use "
            "`hematovision data import` for images of single cells."
        )
    fields, split_problems, split_notes = _with_splits(found, source.resolve(), own)
    with appearing(dest) as folder:
        written, problems, notes = _convert(fields, folder, target, progress)
        classes = _classes(found, written, target)
        _write(to, folder, written, classes)
        report = ConvertReport(
            dest=dest,
            source=source,
            from_format=form,
            to_format=to,
            fields=len(written),
            boxes=sum(len(one.boxes) for one in written),
            splits=Counter(one.field.split or "all" for one in written),
            classes=tuple(classes),
            problems=(*found.problems, *split_problems, *problems),
            notes=(*found.notes, *split_notes, *notes),
        )
        write_text(folder / REPORT_FILE, report.to_json())
    return report


def _format(name: str) -> AnnotationFormat:
    if name in FORMATS:
        return FORMATS[name]
    raise DatasetError(
        f"The format of annotated fields must be one of {', '.join(FORMATS)}. Received: "
        f"{name!r}. Class folders have no boxes; use `hematovision data import` for them."
    )


def _with_splits(
    found: Annotations, source: Path, format_: AnnotationFormat
) -> tuple[list[AnnotatedField], list[str], list[str]]:
    """Keep the split of each field; fields in none of the splits are left out."""
    lists = format_.split_lists
    choice = parse_split(None, without_wrapper(source) / lists if lists else None)
    own, _ = find_source_split(found.fields)
    if own is None and all(field.split for field in found.fields):
        own = SourceSplit({field.name: field.split for field in found.fields if field.split})
    choice = choice or own
    if not isinstance(choice, SplitLists | SourceSplit):
        return [replace(field, split=None) for field in found.fields], [], ["There is no split."]
    splits, problems = choice.assign([field.name for field in found.fields])
    fields = [replace(f, split=splits[f.name]) for f in found.fields if f.name in splits]
    return fields, problems, [f"The split was kept: {', '.join(sorted(set(splits.values())))}."]


def _convert(
    fields: Sequence[AnnotatedField], folder: Path, target: AnnotationFormat, progress: Progress
) -> tuple[list[_Written], list[str], list[str]]:
    """Copy the images and convert the boxes to pixels of the upright images."""
    stems = _stems(fields, by_split=target.split_folders)
    image_folder = folder / target.image_folder

    def work(field: AnnotatedField, stem: str) -> _Converted:
        return _convert_field(field, stem, image_folder, clip=target.fractions)

    written: list[_Written] = []
    problems: list[str] = []
    notes: defaultdict[str, list[str]] = defaultdict(list)
    with closing(map_in_threads(work, fields, stems)) as results:
        for done, result in enumerate(results):
            progress(done, len(fields), _WHAT, "fields")
            problems += result.problems
            for note in result.notes:
                notes[note].append(result.name)
            if result.field is not None:
                written.append(result.field)
    progress(len(fields), len(fields), _WHAT, "fields")
    if not written:
        raise DatasetError(f"No field could be converted. {' '.join(problems[:3])}")
    return written, problems, join_notes(notes)


@dataclass(frozen=True, slots=True)
class _Written:
    field: FieldToWrite
    boxes: tuple[BoxToWrite, ...]


@dataclass(frozen=True, slots=True)
class _Converted:
    name: str
    field: _Written | None
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
    boxes: list[BoxToWrite] = []
    problems: list[str] = []
    notes = {frame.note} - {""}
    for named in field.boxes:
        exact = frame.upright(field.box_in_pixels(named.box, width, height, digits=9))
        exact = round_box(exact, 9)
        box = intersect_box(exact, width, height) if clip else exact
        if not (box[0] < box[2] and box[1] < box[3] and all(abs(side) < 1e9 for side in box)):
            problems.append(f"{named.where}: the box {box} has no area; it was left out")
            continue
        if box != exact:
            notes.add("boxes that extend beyond their image were clipped at its border")
        boxes.append(BoxToWrite(named.label, box, named.subtype))
    converted = _Written(FieldToWrite(file, stem, (width, height), field.split), tuple(boxes))
    return _Converted(field.name, converted, tuple(problems), tuple(sorted(notes)))


def _write(to: str, folder: Path, fields: Sequence[_Written], classes: Sequence[str]) -> None:
    subtypes = sorted({box.subtype for one in fields for box in one.boxes if box.subtype})
    writer = open_writer(to, folder, Header(tuple(classes), tuple(subtypes)))
    with FORMATS.calling(to):
        try:
            for one in fields:
                writer.field(one.field)
                for box in one.boxes:
                    writer.box(box)
            writer.close()
        except BaseException:
            writer.discard()
            raise


def _stems(fields: Sequence[AnnotatedField], *, by_split: bool) -> list[str]:
    """Return each image's path without suffix: unique, and valid on every system.

    Images are in one folder per split if the format requires it, or if names would collide.
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
    """Return a name unchanged, or made safe if it is not valid in a text file."""
    stem = f"{name.rpartition('.')[0]}_{name.rpartition('.')[2]}" if is_image_name(name) else name
    return stem if valid_text(stem) == stem == shown(stem).strip() else safe_name(stem)


def _classes(
    found: Annotations, written: Sequence[_Written], target: AnnotationFormat
) -> list[str]:
    """Return the declared classes in their order, then the others, sorted."""
    labels = sorted({box.label for one in written for box in one.boxes})
    return list(dict.fromkeys((*found.classes, *labels))) if target.declares_classes else labels
