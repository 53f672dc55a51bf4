"""Finding image files in folders."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from hematovision.errors import DatasetError, UnreadableFileError
from hematovision.images.formats import unsupported_format

__all__ = [
    "as_paths", "find_images", "is_any_image_name", "is_hidden", "is_image_name", "iter_images",
]  # fmt: skip

SUFFIXES = frozenset(
    {".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
    | {".avif", ".dcm", ".dicom", ".heic", ".heif", ".hif"}
    | {".j2c", ".j2k", ".jp2", ".jpc", ".jpf", ".jpx"}
)
_LEFT_OUT = "__MACOSX"  # in archives made by macOS: contains every file name, but no images


def is_image_name(path: str | Path) -> bool:
    """Return whether a file has the suffix of a supported image format, in any case."""
    return Path(path).suffix.lower() in SUFFIXES


def as_paths(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], in_memory: str
) -> list[Path]:
    """Return one path, or each of several.

    `in_memory` is the call for images that are no files, for the message. Raises `TypeError` if
    there is anything but paths.
    """
    given: Any = [paths] if isinstance(paths, str | os.PathLike) else paths
    is_iterable = isinstance(given, Iterable) and not isinstance(given, bytes | bytearray)
    found = list(given) if is_iterable else [given]
    for one in found:
        if not isinstance(one, str | os.PathLike):
            raise TypeError(
                "`paths` must be a file or folder, or an iterable of these. Received: "
                f"{type(one if is_iterable else paths).__name__}. For arrays, bytes and Pillow "
                f"images, call {in_memory}."
            )
    return [Path(os.fsdecode(one)) for one in found]


def find_images(paths: Iterable[Path]) -> list[Path]:
    """List image files: given files, and the images in given folders at any depth.

    Given files may have any name; reading them reports problems. In folders, files are selected by
    suffix, and hidden files (a leading dot, ``__MACOSX``) are skipped. Links to folders are
    followed, but each folder is visited only once.

    Files are in the order given, each folder's sorted by path, without duplicates. Raises
    `UnreadableFileError` if a path does not exist, or a folder cannot be listed. Raises
    `DatasetError` if a folder contains no image.
    """
    found = _iterate(map(_existing, map(Path, paths)), is_image_name, strict=True)
    return list(dict.fromkeys(found))


def iter_images(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield image files lazily; see `find_images`.

    Missing paths, folders that cannot be listed and images in unsupported formats are also yielded:
    reading them reports the problem. An image in two of `paths` is yielded twice.

    Raises `DatasetError` if a folder contains no image.
    """
    return _iterate(paths, is_any_image_name, strict=False)


def is_any_image_name(path: str | Path) -> bool:
    """Return whether a file has the suffix of an image format, supported or not."""
    return is_image_name(path) or unsupported_format(path) is not None


def _iterate(
    paths: Iterable[Path], wanted: Callable[[str], bool], *, strict: bool
) -> Iterator[Path]:
    for path in paths:
        if not _is_folder(path):
            yield path
            continue
        empty = True
        for image in _walk(path, wanted, set(), strict=strict):
            empty = False
            yield image
        if empty:
            raise DatasetError(
                f"There are no images in the folder {path} or below it. Expected files ending "
                f"in {', '.join(sorted(SUFFIXES))}; hidden files are ignored. Check the path."
            )


def _is_folder(path: Path | os.DirEntry[str]) -> bool:
    try:
        return path.is_dir()
    except OSError:  # the name is too long, or a parent folder is not accessible
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


def _walk(
    folder: Path, wanted: Callable[[str], bool], visited: set[str], *, strict: bool
) -> Iterator[Path]:
    """Yield the images in and below a folder, sorted by path with forward slashes."""
    real = os.path.realpath(folder)
    if real in visited:
        return
    visited.add(real)
    try:
        with os.scandir(folder) as entries:
            shown = (entry for entry in entries if not is_hidden(entry.name))
            marked = (entry.name + "/" * _is_folder(entry) for entry in shown)
            names = sorted(name for name in marked if name.endswith("/") or wanted(name))
    except OSError as error:
        if strict:
            raise UnreadableFileError(
                folder, f"the folder cannot be listed: {error.strerror}. Check its permissions."
            ) from error
        yield folder
        return
    for name in names:
        if name.endswith("/"):
            yield from _walk(folder / name, wanted, visited, strict=strict)
        else:
            yield folder / name


def is_hidden(name: str) -> bool:
    """Return whether a file or folder called `name` is skipped in a search."""
    return name.startswith(".") or name == _LEFT_OUT
