"""What a client sends: images in batches, each batch as a multipart form."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["Item", "batches", "form"]

_BATCH = 16  # Files a request: enough to keep every thread of a service busy.
_BATCH_BYTES = 2**23  # Of a request, unless a single file has more; a service takes 2**25.


class Item(NamedTuple):
    """An image to be asked about, or the reason why it cannot be."""

    name: str
    content: bytes | None
    reason: str = ""


def batches(images: Iterable[str | Path | bytes]) -> Iterator[list[Item]]:
    """Read images, no further than needed, and give as many at once as a request should bring."""
    batch: list[Item] = []
    size = 0
    for i, image in enumerate(images):
        item = _read(image, i)
        length = len(item.content or b"")
        if batch and (len(batch) == _BATCH or size + length > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += length
    if batch:
        yield batch


def form(contents: list[bytes]) -> tuple[bytes, str]:
    """Write a multipart form; return it and its type."""
    boundary = uuid.uuid4().hex
    parts = []
    for i, content in enumerate(contents):
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{i}"\r\n\r\n'
        )
        parts += [head.encode(), content, b"\r\n"]
    parts.append(f"--{boundary}--\r\n".encode())
    return b"".join(parts), f"multipart/form-data; boundary={boundary}"


def _read(image: str | Path | bytes, number: int) -> Item:
    if isinstance(image, bytes):
        return Item(f"image {number}", image)
    path = Path(image)
    try:
        if path.exists() and not path.is_file():
            return Item(str(image), None, "it is no file. Give the path of an image file.")
        return Item(str(image), path.read_bytes())
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        reason = getattr(error, "strerror", None) or error
        return Item(
            str(image), None, f"the file cannot be read: {reason}. Check its path and permissions."
        )
