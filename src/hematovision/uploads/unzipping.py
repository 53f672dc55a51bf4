"""Zip archives that strangers upload, looked through in memory: no entry ever becomes a file."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from hematovision.archives import DAMAGE, SLACK, is_litter, is_plain_file, leads_outside
from hematovision.errors import NotAnImageError, TooManyBytesError, UnreadableFileError

__all__ = ["check_entry", "is_zip", "opened_zip", "read_entry"]

# Entries looked at for each file that is allowed: macOS adds a shadow of every file and folder.
_ENTRIES_PER_FILE = 4

_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")  # APPNOTE.TXT 6.3.10, 4.3.7 and 4.3.16 (an empty one).
_ENTRY = b"PK\x01\x02"  # 4.3.12: what every entry of the directory begins with.
_LOCAL_HEADER = 30  # Bytes, 4.3.7: what lies before an entry's name and data.
_BLOCK = 2**20

# bzip2 and LZMA would be unpacked in blocks of which nobody knows the size; DEFLATE is bounded.
_PACKED = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_OTHERS = {9: "Deflate64", zipfile.ZIP_BZIP2: "bzip2", zipfile.ZIP_LZMA: "LZMA"}


def is_zip(stream: BinaryIO) -> bool:
    """Tell by its first bytes whether a stream, at its beginning, is a zip; rewind it."""
    stream.seek(0)
    magic = stream.read(4)
    stream.seek(0)
    return magic in _MAGIC


@contextmanager
def opened_zip(
    stream: BinaryIO, name: str, *, most: int, ratio: int
) -> Iterator[tuple[zipfile.ZipFile, list[zipfile.ZipInfo]]]:
    """Open a zip and list its files, without folders and what macOS adds; none is unpacked.

    Parameters
    ----------
    stream : BinaryIO
        Seekable.
    name : str
        What errors call it.
    most : int
        Files above which it is refused.
    ratio : int
        Declared to packed bytes above which it is refused, beyond 16 MiB.

    Raises
    ------
    UnreadableFileError
        If it is damaged, or its entries lie over each other.
    TooManyBytesError
        If it holds too many files, or would unpack to too much: a decompression bomb.
    """
    size = stream.seek(0, io.SEEK_END)
    found = _count_entries(stream)
    if found > most * _ENTRIES_PER_FILE:
        raise _too_many(name, found, most)
    try:
        archive = zipfile.ZipFile(stream)
    except DAMAGE as error:
        raise UnreadableFileError(
            name,
            f"the zip archive is damaged or incomplete ({error}). Make it again, or upload the "
            "images themselves.",
        ) from error
    with archive:
        infos = archive.infolist()
        files = [info for info in infos if not info.is_dir() and not is_litter(info.filename)]
        if len(files) > most:
            raise _too_many(name, len(files), most)
        _check_overlap(name, infos, size)
        _check_ratio(name, sum(info.file_size for info in infos), size, ratio)
        yield archive, files


def check_entry(info: zipfile.ZipInfo, name: str) -> None:
    """Make sure that an entry is an ordinary file that can be unpacked.

    Raises
    ------
    UnreadableFileError
        If not.
    """
    if leads_outside(info.filename):
        problem = "its name in the archive leads out of the folder. Make the zip of plain names"
    elif not is_plain_file(info):
        problem = "it is a link or a device in the archive, not a file. Put the image itself in"
    elif info.flag_bits & 1:
        problem = "it is encrypted. Make the zip without a password"
    elif info.compress_type not in _PACKED:
        kind = _OTHERS.get(info.compress_type, f"method {info.compress_type}")
        problem = f"it is packed with {kind}; the archive must use DEFLATE, as ordinary zips do"
    else:
        return
    raise UnreadableFileError(name, f"{problem}.")


def read_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> bytes:
    """Unpack one entry in memory; never more than it declares.

    Raises
    ------
    UnreadableFileError
        If it is damaged, or its size or checksum is not what the archive says.
    NotAnImageError
        If it is itself an archive.
    """
    try:
        with archive.open(info) as stream:
            content = stream.read(info.file_size)
            more = stream.read(1)  # Makes zipfile compare the checksum, too.
    except DAMAGE as error:
        raise UnreadableFileError(
            name, f"it is damaged in the archive ({error}). Make the zip again."
        ) from error
    if more or len(content) != info.file_size:
        raise UnreadableFileError(
            name,
            f"the archive says that it has {info.file_size:,} bytes, which is not so. Make the "
            "zip again.",
        )
    if content.startswith(_MAGIC):
        raise NotAnImageError(
            name, "it is an archive in an archive. Unpack it and upload the images."
        )
    return content


def _count_entries(stream: BinaryIO) -> int:
    """Return how many entries a zip can have at most, whatever it says of itself.

    `zipfile` makes an object of every entry before anybody can ask how many there are: half a
    gigabyte of directory would take ten of memory.
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
        f"the zip archive holds {found:,} entries; at most {most:,} files are taken at once. "
        "Nothing of it was unpacked. Upload it in parts, or use `hematovision classify`.",
    )


def _check_overlap(name: str, infos: Sequence[zipfile.ZipInfo], size: int) -> None:
    """Refuse entries that share their data (Fifield 2019, "A better zip bomb", WOOT)."""
    ordered = sorted(infos, key=lambda info: info.header_offset)
    starts = [info.header_offset for info in ordered[1:]]
    for info, following in zip(ordered, [*starts, size], strict=False):
        if info.header_offset + _LOCAL_HEADER + info.compress_size > following:
            raise UnreadableFileError(
                name,
                "entries of the zip archive lie over each other, as in a decompression bomb. "
                "Nothing of it was unpacked. Make it again, or upload the images themselves.",
            )


def _check_ratio(name: str, unpacked: int, packed: int, ratio: int) -> None:
    if unpacked > ratio * packed + SLACK:
        raise TooManyBytesError(
            name,
            f"the zip archive of {packed:,} bytes would unpack to {unpacked:,}, as a "
            f"decompression bomb does; images do not shrink by more than {ratio}. Nothing of it "
            "was unpacked. Upload the images themselves.",
        )
