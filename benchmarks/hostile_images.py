"""Memory and time of `classify` on hostile images, and whether a run survives them.

    python -m benchmarks.hostile_images [--shapes 200] [--mutants 2000] [--seed 0] [--json FILE]

Images of extreme shape: from 1 x 67,108,864 pixels to 8192 x 8192, in every format that holds them,
flat, so that their files are small. Mutants: synthetic cells in every format, and real images if
``HEMATOVISION_DATA`` names a folder of them, each cut, overwritten, shortened, doubled or given
extreme numbers. `write_images` fills a folder with both, also for the server and the app.

The memory is that of the whole process. The largest image is the largest one within the limits of
`hematovision.images`, in bytes of RGB.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import random
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, features

from benchmarks.machine import describe, markdown_table, run_measured, write_json
from hematovision import images
from hematovision.synthetic import KINDS, render_cell

__all__ = ["Files", "write_images", "write_mutants", "write_shapes"]

PROGRAM = (sys.executable, "-m", "hematovision")
_REFUSED = 3
_REAL = 40
_EXTREMES = (0x00, 0x01, 0x7F, 0x80, 0xFF)
_JPEG_SIDE, _WEBP_SIDE, _GIF_SIDE = 65_500, 16_383, 65_535
_FORMATS = {"jpg": "JPEG", "webp": "WEBP", "gif": "GIF", "jp2": "JPEG2000", "tif": "TIFF"}
_SHAPES = (
    (1, 2**26), (2**26, 1), (1, 10**6), (10**6, 1), (65_535, 656), (656, 65_535), (65_536, 1_000),
    (8_192, 8_192), (16_384, 4_096), (1, 100), (100, 1), (1, 101), (99, 9_900), (1, 1), (2, 65_535),
)  # fmt: skip


class Files(NamedTuple):
    """The number of files, and the bytes of the largest image within the limits."""

    files: int
    largest: int


def write_images(folder: Path, shapes: int = 200, mutants: int = 2_000, seed: int = 0) -> Files:
    """Fill a folder with images of extreme shape and with mutants."""
    folder.mkdir(parents=True, exist_ok=True)
    largest = write_shapes(folder, shapes, seed)
    write_mutants(folder, mutants, seed)
    return Files(shapes + mutants, largest)


def write_shapes(folder: Path, n: int, seed: int = 0) -> int:
    """Write images of extreme shape; return the bytes of the largest within the limits, as RGB."""
    rng, largest = random.Random(seed), 0
    for number in range(n):
        width, height = _SHAPES[number] if number < len(_SHAPES) else _random_shape(rng)
        suffix = rng.choice(_suffixes(width, height))
        path = folder / f"shape-{number:04}-{width}x{height}.{suffix}"
        path.write_bytes(_flat(width, height, suffix))
        short, long = sorted((width, height))
        if long <= min(images.MAX_SIDE, images.MAX_ASPECT * short):
            largest = max(largest, 3 * width * height * (width * height <= images.MAX_PIXELS))
    return largest


def _random_shape(rng: random.Random) -> tuple[int, int]:
    """Return sides of up to 2**26 pixels together, one of them long."""
    long = int(2 ** rng.uniform(6, 26))
    short = int(2 ** rng.uniform(0, min(13, 26 - np.log2(long))))
    return (long, short) if rng.random() < 0.5 else (short, long)


def _suffixes(width: int, height: int) -> list[str]:
    longest = max(width, height)
    sides = {"jpg": _JPEG_SIDE, "webp": _WEBP_SIDE, "gif": _GIF_SIDE, "jp2": 2**14, "tif": 2**31}
    found = ["png", "bmp", *(name for name, side in sides.items() if longest <= side)]
    small = width * height <= 2**22  # these two are slow to write
    return [name for name in found if small or name not in ("jp2", "webp")]


def _flat(width: int, height: int, suffix: str) -> bytes:
    """Pack an image of one colour."""
    if suffix == "png":
        return _flat_png(width, height)
    if suffix == "bmp":  # of one bit a pixel
        row = (width + 31) // 32 * 4
        head = struct.pack("<2sIII", b"BM", 62 + row * height, 0, 62)
        head += struct.pack("<IiiHHIIiiII", 40, width, height, 1, 1, 0, row * height, 0, 0, 2, 2)
        return head + bytes((0, 0, 0, 0, 255, 255, 255, 0)) + bytes(row * height)
    options = {"compression": "tiff_adobe_deflate"} if suffix == "tif" else {}
    return _packed(Image.new("L", (width, height), 200), _FORMATS[suffix], **options)


def _flat_png(width: int, height: int) -> bytes:
    packer = zlib.compressobj(1)
    row = b"\0" + bytes(width)
    pieces = [packer.compress(row * rows) for rows in _portions(height, max(1, 2**22 // width))]
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", b"".join(pieces) + packer.flush()), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def _portions(total: int, most: int) -> Iterator[int]:
    for begin in range(0, total, most):
        yield min(most, total - begin)


def write_mutants(folder: Path, n: int, seed: int = 0) -> None:
    """Write damaged copies of synthetic and real images, each format as often as the others."""
    rng = random.Random(seed)
    kinds = _kinds(seed)
    names = sorted(kinds)
    for number in range(n):
        name = names[number % len(names)]
        change = rng.choice(_CHANGES)
        mutant = change(rng.choice(kinds[name]), rng)
        path = folder / f"mutant-{number:05}-{change.__name__.strip('_')}-{name}"
        path.write_bytes(mutant)


def _kinds(seed: int) -> Mapping[str, list[bytes]]:
    """Return images of each kind, by a name that ends in its suffix."""
    cell = Image.fromarray(render_cell(KINDS[0], seed))
    deep = Image.fromarray(np.asarray(cell.convert("L")).astype(np.uint16) * 257)
    frames: dict[str, Any] = {"save_all": True, "append_images": [cell.rotate(90)]}
    found = {
        "baseline.jpg": _packed(cell, "JPEG"),
        "progressive.jpg": _packed(cell, "JPEG", progressive=True),
        "restarts.jpg": _packed(cell, "JPEG", restart_marker_rows=2),
        "cmyk.jpg": _packed(cell.convert("CMYK"), "JPEG"),
        "grey.jpg": _packed(cell.convert("L"), "JPEG"),
        "rgb.png": _packed(cell, "PNG"),
        "palette.png": _packed(cell.quantize(32), "PNG", transparency=3),
        "deep.png": _packed(deep, "PNG"),
        "plain.gif": _packed(cell.quantize(64), "GIF"),
        "animated.gif": _packed(cell, "GIF", **frames),
        "rgb.bmp": _packed(cell, "BMP"),
        "palette.bmp": _packed(cell.quantize(32), "BMP"),
        "raw.tif": _packed(cell, "TIFF"),
        "lzw.tif": _packed(cell, "TIFF", compression="tiff_lzw"),
        "jpeg.tif": _packed(cell, "TIFF", compression="jpeg"),
        "deep.tif": _packed(deep, "TIFF", compression="tiff_adobe_deflate"),
        "pages.tif": _packed(cell, "TIFF", **frames),
        "lossy.webp": _packed(cell, "WEBP"),
        "lossless.webp": _packed(cell, "WEBP", lossless=True),
        "animated.webp": _packed(cell, "WEBP", **frames),
    }
    if features.check("jpg_2000"):
        found["plain.jp2"] = _packed(cell, "JPEG2000")
    if features.check("avif"):
        found["plain.avif"] = _packed(cell, "AVIF")
    return {name: [data] for name, data in found.items()} | _real(seed)


def _real(seed: int) -> dict[str, list[bytes]]:
    folder = os.environ.get("HEMATOVISION_DATA")
    paths = sorted(Path(folder).rglob("*.jpg")) if folder else []
    chosen = random.Random(seed).sample(paths, min(_REAL, len(paths)))
    return {"real.jpg": [path.read_bytes() for path in chosen]} if chosen else {}


def _packed(image: Image.Image, kind: str, **options: Any) -> bytes:
    with io.BytesIO() as buffer:
        image.save(buffer, kind, **options)
        return buffer.getvalue()


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def _cut_and_ended(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))] + data[-2:]


def _bit(data: bytes, rng: random.Random) -> bytes:
    result = bytearray(data)
    result[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(result)


def _bytes(data: bytes, rng: random.Random) -> bytes:
    result = bytearray(data)
    for _ in range(rng.randint(2, 12)):
        result[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(result)


def _header(data: bytes, rng: random.Random) -> bytes:
    result = bytearray(data)
    for _ in range(rng.randint(1, 5)):
        result[rng.randrange(min(len(data), 200))] = rng.choice(_EXTREMES)
    return bytes(result)


def _without_piece(data: bytes, rng: random.Random) -> bytes:
    start, stop = sorted(rng.sample(range(len(data)), 2))
    return data[:start] + data[stop:]


def _piece_twice(data: bytes, rng: random.Random) -> bytes:
    start, stop = sorted(rng.sample(range(len(data)), 2))
    return data[:stop] + data[start:]


def _noise_inside(data: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(data))
    return data[:place] + rng.randbytes(rng.randint(1, 64)) + data[place:]


_CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _cut, _cut_and_ended, _bit, _bytes, _header, _without_piece, _piece_twice, _noise_inside,
)  # fmt: skip


class Result(NamedTuple):
    """Resources and results of a run over hostile images."""

    files: int
    classified: int
    refused: int
    lost: int
    seconds: float
    peak_mb: float
    largest_mb: float

    @property
    def over_mb(self) -> float:
        """The memory over that of the largest decoded image."""
        return self.peak_mb - self.largest_mb


def classify(folder: Path, written: Files, out: Path) -> Result:
    """Run `classify` over a folder and count its rows; the exit code is 3, as some are refused."""
    words = (*PROGRAM, "classify", folder, "--out", out)
    measured = run_measured(words, allowed=(_REFUSED,))
    with out.open(encoding="utf-8", newline="") as stream:
        rows = [row["decision"] for row in csv.DictReader(stream)]
    refused = rows.count("refused")
    return Result(
        files=written.files,
        classified=len(rows) - refused,
        refused=refused,
        lost=written.files - len(rows),
        seconds=measured.seconds,
        peak_mb=measured.peak_mb,
        largest_mb=written.largest / 2**20,
    )


def main() -> None:
    """Write images, classify them, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", type=int, default=200)
    parser.add_argument("--mutants", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="JSON file for the measurements")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "images"
        written = write_images(folder, args.shapes, args.mutants, args.seed)
        result = classify(folder, written, Path(name) / "table.csv")
    columns = ["files", "classified", "refused", "lost", "s", "peak MB", "over the largest MB"]
    row = [*result[:4], f"{result.seconds:.0f}", f"{result.peak_mb:.0f}", f"{result.over_mb:.0f}"]
    print(describe())
    print(markdown_table(columns, [row]))
    if args.json:
        write_json(args.json, {**result._asdict(), "over_mb": result.over_mb})


if __name__ == "__main__":
    main()
