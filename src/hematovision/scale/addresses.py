"""Image files at addresses: paths, and URIs of anything that fsspec can list."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hematovision.errors import DatasetError
from hematovision.extras import needs_extra
from hematovision.images import iter_images
from hematovision.images.finding import is_any_image_name, is_hidden
from hematovision.tables.store import file_stamp

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

__all__ = ["ImageFile", "filesystem", "is_uri", "list_files"]

_TIMES = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "modified")
"""Keys of fsspec's file systems that change with a file, the most reliable first."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file, local or remote."""

    name: str  # its name in the table: the path as given, or the URI
    path: str  # what opens it on any machine: an absolute path, or a path within `root`
    root: str = ""  # the URI of the file system that it is read through; empty for an ordinary path
    stamp: str = ""  # its state, by size and time of change; empty if there is no such file


def is_uri(address: str) -> bool:
    """Return whether an address is a URI such as ``s3://bucket/folder``, and no ordinary path."""
    return "://" in address


def filesystem(uri: str) -> tuple[AbstractFileSystem, str]:
    """Return the file system of a URI or path, and the path within it.

    Raises `MissingExtraError` if fsspec is not installed. Raises `DatasetError` if the address is
    of an unknown kind, or needs a package that is not installed.
    """
    with needs_extra("scale", "Reading from a cluster's storage"):
        from fsspec.core import url_to_fs
    try:
        found: tuple[AbstractFileSystem, str] = url_to_fs(uri)
    except (ValueError, ImportError) as error:
        raise DatasetError(
            f"{uri} cannot be opened: {error}. Expected a folder or an address that fsspec knows, "
            "such as s3://bucket/folder; some kinds need a package of their own, on every node."
        ) from error
    return found


def list_files(addresses: Iterable[str]) -> list[ImageFile]:
    """List the images at addresses, each once, in the order of `hematovision classify`.

    Addresses are paths and URIs of files and folders; folders are searched at any depth as by
    `images.iter_images`. A missing file stays: reading it reports the error. Raises `DatasetError`
    if a folder has no image in it, or an address is of an unknown kind or cannot be reached. Raises
    `MissingExtraError` if fsspec is not installed.
    """
    found = dict[str, ImageFile]()
    for address in addresses:
        listed = _remote(address) if is_uri(address) else _local(Path(address))
        for file in listed:
            found.setdefault(file.name, file)
    return list(found.values())


def _local(path: Path) -> Iterator[ImageFile]:
    for image in iter_images([path]):
        yield ImageFile(str(image), os.path.abspath(image), stamp=file_stamp(image))  # noqa: PTH100 - links stay


def _remote(uri: str) -> Iterator[ImageFile]:
    system, path = filesystem(uri)
    try:
        entries = system.find(path, detail=True)
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{uri} cannot be listed: {error}. Check the address, and that this machine may read "
            "it (fsspec takes credentials from the environment)."
        ) from error
    images = sorted(name for name in entries if name == path or _is_wanted(name, path))
    if not images:
        raise DatasetError(
            f"There are no images at {uri}. Expected a file, or a folder with files that end like "
            "images (.jpg, .png, .tif ...); hidden files are ignored."
        )
    for name in images:
        yield ImageFile(system.unstrip_protocol(name), name, uri, _remote_stamp(entries[name]))


def _is_wanted(name: str, below: str) -> bool:
    parts = name.removeprefix(below).split("/")
    return is_any_image_name(name) and not any(map(is_hidden, parts))


def _remote_stamp(entry: Mapping[str, Any]) -> str:
    changed = next((entry[key] for key in _TIMES if entry.get(key) is not None), "")
    return f"{entry.get('size')} {changed}"
