"""Finding images that a dataset leaves out: in unsupported formats, or outside class folders."""

from __future__ import annotations

from pathlib import Path

from hematovision.data.findings import ADVICE
from hematovision.data.folders import find_split
from hematovision.data.samples import Dataset
from hematovision.images import is_image_name, iter_images, unsupported_format
from hematovision.paths import escape_name

__all__ = ["find_unplaced_files", "find_unsupported_files", "unsupported_warnings"]

_SHOWN = 3


def find_unsupported_files(dataset: Dataset) -> list[tuple[Path, str]]:
    """Return the files below a dataset's root that are images of other formats, and which.

    They are told by their suffix; folders that cannot be listed are passed over.
    """
    if not any(sample.path.is_relative_to(dataset.root) for sample in dataset):
        return []
    paths = iter_images([dataset.root])
    return [(path, name) for path in paths if (name := unsupported_format(path))]


def find_unplaced_files(dataset: Dataset) -> list[Path]:
    """Return the images that lie in the dataset's folder or in a split's, but in no class folder.

    Their class is not known, and they are left out.
    """
    folders = [dataset.root, *(path for path in dataset.root.glob("*") if find_split(path.name))]
    found: list[Path] = []
    for folder in folders:
        try:
            found += sorted(path for path in folder.iterdir() if is_image_name(path))
        except OSError:  # a file, or a folder that may not be listed, which is found elsewhere
            continue
    known = {sample.path for sample in dataset}
    return [p for p in found if p not in known and p.is_file() and not p.name.startswith(".")]


def unsupported_warnings(dataset: Dataset) -> tuple[str, ...]:
    """Say how many images are left out for their format, in one sentence at most."""
    found = find_unsupported_files(dataset)
    if not found:
        return ()
    named = [
        f"{escape_name(path.relative_to(dataset.root).as_posix())}, {name}"
        for path, name in found[:_SHOWN]
    ]
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    files = "One file has" if len(found) == 1 else f"{len(found)} files have"
    return (f"{files} an unsupported format: {'; '.join(named)}{more}. {ADVICE['unsupported']}",)
