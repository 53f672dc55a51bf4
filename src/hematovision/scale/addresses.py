"""What images there are at an address: a folder, a file, or anything that fsspec can list."""

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

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

__all__ = ["Source", "filesystem", "is_uri", "list_sources"]

_TIMES = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "modified")
"""What file systems call that by which a changed file is known, the surest first."""


@dataclass(frozen=True, slots=True)
class Source:
    """One image, wherever it lies.

    Parameters
    ----------
    name : str
        What the table of answers calls it: the path as it was given, or the URI.
    path : str
        What opens it on any machine: an absolute path, or a path within `root`.
    root : str
        The URI through whose file system it is read; empty for an ordinary path.
    stamp : str
        Size and time of change: another one is another image. Empty where there is no such file.
    """

    name: str
    path: str
    root: str = ""
    stamp: str = ""


def is_uri(address: str) -> bool:
    """Tell whether an address is for fsspec, like ``s3://bucket/folder``, and no ordinary path."""
    return "://" in address


def filesystem(uri: str) -> tuple[AbstractFileSystem, str]:
    """Return the file system of a URI or path, and the path within it.

    Raises
    ------
    MissingExtraError
        If fsspec, or what it needs for this kind of address, is not installed.
    DatasetError
        If there is no such kind of address.
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


def list_sources(addresses: Iterable[str]) -> list[Source]:
    """List the images at addresses, each once, in the order of `hematovision classify`.

    Parameters
    ----------
    addresses : iterable of str
        Paths and URIs, of files and folders. Folders are searched at any depth by the rules of
        `images.iter_images`. A file stays, missing or not: reading it says what is wrong.

    Raises
    ------
    DatasetError
        If a folder has no image in it, or an address is of no known kind or cannot be reached.
    MissingExtraError
        If what reads such an address is not installed.
    """
    found = dict[str, Source]()
    for address in addresses:
        listed = _remote(address) if is_uri(address) else _local(Path(address))
        for source in listed:
            found.setdefault(source.name, source)
    return list(found.values())


def _local(path: Path) -> Iterator[Source]:
    for image in iter_images([path]):
        yield Source(str(image), os.path.abspath(image), stamp=_local_stamp(image))  # noqa: PTH100 - links stay


def _local_stamp(path: Path) -> str:
    try:
        found = path.stat()
    except (OSError, ValueError):  # the latter: a name that no file can have
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"


def _remote(uri: str) -> Iterator[Source]:
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
            f"There is no image at {uri}. Expected a file, or a folder with files that end like "
            "images (.jpg, .png, .tif ...); hidden files are ignored."
        )
    for name in images:
        yield Source(system.unstrip_protocol(name), name, uri, _remote_stamp(entries[name]))


def _is_wanted(name: str, below: str) -> bool:
    parts = name.removeprefix(below).split("/")
    return is_any_image_name(name) and not any(map(is_hidden, parts))


def _remote_stamp(entry: Mapping[str, Any]) -> str:
    changed = next((entry[key] for key in _TIMES if entry.get(key) is not None), "")
    return f"{entry.get('size')} {changed}"
