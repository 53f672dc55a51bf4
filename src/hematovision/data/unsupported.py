"""Images of formats that are not read, in a dataset: left out, and named."""

from __future__ import annotations

from pathlib import Path

from hematovision.data.findings import ADVICE
from hematovision.data.samples import Dataset
from hematovision.images import list_images, unsupported_format
from hematovision.names import escape_name

__all__ = ["find_unsupported_files", "unsupported_warnings"]

_SHOWN = 3


def find_unsupported_files(dataset: Dataset) -> list[tuple[Path, str]]:
    """Return the files below a dataset's root that are images of other formats, and which.

    They are told by their suffix; folders that cannot be listed are passed over.
    """
    if not any(sample.path.is_relative_to(dataset.root) for sample in dataset):
        return []
    paths = map(Path, list_images([dataset.root]))
    return [(path, name) for path in paths if (name := unsupported_format(path))]


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
    return (
        f"{files} a format that is not read: {'; '.join(named)}{more}. {ADVICE['unsupported']}",
    )
