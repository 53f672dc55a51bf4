"""Unpacking archives that strangers made, so that nothing lands anywhere but in its folder."""

from __future__ import annotations

import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, NoReturn

from hematovision.errors import DownloadError
from hematovision.files import ensure_folder
from hematovision.progress import Progress, no_progress

__all__ = [
    "DAMAGE",
    "MAX_ENTRIES",
    "MAX_RATIO",
    "MAX_UNPACKED",
    "SLACK",
    "is_litter",
    "is_plain_file",
    "leads_outside",
    "unpack",
]

MAX_ENTRIES = 200_000
"""Against archives of millions of empty files, which use up a disk's file entries. The largest set
known here has 17,092 images."""

MAX_UNPACKED = 16 * 2**30
"""Bytes in all, against decompression bombs (a nested one of 42 kB unpacks to petabytes). The
largest set known here has 0.3 GB."""

MAX_RATIO = 100
"""Unpacked to packed bytes, against the same: DEFLATE reaches 1,032 on nothing but zeros; box files
compress about 10 to 1, images hardly at all."""

SLACK = 2**24
"""Bytes that may be unpacked whatever the ratio: a small archive of text harms nobody."""

DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,  # zipfile's word for an encrypted entry
    NotImplementedError,
    ValueError,
)
"""What the standard library raises on damaged and hostile archives."""

_BLOCK = 2**20


@dataclass(frozen=True)
class _Entry:
    name: str
    size: int
    is_file: bool
    is_folder: bool
    open: Callable[[], IO[bytes] | None]


def unpack(archive: Path, dest: Path, progress: Progress = no_progress) -> int:
    """Unpack a zip or tar archive into a new folder.

    If all files are in one folder of the archive, as in those GitHub makes, that folder is left
    out. What macOS adds (``__MACOSX``, ``.DS_Store``) is left out too. `dest` appears at the end,
    when everything is there.

    Parameters
    ----------
    archive : Path
        A ``.zip``, ``.tar``, ``.tar.gz``, ``.tar.bz2`` or ``.tar.xz`` file; its content decides.
    dest : Path
        The folder to make. One of that name is replaced.
    progress : Progress, optional
        Told after every file.

    Returns
    -------
    int
        Number of files unpacked.

    Raises
    ------
    DownloadError
        If it is no such archive or a damaged one, if it holds anything but files and folders, names
        outside of `dest`, or more than the limits of this module.
    OutputError
        If the folder cannot be made.
    """
    ensure_folder(dest.parent)
    fresh = dest.with_name(f".{dest.name}.unpacking")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        with _damage(archive), _entries(archive) as entries:
            wanted = _checked(archive, entries)
            _write(archive, wanted, fresh, progress)
        if dest.exists():
            shutil.rmtree(dest)
        fresh.rename(dest)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return len(wanted)


@contextmanager
def _damage(archive: Path) -> Iterator[None]:
    try:
        yield
    except DAMAGE as error:
        raise DownloadError(
            f"Cannot unpack {archive}: {error}. Expected an undamaged zip or tar archive and "
            "enough free space. Delete the file and run the same command again."
        ) from error


@contextmanager
def _entries(archive: Path) -> Iterator[list[_Entry]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened_zip:
            yield [_zip_entry(opened_zip, info) for info in opened_zip.infolist()]
    else:
        with tarfile.open(archive) as opened_tar:
            yield list(_tar_entries(archive, opened_tar))


def _zip_entry(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Entry:
    is_file = is_plain_file(info)
    return _Entry(info.filename, info.file_size, is_file, info.is_dir(), lambda: opened.open(info))


def _tar_entries(archive: Path, opened: tarfile.TarFile) -> Iterator[_Entry]:
    for number, member in enumerate(opened):
        if number > MAX_ENTRIES:
            _refuse(archive, f"holds more than {MAX_ENTRIES} entries")
        yield _Entry(
            member.name,
            member.size,
            member.isreg(),
            member.isdir(),
            lambda member=member: opened.extractfile(member),  # type: ignore[misc]
        )


def _checked(archive: Path, entries: list[_Entry]) -> list[tuple[PurePosixPath, _Entry]]:
    """Return the files to write and where, relative to the new folder."""
    if len(entries) > MAX_ENTRIES:
        _refuse(archive, f"holds {len(entries)} entries, the limit is {MAX_ENTRIES}")
    total = sum(entry.size for entry in entries)
    if total > _allowed(archive):
        _refuse(archive, f"would unpack to {total} bytes, the limit is {_allowed(archive)}")
    files = []
    for entry in entries:
        if leads_outside(entry.name):
            _refuse(archive, f"holds the name {entry.name!r}, which leads out of its folder")
        if not (entry.is_file or entry.is_folder):
            _refuse(archive, f"holds {entry.name!r}, which is neither a file nor a folder")
        if entry.is_file and not is_litter(entry.name):
            files.append((PurePosixPath(entry.name), entry))
    if not files:
        _refuse(archive, "holds no files")
    tops = {path.parts[0] if len(path.parts) > 1 else "" for path, _ in files}
    skipped = 1 if len(tops) == 1 and "" not in tops else 0
    return [(PurePosixPath(*path.parts[skipped:]), entry) for path, entry in files]


def is_plain_file(info: zipfile.ZipInfo) -> bool:
    """Tell whether a zip's entry is a file, not a folder, a link or a device."""
    return not info.is_dir() and stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)


def leads_outside(name: str) -> bool:
    """Tell whether an entry's name could lead out of the folder it is joined to.

    ``../`` and absolute names write anywhere ("zip slip", CVE-2018-1000117 and many more); Windows
    reads a backslash as a separator and a colon as a drive or a hidden stream.
    """
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or any(sign in name for sign in "\\:\0")


def is_litter(name: str) -> bool:
    """Tell whether an entry is what macOS adds to archives (``__MACOSX``, ``.DS_Store``)."""
    path = PurePosixPath(name)
    return "__MACOSX" in path.parts or path.name == ".DS_Store" or path.name.startswith("._")


def _allowed(archive: Path) -> int:
    return min(MAX_UNPACKED, MAX_RATIO * archive.stat().st_size + SLACK)


def _write(
    archive: Path,
    wanted: list[tuple[PurePosixPath, _Entry]],
    folder: Path,
    progress: Progress,
) -> None:
    left = _allowed(archive)
    for done, (path, entry) in enumerate(wanted, start=1):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        source = entry.open()
        if source is None:
            _refuse(archive, f"holds {entry.name!r} without content")
        with source, target.open("wb") as stream:
            # The sizes an archive declares may lie: what is written counts.
            while block := source.read(_BLOCK):
                left -= len(block)
                if left < 0:
                    _refuse(archive, f"unpacks to more than {_allowed(archive)} bytes")
                stream.write(block)
        progress(done, len(wanted), "Unpacking")


def _refuse(archive: Path, what: str) -> NoReturn:
    raise DownloadError(
        f"{archive} {what}, so nothing of it was unpacked. The published sets are not like that: "
        "delete the file, and do not use it if it comes from elsewhere."
    )
