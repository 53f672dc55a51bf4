"""Untrusted uploads: files and zip archives, received one at a time and predicted.

File names are never used as paths, and nothing is written to disk.
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias, TypeVar

from hematovision.archives import check_entry, is_zip, open_zip, read_entry
from hematovision.errors import ImageError, TooManyBytesError, UnreadableFileError
from hematovision.images import MAX_BYTES
from hematovision.model.inference import ImageResult, Item, Predictor, infer
from hematovision.progress import Progress, no_progress
from hematovision.rows import Row

__all__ = ["Limits", "Upload", "display_name", "expected", "predict_uploads", "receive"]

Upload: TypeAlias = tuple[str, bytes | BinaryIO]
"""A file's name as received, and its content; streams are seekable and are not closed."""

_Row = TypeVar("_Row", bound=Row)

_LONGEST_NAME = 120
_ENDING = 24  # characters kept from the end of a long name, where the suffix is
_UNNAMED = "unnamed"
_BETWEEN_FOLDERS = " \u203a "  # an angle quotation mark, which is not a path separator
_LATER = "Upload this one after the others, or use `hematovision classify`."


@dataclass(frozen=True)
class Limits:
    """The limits on all uploads together."""

    files: int = 2_000  # images, including those in archives
    file_bytes: int = MAX_BYTES  # bytes per image, at most `images.MAX_BYTES`
    total_bytes: int = 500 * 2**20  # bytes of all images, unpacked
    ratio: int = 100  # unpacked to packed bytes of an archive, beyond 16 MiB


def receive(
    uploads: Iterable[Upload],
    limits: Limits = Limits(),  # frozen
) -> Iterator[Item]:
    """Yield the uploaded files, and those in zip archives among them, one by one.

    Archives are recognised by their content. An archive that is damaged, has too many files, or
    looks like a decompression bomb yields a single error. In other archives, each entry yields an
    error if it is encrypted, damaged, a link, an archive, or beyond a limit, or if its name leads
    out of the folder. Folders and entries added by macOS are skipped.

    An item's name is safe to show (`display_name`); its source is the unchecked content, or an
    `ImageError`.
    """
    allowance = _Allowance(limits)
    for given, content in uploads:
        name = display_name(given)
        stream = io.BytesIO(content) if isinstance(content, bytes) else content
        try:
            if is_zip(stream):
                yield from _unzipped(name, stream, allowance)
            else:
                yield _plain(name, stream, allowance)
        except ImageError as error:
            yield Item(name, error)
        except OSError as error:
            reason = f"the upload cannot be read ({error}). Upload it again."
            yield Item(name, UnreadableFileError(name, reason))


def expected(
    uploads: Iterable[Upload],
    limits: Limits = Limits(),  # frozen
) -> int:
    """Return the number of items that `receive` will yield, for a progress bar."""
    total = 0
    for name, content in uploads:
        stream = io.BytesIO(content) if isinstance(content, bytes) else content
        try:
            if is_zip(stream):
                with open_zip(stream, name, most=limits.files, ratio=limits.ratio) as (_, files):
                    total += len(files)
            else:
                total += 1
        except (ImageError, OSError):
            total += 1
    return total


def predict_uploads(
    predictor: Predictor[_Row],
    items: Iterable[Item],
    *,
    total: int = 0,
    progress: Progress = no_progress,
) -> Generator[ImageResult[_Row], None, None]:
    """Predict uploads in order, with only a few in memory; see `infer`.

    `items` are from `receive`. `total` is their expected number (`expected`), for `progress`, which
    is called after each item. Raises `ModelError` if the model itself fails.
    """
    for done, result in enumerate(infer(predictor, items), 1):
        progress(done, max(done, total), "Classifying", "images")
        yield result


def display_name(name: str) -> str:
    """Return a name that is safe to show: short, printable, and not a path.

    `name` is from a browser or an archive; the result has 1 to 120 characters. Folders stay
    readable, but their separator is not valid in a path. Control and format characters are removed:
    marks that change the direction of text make ``gpj.exe`` look like ``exe.jpg`` (Unicode
    Technical Report 36, section 2.5).

    Examples
    --------
    >>> display_name("../cell 1.png")
    'cell 1.png'
    """
    plain = unicodedata.normalize("NFC", name.encode("utf-8", "replace").decode("utf-8"))
    shown = "".join(" " if unicodedata.category(c)[0] == "Z" else c for c in plain if _shows(c))
    parts = (" ".join(part.split()) for part in shown.replace("\\", "/").split("/"))
    joined = _BETWEEN_FOLDERS.join(part for part in parts if part.strip("."))
    if len(joined) > _LONGEST_NAME:
        joined = f"{joined[: _LONGEST_NAME - _ENDING - 1]}…{joined[-_ENDING:]}"
    return joined or _UNNAMED


def _shows(character: str) -> bool:
    return unicodedata.category(character)[0] != "C" or character in "\t\n\r"


class _Allowance:
    """The rest of the limits."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._files, self._bytes = limits.files, limits.total_bytes

    def check(self, name: str, size: int) -> None:
        """Raise a `TooManyBytesError` if a file of `size` bytes exceeds a limit."""
        most = min(self.limits.file_bytes, MAX_BYTES)
        if size > most:
            reason = (
                f"the file has {size:,} bytes; the limit is {most:,}. Save it in a compressed "
                "format such as PNG."
            )
        elif self._files < 1:
            reason = f"at most {self.limits.files:,} files are accepted at once. {_LATER}"
        elif size > self._bytes:
            reason = (
                f"at most {self.limits.total_bytes:,} unpacked bytes are accepted at once. {_LATER}"
            )
        else:
            return
        raise TooManyBytesError(name, reason)

    def take(self, size: int) -> None:
        self._files -= 1
        self._bytes -= size


def _plain(name: str, stream: BinaryIO, allowance: _Allowance) -> Item:
    size = stream.seek(0, io.SEEK_END)
    allowance.check(name, size)
    stream.seek(0)
    content = stream.read(size)
    allowance.take(len(content))
    return Item(name, content)


def _unzipped(name: str, stream: BinaryIO, allowance: _Allowance) -> Iterator[Item]:
    most, ratio = allowance.limits.files, allowance.limits.ratio
    with open_zip(stream, name, most=most, ratio=ratio) as (archive, files):
        if not files:
            raise UnreadableFileError(name, "the zip archive contains no files. Add images to it.")
        for info in files:
            shown = display_name(info.filename)
            try:
                check_entry(info, shown)
                allowance.check(shown, info.file_size)
                content = read_entry(archive, info, shown)
            except ImageError as error:
                yield Item(shown, error)
                continue
            allowance.take(len(content))
            yield Item(shown, content)
