"""Untrusted archives: unpack to a new folder (`unpack`), or read in memory (`open_zip`).

Both reject path traversal, links, devices and decompression bombs.
"""

from __future__ import annotations

import io
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, NoReturn

from hematovision.errors import (
    DownloadError,
    NotAnImageError,
    TooManyBytesError,
    UnreadableFileError,
)
from hematovision.files import ensure_folder
from hematovision.progress import Progress, no_progress

__all__ = ["check_entry", "is_zip", "open_zip", "read_entry", "unpack"]

MAX_ENTRIES = 200_000
"""Stops archives of millions of empty files from using up a disk's inodes. The largest known
dataset has 17,092 images."""

MAX_UNPACKED = 16 * 2**30
"""Total bytes; stops decompression bombs (a nested one of 42 kB unpacks to petabytes). The largest
known dataset has 0.3 GB."""

MAX_RATIO = 100
"""Largest ratio of unpacked to packed bytes. DEFLATE reaches 1,032 on zeros; box files compress
about 10 to 1, images barely."""

SLACK = 2**24
"""Bytes that may be unpacked at any ratio: a small archive of text is harmless."""

_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,  # zipfile raises it for an encrypted entry
    NotImplementedError,
    ValueError,
)
"""The standard library's errors for damaged and hostile archives."""

_BLOCK = 2**20
_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")  # APPNOTE.TXT 6.3.10, 4.3.7 and 4.3.16 (an empty zip).
_ENTRY = b"PK\x01\x02"  # 4.3.12: the signature of each entry in the central directory.
_LOCAL_HEADER = 30  # Bytes, 4.3.7: the fixed header in front of an entry's name and data.
_ENTRIES_PER_FILE = 4  # Per allowed file: macOS adds a shadow of each file and folder.

# DEFLATE unpacks in bounded blocks; those of bzip2 and LZMA can have any size.
_PACKED = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_OTHERS = {9: "Deflate64", zipfile.ZIP_BZIP2: "bzip2", zipfile.ZIP_LZMA: "LZMA"}


@dataclass(frozen=True)
class _Entry:
    name: str
    size: int
    is_file: bool
    is_folder: bool
    open: Callable[[], IO[bytes] | None]


