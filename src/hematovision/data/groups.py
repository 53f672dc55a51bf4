"""Groups: images that must stay in one split, from a table such as a list of patients."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hematovision.data.lookup import Lookup, without_suffix
from hematovision.data.samples import Dataset
from hematovision.data.textfiles import read_table
from hematovision.errors import SplitError
from hematovision.taxonomy import normalise

__all__ = ["groups_of", "read_groups", "source_of", "with_groups"]

# Roboflow calls the augmented copies of one.jpg: one_jpg.rf.<hash>.jpg
_COPY = re.compile(
    r"(?P<source>[^/]+?)(?:[._](?:bmp|gif|jfif|jpe?g|png|tiff?|webp))?\.rf\.[0-9A-Za-z_-]+",
    re.IGNORECASE,
)


def source_of(name: str) -> str | None:
    """Return the source of an augmented copy by its path, or None if it is not a copy.

    >>> source_of("train/field7_jpg.rf.5b1c0f7a.jpg")
    'train/field7'
    """
    folder, slash, file = without_suffix(name).rpartition("/")
    found = _COPY.fullmatch(file)
    return f"{folder}{slash}{found['source']}" if found else None


_FILE_COLUMNS = ("file", "path", "image", "filename", "filepath", "imagepath", "imagename", "name",
                 "imageid")  # fmt: skip


def read_groups(spec: str) -> dict[str, str]:
    """Read the group of each file from a CSV file; `spec` is ``FILE:COLUMN``.

    The file names are in a column called ``file``, ``path``, ``image``, ``filename`` or similar.
    Lines without a group are ignored.

    Raises `SplitError` if `spec` is not ``FILE:COLUMN``, a column is missing, or a file has two
    groups. Raises `AnnotationError` if the file is not a CSV file.
    """
    path, _, column = spec.rpartition(":")
    if not (path and column):
        raise SplitError(
            f"Groups must be FILE:COLUMN, for example manifest.csv:patient. Received: {spec!r}"
        )
    table = read_table(Path(path))
    names = {normalise(name): name for name in table.columns}
    names.pop(normalise(column), None)  # groups may be called `name`
    files = next((names[name] for name in _FILE_COLUMNS if name in names), None)
    if column not in table.columns or files is None:
        expected = f"a column {column!r}" if files else "a column 'file' with the images' names"
        raise SplitError(
            f"{table.path} needs {expected}. Its columns are: {', '.join(table.columns)}."
        )
    groups: dict[str, str] = {}
    for row in table.rows:
        file, group = row[files], row[column]
        if file and group and groups.setdefault(file, group) != group:
            raise SplitError(
                f"{table.path}, line {row.line}: {file!r} has the group {group!r} here and "
                f"{groups[file]!r} above. Give each file one group."
            )
    return groups


def with_groups(dataset: Dataset, groups: Mapping[str, str]) -> Dataset:
    """Set the group of every sample, for example its patient, from `read_groups`.

    Files are found by path relative to the dataset, or by name with or without suffix.

    Raises `SplitError` if an image has no group, or its name matches several groups.
    """
    found = groups_of([dataset.relative(sample) for sample in dataset], groups)
    return dataset.with_samples(
        replace(sample, group=group) for sample, group in zip(dataset, found, strict=True)
    )


def groups_of(files: Sequence[str], groups: Mapping[str, str]) -> list[str]:
    """Return the group of each file; see `with_groups`."""
    lookup = Lookup(groups.items())
    found = [lookup.find(file) for file in files]
    missing = [file for file, groups_ in zip(files, found, strict=True) if not groups_]
    if missing:
        raise SplitError(
            f"{len(missing)} of {len(files)} images have no group: {', '.join(missing[:5])}. Name "
            "each in the table of groups, by its path or its file name."
        )
    for file, several in zip(files, found, strict=True):
        if len(several) > 1:
            raise SplitError(
                f"{file} matches several groups: {', '.join(several[:5])}. Its name is in the "
                "table more than once; use paths relative to the dataset."
            )
    return [one for (one,) in found]
