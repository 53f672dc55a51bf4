"""What strangers upload becomes images or refusals, one at a time.

No name of a file is ever used as a path, and nothing is written: what is not taken from the
iterators here is not in memory.
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import ImageError, TooManyBytesError, UnreadableFileError
from hematovision.files import sha256_bytes
from hematovision.images import MAX_BYTES
from hematovision.model.classifier import Classifier
from hematovision.model.inference import Item, ahead, predict_image
from hematovision.model.prediction import Prediction
from hematovision.progress import Progress, no_progress
from hematovision.uploads.unzipping import check_entry, is_zip, opened_zip, read_entry

__all__ = [
    "ClassifiedUpload",
    "Limits",
    "Received",
    "Refused",
    "answer",
    "display_name",
    "expected",
    "receive",
]

Upload: TypeAlias = tuple[str, bytes | BinaryIO]

_LONGEST_NAME = 120
_ENDING = 24  # Characters of a long name that are kept from its end, where the suffix is.
_UNNAMED = "unnamed"
_BETWEEN_FOLDERS = " \u203a "  # a small angle, which no system takes for a separator


@dataclass(frozen=True)
class Limits:
    """How much is taken, over all uploads together.

    Parameters
    ----------
    files : int
        Images, those in archives included.
    file_bytes : int
        Of one image; above `images.MAX_BYTES` that number counts.
    total_bytes : int
        Of all images, unpacked.
    ratio : int
        Unpacked to packed bytes of an archive, beyond 16 MiB.
    """

    files: int = 2_000
    file_bytes: int = MAX_BYTES
    total_bytes: int = 500 * 2**20
    ratio: int = 100


@dataclass(frozen=True)
class Received:
    """A file as it came.

    Parameters
    ----------
    name : str
        For people, by `display_name`; never a path.
    content : bytes
        Whatever it is: nobody has looked.
    """

    name: str
    content: bytes


@dataclass(frozen=True)
class Refused:
    """A file that was not taken.

    Parameters
    ----------
    name : str
        For people, by `display_name`.
    reason : str
        Why, and what to do.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class ClassifiedUpload:
    """What a model says about one upload.

    Parameters
    ----------
    name : str
        For people.
    sha256 : str
        Of `content`; empty where nothing was taken.
    prediction : Prediction
        Refused uploads have the decision ``"refused"``.
    pixels : array of uint8, (224, 224, 3), or None
        RGB, as the model takes it; None where refused.
    content : bytes
        The file as it came; empty where nothing was taken.
    """

    name: str
    sha256: str
    prediction: Prediction
    pixels: NDArray[np.uint8] | None
    content: bytes


def receive(
    uploads: Iterable[Upload],
    limits: Limits = Limits(),  # frozen
) -> Iterator[Received | Refused]:
    """Give the files that were uploaded, and those in zip archives among them, one by one.

    An archive is told by its content. One that looks like a decompression bomb, holds more files
    than the limit or is damaged is refused whole; of others, single entries: those encrypted, with
    names that lead out of a folder, links, archives in archives, damaged ones. What lies over a
    limit is refused, and the rest goes on. Folders and what macOS adds are passed over.

    Parameters
    ----------
    uploads : iterable of (str, bytes or BinaryIO)
        Names as they came, and contents; streams are seekable, read from their beginning, and not
        closed.
    limits : Limits, optional
    """
    room = _Room(limits)
    for given, content in uploads:
        name = display_name(given)
        stream = io.BytesIO(content) if isinstance(content, bytes) else content
        try:
            if is_zip(stream):
                yield from _unzipped(name, stream, room)
            else:
                yield _plain(name, stream, room)
        except ImageError as error:
            yield Refused(name, error.reason)
        except OSError as error:
            yield Refused(name, f"the upload cannot be read ({error}). Upload it again.")


def expected(
    uploads: Iterable[Upload],
    limits: Limits = Limits(),  # frozen
) -> int:
    """Return how many items `receive` will give, so that progress has a total."""
    total = 0
    for name, content in uploads:
        stream = io.BytesIO(content) if isinstance(content, bytes) else content
        try:
            if is_zip(stream):
                with opened_zip(stream, name, most=limits.files, ratio=limits.ratio) as (_, files):
                    total += len(files)
            else:
                total += 1
        except (ImageError, OSError):
            total += 1
    return total


def answer(
    classifier: Classifier,
    received: Iterable[Received | Refused],
    *,
    total: int = 0,
    progress: Progress = no_progress,
) -> Iterator[ClassifiedUpload]:
    """Answer for uploads in order, as `Classifier.stream` does for files, a few in memory at once.

    Parameters
    ----------
    classifier : Classifier
    received : iterable of Received or Refused
        What `receive` gives.
    total : int
        How many there will be, as far as known (`expected`), for `progress`.
    progress : Progress
        Told after each.

    Raises
    ------
    ModelError
        If the model itself fails.
    """

    def look(item: Received | Refused) -> ClassifiedUpload:
        return _answered(classifier, item)

    for done, answered in enumerate(ahead(look, received, classifier.workers), 1):
        progress(done, max(done, total), "Classifying")
        yield answered


def display_name(name: str) -> str:
    """Return a name that can be shown to people: short, printable, and no path.

    Parameters
    ----------
    name : str
        As a browser or an archive gave it.

    Returns
    -------
    str
        1 to 120 characters. Folders stay readable, but are not separated by what a system takes
        for a separator. Control and format characters are left out: those that turn the direction
        of writing make ``gpj.exe`` of ``exe.jpg`` (Unicode Technical Report 36, section 2.5).

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


class _Room:
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


_LATER = "Upload this one after the others, or use `hematovision classify`."


def _plain(name: str, stream: BinaryIO, room: _Room) -> Received:
    size = stream.seek(0, io.SEEK_END)
    room.check(name, size)
    stream.seek(0)
    content = stream.read(size)
    room.take(len(content))
    return Received(name, content)


def _unzipped(name: str, stream: BinaryIO, room: _Room) -> Iterator[Received | Refused]:
    most, ratio = room.limits.files, room.limits.ratio
    with opened_zip(stream, name, most=most, ratio=ratio) as (archive, files):
        if not files:
            raise UnreadableFileError(name, "the zip archive holds no files. Put images into it.")
        for info in files:
            shown = display_name(info.filename)
            try:
                check_entry(info, shown)
                room.check(shown, info.file_size)
                content = read_entry(archive, info, shown)
            except ImageError as error:
                yield Refused(shown, error.reason)
                continue
            room.take(len(content))
            yield Received(shown, content)


def _answered(classifier: Classifier, item: Received | Refused) -> ClassifiedUpload:
    if isinstance(item, Refused):
        prediction = Prediction.refused(item.name, classifier.classes, item.reason)
        return ClassifiedUpload(item.name, "", prediction, None, b"")
    seen = predict_image(classifier, Item(item.name, item.content), keep_pixels=True)
    digest = sha256_bytes(item.content)
    return ClassifiedUpload(item.name, digest, seen.prediction, seen.pixels, item.content)