def unpack(archive: Path, dest: Path, progress: Progress = no_progress) -> int:
    """Unpack a zip or tar archive into a new folder.

    A single folder around all files, as in GitHub's archives, is stripped. Entries added by macOS
    (``__MACOSX``, ``.DS_Store``) are skipped. `dest` appears once everything is unpacked.

    `archive` is a zip, tar, tar.gz, tar.bz2 or tar.xz file with any suffix. An existing `dest` is
    replaced. Returns the number of files unpacked. Raises `DownloadError` if the archive is damaged
    or of another format, contains anything but files and folders or a name outside `dest`, or
    exceeds the limits of this module. Raises `OutputError` if the folder cannot be created.
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
    except _DAMAGE as error:
        raise DownloadError(
            f"Cannot unpack {archive}: {error}. Expected an undamaged zip or tar archive and "
            "enough free space. Delete the file and re-run the command."
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
    is_file = _is_plain_file(info)
    return _Entry(info.filename, info.file_size, is_file, info.is_dir(), lambda: opened.open(info))


def _tar_entries(archive: Path, opened: tarfile.TarFile) -> Iterator[_Entry]:
    for number, member in enumerate(opened):
        if number > MAX_ENTRIES:
            _refuse(archive, f"contains more than {MAX_ENTRIES} entries")
        yield _Entry(
            member.name,
            member.size,
            member.isreg(),
            member.isdir(),
            lambda member=member: opened.extractfile(member),  # type: ignore[misc]
        )


def _checked(archive: Path, entries: list[_Entry]) -> list[tuple[PurePosixPath, _Entry]]:
    """Return the files to write and their paths relative to the new folder."""
    if len(entries) > MAX_ENTRIES:
        _refuse(archive, f"contains {len(entries)} entries, the limit is {MAX_ENTRIES}")
    total = sum(entry.size for entry in entries)
    if total > _allowed(archive):
        _refuse(archive, f"would unpack to {total} bytes, the limit is {_allowed(archive)}")
    files = []
    for entry in entries:
        if _leads_outside(entry.name):
            _refuse(archive, f"contains the name {entry.name!r}, which leads out of its folder")
        if not (entry.is_file or entry.is_folder):
            _refuse(archive, f"contains {entry.name!r}, which is neither a file nor a folder")
        if entry.is_file and not _is_litter(entry.name):
            files.append((PurePosixPath(entry.name), entry))
    if not files:
        _refuse(archive, "contains no files")
    tops = {path.parts[0] if len(path.parts) > 1 else "" for path, _ in files}
    skipped = 1 if len(tops) == 1 and "" not in tops else 0
    return [(PurePosixPath(*path.parts[skipped:]), entry) for path, entry in files]


def _is_plain_file(info: zipfile.ZipInfo) -> bool:
    """Return whether a zip entry is a file, not a folder, a link or a device."""
    return not info.is_dir() and stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)


def _leads_outside(name: str) -> bool:
    """Return whether an entry's name could escape from the folder it is joined to.

    ``../`` and absolute names write anywhere ("zip slip", CVE-2018-1000117 and many more); Windows
    reads a backslash as a separator and a colon as a drive or a hidden stream.
    """
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or any(sign in name for sign in "\\:\0")


def _is_litter(name: str) -> bool:
    """Return whether macOS added an entry (``__MACOSX``, ``.DS_Store``)."""
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
            _refuse(archive, f"contains {entry.name!r} without content")
        with source, target.open("wb") as stream:
            # The declared sizes may be wrong: the written bytes count.
            while block := source.read(_BLOCK):
                left -= len(block)
                if left < 0:
                    _refuse(archive, f"unpacks to more than {_allowed(archive)} bytes")
                stream.write(block)
        progress(done, len(wanted), "Unpacking", "files")


def _refuse(archive: Path, what: str) -> NoReturn:
    raise DownloadError(
        f"{archive} {what}, so nothing was unpacked. The published datasets have no such "
        "archives: delete the file, and do not use it if it comes from elsewhere."
    )


def is_zip(stream: BinaryIO) -> bool:
    """Return whether a stream starts like a zip archive; rewind it."""
    stream.seek(0)
    magic = stream.read(4)
    stream.seek(0)
    return magic in _MAGIC


@contextmanager
def open_zip(
    stream: BinaryIO, name: str, *, most: int, ratio: int
) -> Iterator[tuple[zipfile.ZipFile, list[zipfile.ZipInfo]]]:
    """Open a zip and list its files, without folders and entries added by macOS.

    `stream` must be seekable; errors call it `name`. Raises `UnreadableFileError` if it is damaged
    or its entries overlap. Raises `TooManyBytesError` if it contains more than `most` files, or
    declares more than `ratio` bytes per packed byte beyond 16 MiB.
    """
    size = stream.seek(0, io.SEEK_END)
    found = _count_entries(stream)
    if found > most * _ENTRIES_PER_FILE:
        raise _too_many(name, found, most)
    try:
        archive = zipfile.ZipFile(stream)
    except _DAMAGE as error:
        raise UnreadableFileError(
            name,
            f"the zip archive is damaged or incomplete ({error}). Create it again, or upload the "
            "images themselves.",
        ) from error
    with archive:
        infos = archive.infolist()
        files = [info for info in infos if not info.is_dir() and not _is_litter(info.filename)]
        if len(files) > most:
            raise _too_many(name, len(files), most)
        _check_overlap(name, infos, size)
        _check_ratio(name, sum(info.file_size for info in infos), size, ratio)
        yield archive, files


def check_entry(info: zipfile.ZipInfo, name: str) -> None:
    """Check that an entry is an ordinary file that can be unpacked.

    Raises `UnreadableFileError` if it is not.
    """
    if _leads_outside(info.filename):
        problem = "its name in the archive leads out of the folder. Use plain file names in the zip"
    elif not _is_plain_file(info):
        problem = "it is a link or a device in the archive, not a file. Put the image itself in"
    elif info.flag_bits & 1:
        problem = "it is encrypted. Create the zip without a password"
    elif info.compress_type not in _PACKED:
        kind = _OTHERS.get(info.compress_type, f"method {info.compress_type}")
        problem = f"it is packed with {kind}; the archive must use DEFLATE, as ordinary zips do"
    else:
        return
    raise UnreadableFileError(name, f"{problem}.")


def read_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> bytes:
    """Unpack one entry in memory, up to its declared size.

    Raises `UnreadableFileError` if it is damaged, or its size or checksum is not as declared.
    Raises `NotAnImageError` if it is itself an archive.
    """
    try:
        with archive.open(info) as stream:
            content = stream.read(info.file_size)
            more = stream.read(1)  # zipfile checks the checksum at the end
    except _DAMAGE as error:
        raise UnreadableFileError(
            name, f"it is damaged in the archive ({error}). Create the zip again."
        ) from error
    if more or len(content) != info.file_size:
        raise UnreadableFileError(
            name,
            f"its size is not the {info.file_size:,} bytes that the archive declares. Create the "
            "zip again.",
        )
    if content.startswith(_MAGIC):
        raise NotAnImageError(
            name, "it is an archive inside an archive. Unpack it and upload the images."
        )
    return content


def _count_entries(stream: BinaryIO) -> int:
    """Return an upper bound on the number of entries, whatever the zip declares.

    `zipfile` builds an object for every entry: half a gigabyte of directory would use ten gigabytes
    of memory.
    """
    stream.seek(0)
    found, end = 0, b""
    while block := stream.read(_BLOCK):
        found += (end + block).count(_ENTRY)
        end = block[1 - len(_ENTRY) :]
    return found


def _too_many(name: str, found: int, most: int) -> TooManyBytesError:
    return TooManyBytesError(
        name,
        f"the zip archive has {found:,} entries; at most {most:,} files are accepted at once. "
        "Nothing was unpacked. Split it, or use `hematovision classify`.",
    )


def _check_overlap(name: str, infos: Sequence[zipfile.ZipInfo], size: int) -> None:
    """Reject entries that share their data (Fifield 2019, "A better zip bomb", WOOT)."""
    ordered = sorted(infos, key=lambda info: info.header_offset)
    starts = [info.header_offset for info in ordered[1:]]
    for info, following in zip(ordered, [*starts, size], strict=False):
        if info.header_offset + _LOCAL_HEADER + info.compress_size > following:
            raise UnreadableFileError(
                name,
                "entries of the zip archive overlap, as in a decompression bomb. "
                "Nothing was unpacked. Create it again, or upload the images themselves.",
            )


def _check_ratio(name: str, unpacked: int, packed: int, ratio: int) -> None:
    if unpacked > ratio * packed + SLACK:
        raise TooManyBytesError(
            name,
            f"the zip archive of {packed:,} bytes would unpack to {unpacked:,}, like a "
            f"decompression bomb; images never compress by more than {ratio}. Nothing "
            "was unpacked. Upload the images themselves.",
        )
