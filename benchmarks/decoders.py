"""Pillow, OpenCV and simplejpeg on real images: speed, and damaged files that they accept.

    HEMATOVISION_DATA=... python benchmarks/decoders.py

Prints two tables of rates (decoding, resizing) and one of results on damaged and uncommon files.
The results are recorded in ``docs/decisions/0001-one-decoder.md``. Needs the group ``dev``.
"""

from __future__ import annotations

import io
import os
import statistics
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from hematovision import images
from hematovision.errors import ImageError

Decoder = Callable[[bytes], NDArray[Any]]
ROUNDS = 3


def by_pillow(data: bytes) -> NDArray[Any]:
    """Decode as most programs do with Pillow."""
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))


def by_opencv(data: bytes) -> NDArray[Any]:
    """Decode as most programs do with OpenCV."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError("no image")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


DECODERS: dict[str, Decoder] = {
    "Pillow": by_pillow,
    "OpenCV": by_opencv,
    "simplejpeg": simplejpeg.decode_jpeg,
    "images.read": images.read,
}


def images_a_second(work: Callable[[Any], Any], inputs: list[Any]) -> float:
    """Return the median over the rounds, per second of processor time on one thread."""
    rates = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for value in inputs:
            work(value)
        rates.append(len(inputs) / (time.process_time() - start))
    return statistics.median(rates)


def time_decoders(sets: dict[str, list[bytes]]) -> None:
    """Print decoded images a second."""
    print_row("decoding, images/s", sets)
    for name, decode in DECODERS.items():
        print_row(name, (f"{images_a_second(decode, files):.0f}" for files in sets.values()))


def time_resizers(sets: dict[str, list[bytes]]) -> None:
    """Print images a second stretched to 224 x 224, and the largest difference to OpenCV's."""
    resizers: dict[str, Callable[[NDArray[np.uint8]], NDArray[Any]]] = {
        "Pillow BOX": lambda a: np.array(
            Image.fromarray(a).resize((224, 224), Image.Resampling.BOX)
        ),
        "OpenCV AREA": lambda a: cv2.resize(a, (224, 224), interpolation=cv2.INTER_AREA),
        "images.fit": images.fit,
    }
    print_row("\nresizing, images/s", sets)
    for name, resize in resizers.items():
        cells = []
        for files in sets.values():
            pixels = [images.read(data) for data in files]
            area = [resizers["OpenCV AREA"](image) for image in pixels]
            off = max(
                int(abs(resize(image).astype(int) - reference).max())
                for image, reference in zip(pixels, area, strict=True)
            )
            cells.append(f"{images_a_second(resize, pixels):.0f} (off by {off})")
        print_row(name, cells)


def cases(real: bytes) -> Iterable[tuple[str, bytes, NDArray[Any] | None]]:
    """Yield a name, its bytes, and the right pixels; None if an error is right."""
    for share in (10, 50, 90, 99):
        yield f"JPEG cut at {share}%", real[: len(real) * share // 100], None
    yield "JPEG without its last 2 bytes", real[:-2], None
    yield "JPEG cut at 50%, end marker put back", real[: len(real) // 2] + b"\xff\xd9", None
    buffer = io.BytesIO()
    Image.new("CMYK", (32, 32), (255, 0, 0, 0)).save(buffer, "JPEG")
    cyan = np.broadcast_to((0, 255, 255), (32, 32, 3))
    yield "CMYK JPEG (Adobe)", buffer.getvalue(), cyan
    deep = np.full((32, 32), 32768, np.uint16)
    yield "16-bit grey PNG", cv2.imencode(".png", deep)[1].tobytes(), np.full((32, 32, 3), 128)
    upright = np.zeros((32, 64, 3), np.uint8)
    upright[:, :32] = 255
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(upright)).save(buffer, "JPEG", exif=exif)
    yield "JPEG rotated by EXIF", buffer.getvalue(), upright
    yield "PNG, half transparent black", rgba_png(), np.full((32, 32, 3), 127)
    broken = bytearray(rgba_png())
    broken[-20] ^= 1  # in the checksum of the pixels
    yield "PNG with a broken checksum", bytes(broken), None


def rgba_png() -> bytes:
    """Pack a black PNG of half transparency."""
    rows = zlib.compress((b"\0" + b"\0\0\0\x80" * 32) * 32)

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", 32, 32, 8, 6, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def outcome(decode: Decoder, data: bytes, expected: NDArray[Any] | None) -> str:
    """Return whether the pixels are right, wrong, or an error."""
    try:
        pixels = decode(data)
    except (ImageError, ValueError, OSError, SyntaxError):
        return "error (right)" if expected is None else "error"
    if expected is None or pixels.shape != expected.shape:
        return "WRONG, silent"
    close = np.mean(abs(pixels.astype(float) - expected)) < 2
    return "right" if close else "WRONG, silent"


def compare_outcomes(real: bytes) -> None:
    """Print the outcome of every decoder on every damaged or uncommon file."""
    print_row("\noutcomes", DECODERS)
    for what, data, expected in cases(real):
        print_row(what, (outcome(decode, data, expected) for decode in DECODERS.values()))
    rng = np.random.default_rng(0)
    start = real.index(b"\xff\xda") + 16
    noticed = dict.fromkeys(DECODERS, 0)
    for place in rng.integers(start, len(real) - 2, 200):
        changed = bytearray(real)
        changed[place] ^= 0x55
        for name, decode in DECODERS.items():
            noticed[name] += outcome(decode, bytes(changed), None) != "WRONG, silent"
    print_row("one coded byte of a JPEG changed", (f"{n}/200 noticed" for n in noticed.values()))


def print_row(first: str, rest: Iterable[str]) -> None:
    """Print one line of a table."""
    print(f"{first:38}" + "".join(f"{cell:>18}" for cell in rest))


def main() -> None:
    """Run all three comparisons on the folder of real images."""
    folder = os.environ.get("HEMATOVISION_DATA")
    if not folder:
        sys.exit("HEMATOVISION_DATA must name the folder of real images.")
    fields = sorted(Path(folder, "bccd", "JPEGImages").glob("*.jpg"))[:60]
    cells = sorted(Path(folder, "pbc", "val").rglob("*.jpg"))[::10][:60]
    sets = {
        "bccd 640x480": [path.read_bytes() for path in fields],
        "pbc 360x363": [path.read_bytes() for path in cells],
    }
    cv2.setNumThreads(1)
    time_decoders(sets)
    time_resizers(sets)
    compare_outcomes(fields[0].read_bytes())


if __name__ == "__main__":
    main()
