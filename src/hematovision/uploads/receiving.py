"""Untrusted uploads: files and zip archives, received one at a time and predicted.

No name of a file is ever used as a path, and nothing is written to disk.
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
"""A file's name as received, and its content; streams are seekable and stay open."""

_Row = TypeVar("_Row", bound=Row)

_LONGEST_NAME = 120
_ENDING = 24  # Characters of a long name that are kept from its end, where the suffix is.
_UNNAMED = "unnamed"
_BETWEEN_FOLDERS = " \u203a "  # An angle quote: no system separates folders by it.
_LATER = "Upload this one after the others, or use `hematovision classify`."


@dataclass(frozen=True)
class Limits:
    """How much is accepted, over all uploads together."""

    files: int = 2_000  # images, those in archives included
    file_bytes: int = MAX_BYTES  # bytes of one image, at most `images.MAX_BYTES`
    total_bytes: int = 500 * 2**20  # bytes of all images, unpacked
    ratio: int = 100  # unpacked to packed bytes of an archive, beyond 16 MiB


def receive(
    uploads: Iterable[Upload],
    limits: Limits = Limits(),  # frozen
) -> Iterator[Item]:
    """Yield the uploaded files, and those in zip archives among them, one by one.

    Archives are recognised by their content. A damaged one, one that looks like a decompression
    bomb, and one of more files than the limit yield a single item with the error. In others, the
    entries that are encrypted, damaged, links or archives, or whose names lead out of the folder
    yield errors, and so does everything beyond a limit. Folders and entries that macOS adds are
    left out.

    An item's name is fit to be shown (`display_name`); its source is the content, not checked, or
    the `ImageError` if there is none.
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
    """Return how many items `receive` will yield, as the total of a progress."""
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

    `items` are from `receive`. `total` is how many there will be, as far as known (`expected`), for
    `progress`, which is called after each. Raises `ModelError` if the model itself fails.
    """
    for done, result in enumerate(infer(predictor, items), 1):
        progress(done, max(done, total), "Classifying")
        yield result


def display_name(name: str) -> str:
    """Return a name that can be shown to people: short, printable, and no path.

    `name` is from a browser or an archive; the result has 1 to 120 characters. Folders stay
    readable, but no system takes their separator for one. Control and format characters are left
    out: those that change the direction of writing make ``gpj.exe`` of ``exe.jpg`` (Unicode
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
    """How much may still come."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._files, self._bytes = limits.files, limits.total_bytes

    def check(self, name: str, size: int) -> None:
        """Raise a `TooManyBytesError` unless a file of that size may come."""
        most = min(self.limits.file_bytes, MAX_BYTES)
        if size > most:
            reason = (
                f"the file has {size:,} bytes; the limit is {most:,}. Save it compressed, for "
                "instance as PNG."
            )
        elif self._files < 1:
            reason = f"at most {self.limits.files:,} files are taken at once. {_LATER}"
        elif size > self._bytes:
            reason = (
                f"at most {self.limits.total_bytes:,} bytes are taken at once, unpacked. {_LATER}"
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
            raise UnreadableFileError(name, "the zip archive holds no files. Put images into it.")
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
