"""Finding image files in folders."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Set
from pathlib import Path
from typing import NamedTuple

from hematovision.errors import DatasetError, UnreadableFileError
from hematovision.images.formats import unsupported_format
from hematovision.images.path_list import PathList

__all__ = ["find_images", "is_any_image_name", "is_hidden", "is_image_name", "list_images"]

SUFFIXES = frozenset(
    {".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
    | {".avif", ".dcm", ".dicom", ".heic", ".heif", ".hif"}
    | {".j2c", ".j2k", ".jp2", ".jpc", ".jpf", ".jpx"}
)
_LEFT_OUT = "__MACOSX"  # in archives made by macOS: a copy of every name, without an image


def is_image_name(path: str | Path) -> bool:
    """Whether a file has the suffix of a supported image format, in any case; it is not opened."""
    return Path(path).suffix.lower() in SUFFIXES


def find_images(paths: Iterable[Path]) -> list[Path]:
    """List image files: those given, and those in folders given, at any depth.

    A given file is kept whatever it is called, so that reading it can report the problem. In
    folders, files are selected by suffix; hidden ones (a leading dot, ``__MACOSX``) are skipped,
    and links to folders are followed, each folder being visited once.

    Parameters
    ----------
    paths : iterable of Path
        Files and folders.

    Returns
    -------
    list of Path
        In the order given, each folder's images sorted by path, without duplicates.

    Raises
    ------
    UnreadableFileError
        If a path does not exist, or a folder may not be listed.
    DatasetError
        If a folder has no image in it.
    """
    return list(_listed(map(_existing, map(Path, paths)), _refuse, is_image_name))


def list_images(paths: Iterable[Path]) -> PathList:
    """List image files as `find_images` does, in little memory, those that do not exist, too.

    What is no folder stays as it is given, and a folder that cannot be listed stands where its
    images would stand; so do images of formats that are not read: reading them says what is wrong.
    Half a million images take 12 MB; besides these, only the names in one folder are in memory at a
    time.

    Raises
    ------
    DatasetError
        If a folder has no image in it.
    """
    return _listed(paths, None, is_any_image_name)


def is_any_image_name(path: str | Path) -> bool:
    """Whether a file has the suffix of an image format, supported or not."""
    return is_image_name(path) or unsupported_format(path) is not None


def _listed(
    paths: Iterable[Path],
    refuse: Callable[[OSError], None] | None,
    wanted: Callable[[str], bool],
) -> PathList:
    found, given = PathList(), 0
    for path in paths:
        given, before = given + 1, len(found)
        if _is_folder(path):
            _add_folder(found, path, refuse, wanted)
            if len(found) == before:
                raise DatasetError(
                    f"There are no images in the folder {path} or below it. Expected files ending "
                    f"in {', '.join(sorted(SUFFIXES))}; hidden files are ignored. Check the path."
                )
        else:
            found.add(path)
    return found.unique() if given > 1 else found


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # A name too long, or a folder above that may not be looked into.
        return False


def _existing(path: Path) -> Path:
    try:
        path.stat()
    except FileNotFoundError as error:
        raise UnreadableFileError(
            path, "the file or folder does not exist. Check the path."
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        reason = getattr(error, "strerror", None) or error
        raise UnreadableFileError(
            path, f"it cannot be accessed: {reason}. Check its path and permissions."
        ) from error
    return path


def _add_folder(
    found: PathList,
    folder: Path,
    refuse: Callable[[OSError], None] | None,
    wanted: Callable[[str], bool],
) -> None:
    listings, visited = dict[str, _Listing](), set[str]()
    for root, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
        real = os.path.realpath(root)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        images = PathList()
        shown = (name for name in names if wanted(name) and not is_hidden(name))
        images.add_names(Path(root), sorted(shown))
        listings[root] = _Listing(images, tuple(folders))
    _add_listing(found, str(folder), listings, visited)


class _Listing(NamedTuple):
    """The images and the folders in a folder, both sorted by name."""

    images: PathList
    folders: tuple[str, ...]


def _add_listing(
    found: PathList, root: str, listings: Mapping[str, _Listing], visited: Set[str]
) -> None:
    """Add a folder's images and those below it, sorted by path with forward slashes.

    All that is in a folder stands together, where its name with a slash would stand. A folder that
    could not be listed is added itself; one that was visited under another name is not.
    """
    if root not in listings:
        if os.path.realpath(root) not in visited:
            found.add(Path(root))
        return
    images, folders = listings[root]
    start = 0
    for name in sorted(folders, key=lambda name: f"{name}/"):
        stop = bisect_left(images, f"{name}/", lo=start, key=lambda path: path.name)
        found.add_from(images, start, stop)
        inner = os.path.join(root, name)  # noqa: PTH118, as `os.walk` does
        _add_listing(found, inner, listings, visited)
        start = stop
    found.add_from(images, start, len(images))


def is_hidden(name: str) -> bool:
    """Whether a file or folder of that name is skipped in a search."""
    return name.startswith(".") or name == _LEFT_OUT


def _refuse(error: OSError) -> None:
    raise UnreadableFileError(
        error.filename, f"the folder cannot be listed: {error.strerror}. Check its permissions."
    ) from error
