"""Image files at paths and fsspec URIs."""

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
"""Keys of fsspec's file information that change with a file, most reliable first."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file, local or remote."""

    name: str  # in the table: the path as given, or the URI
    path: str  # opens the file on any machine: an absolute path, or a path within `root`
    root: str = ""  # the file system's URI; empty for an ordinary path
    stamp: str = ""  # size and modification time; empty if the file is missing


def is_uri(address: str) -> bool:
    """Return whether an address is a URI such as ``s3://bucket/folder``."""
    return "://" in address


def filesystem(uri: str) -> tuple[AbstractFileSystem, str]:
    """Return the file system of a URI or path, and the path within it.

    Raises `MissingExtraError` if fsspec is not installed. Raises `DatasetError` if the protocol is
    unknown, or needs a package that is not installed.
    """
    with needs_extra("scale", "Reading from a cluster's storage"):
        from fsspec.core import url_to_fs
    try:
        found: tuple[AbstractFileSystem, str] = url_to_fs(uri)
    except (ValueError, ImportError) as error:
        raise DatasetError(
            f"{uri} cannot be opened: {error}. Expected a folder or a URI that fsspec supports, "
            "such as s3://bucket/folder; some protocols need another package on every node."
        ) from error
    return found


def list_files(addresses: Iterable[str]) -> list[ImageFile]:
    """List the images at addresses, each once, in the order of `hematovision classify`.

    Addresses are paths and URIs of files and folders; folders are searched recursively, as by
    `images.iter_images`. Missing files are listed: reading them reports the error. Raises
    `DatasetError` if a folder contains no image, or an address has an unknown protocol or cannot be
    reached. Raises `MissingExtraError` if fsspec is not installed.
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
            "it (fsspec reads credentials from the environment)."
        ) from error
    images = sorted(name for name in entries if name == path or _is_wanted(name, path))
    if not images:
        raise DatasetError(
            f"There are no images at {uri}. Expected a file, or a folder with image files (.jpg, "
            ".png, .tif ...); hidden files are ignored."
        )
    for name in images:
        yield ImageFile(system.unstrip_protocol(name), name, uri, _remote_stamp(entries[name]))


def _is_wanted(name: str, below: str) -> bool:
    parts = name.removeprefix(below).split("/")
    return is_any_image_name(name) and not any(map(is_hidden, parts))


def _remote_stamp(entry: Mapping[str, Any]) -> str:
    changed = next((entry[key] for key in _TIMES if entry.get(key) is not None), "")
    return f"{entry.get('size')} {changed}"
