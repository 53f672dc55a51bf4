"""Finding image files in folders."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from hematovision.errors import DatasetError, UnreadableFileError

__all__ = ["find_images", "is_image_name"]

SUFFIXES = frozenset(
    {".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)
_LEFT_OUT = "__MACOSX"  # what macOS adds to archives: a shadow of every file, with its suffix


def is_image_name(path: str | Path) -> bool:
    """Tell by its suffix, in any case, whether a file is called an image; it is not opened."""
    return Path(path).suffix.lower() in SUFFIXES


def find_images(paths: Iterable[Path]) -> list[Path]:
    """List image files: those given, and those in folders given, at any depth.

    A file that is given stays, whatever it is called, so that reading it can say what is wrong.
    In folders, files are told by their suffix; hidden ones (a leading dot, ``__MACOSX``) are left
    out, and links to folders are followed, each folder being visited once.

    Parameters
    ----------
    paths : iterable of Path
        Files and folders.

    Returns
    -------
    list of Path
        In the order given, each folder's images sorted by path, nothing twice.

    Raises
    ------
    UnreadableFileError
        If a path does not exist, or a folder may not be listed.
    DatasetError
        If a folder has no image in it.
    """
    found = dict[Path, None]()
    for path in map(Path, paths):
        if path.is_dir():
            found.update(dict.fromkeys(_in_folder(path)))
        elif path.exists():
            found[path] = None
        else:
            raise UnreadableFileError(path, "there is no such file or folder. Check the path.")
    return list(found)


def _in_folder(folder: Path) -> list[Path]:
    images = sorted(_walk(folder), key=lambda path: path.as_posix())
    if not images:
        raise DatasetError(
            f"There is no image in the folder {folder} or below it. Expected files ending in "
            f"{', '.join(sorted(SUFFIXES))}; hidden ones do not count."
        )
    return images


def _walk(folder: Path) -> Iterator[Path]:
    visited = set[str]()
    for root, folders, names in os.walk(folder, followlinks=True, onerror=_refuse):
        real = os.path.realpath(root)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        yield from (Path(root, n) for n in names if is_image_name(n) and not _is_hidden(n))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == _LEFT_OUT


def _refuse(error: OSError) -> None:
    raise UnreadableFileError(
        error.filename, f"the folder cannot be listed: {error.strerror}. Check its permissions."
    ) from error
