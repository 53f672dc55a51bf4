"""TIFFs read by Pillow alone, by tifffile and by `images.read`: agreement, time, hostile files.

    PYTHONPATH=tests python benchmarks/tiff_readers.py

tifffile decodes JPEG, LZW and more with imagecodecs, if that is installed. The results are recorded
in ``docs/decisions/0020-where-pydantic-and-tifffile-are-not-used.md``. Needs the group ``dev``.
"""

from __future__ import annotations

import io
import logging
import statistics
import struct
import subprocess
import sys
import time
import warnings
import zlib
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from hematovision import images
from hematovision.errors import ImageError
from image_files import all_kinds
from tiff_files import all_tiffs, channels, fields_of, packed

Reader = Callable[[bytes], NDArray[Any]]
ROUNDS = 7
MOST_SECONDS = 30


def by_pillow(data: bytes) -> NDArray[Any]:
    """Read as most programs do with Pillow, and scale 16-bit greys by their full range."""
    with Image.open(io.BytesIO(data)) as image:
        if image.mode.startswith("I;16"):
            return eight_bits(np.asarray(image))
        if image.has_transparency_data:
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image.convert("RGBA"))
        return np.asarray(image.convert("RGB"))


def by_tifffile(data: bytes) -> NDArray[Any]:
    """Read the first series, and scale 16-bit samples by their full range."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page, series = file.pages[0], file.series[0]
        is_image = len(file.pages) == 1 or (series.shape[0] == 3 and series.axes[0] in "CS")
        pixels = series.asarray() if is_image else page.asarray()
        if pixels.ndim == 3 and pixels.shape[2] > 4:
            pixels = np.moveaxis(pixels, 0, 2)
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            pixels = ~pixels
        return eight_bits(pixels)


READERS: dict[str, Reader] = {
    "Pillow": by_pillow,
    "tifffile": by_tifffile,
    "images.read": images.read,
}


def eight_bits(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return pixels as RGB of 8 bits, without alpha."""
    if pixels.dtype.itemsize == 2:
        pixels = np.floor(pixels / 65535 * 255 + 0.5).astype(np.uint8)
    elif pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    return np.dstack([pixels] * 3) if pixels.ndim == 2 else pixels[..., :3]


def result(read: Reader, data: bytes, expected: NDArray[Any]) -> str:
    """Return how a reader's image compares with the expected one, within 1 of 255."""
    try:
        found = read(data)
    except Exception as error:  # noqa: BLE001 - whatever a reader raises is its result
        return f"error ({type(error).__name__})"
    is_same = found.shape == expected.shape and np.abs(found.astype(int) - expected).max() <= 1
    return "equal" if is_same else "different"


def compare() -> None:
    """Print which small TIFFs of the tests each reader reads alike."""
    kinds = {name: data for name, data in all_kinds().items() if name.endswith(".tif")}
    print_row("TIFF", READERS)
    for name, data in (kinds | all_tiffs()).items():
        expected = images.read(data)
        print_row(name, (result(read, data, expected) for read in READERS.values()))


def large() -> dict[str, bytes]:
    """Return images of five megapixels in common kinds."""
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    whole = np.asarray(Image.fromarray(noise).resize((2592, 1944), Image.Resampling.BICUBIC))
    deep = whole.astype(np.uint16) * 257
    kinds: dict[str, dict[str, Any]] = {
        "8 bits, LZW": {"data": whole, "photometric": "rgb", "compression": "lzw"},
        "8 bits, JPEG tiles": {"data": whole, "compression": "jpeg", "tile": (256, 256)},
        "16 bits, deflate": {"data": deep, "photometric": "rgb", "compression": "zlib"},
        "channels as pages": {"data": np.stack(channels(whole)), "metadata": {"axes": "CYX"}},
    }
    return {name: written(options) for name, options in kinds.items() if can_write(options)}


def can_write(options: dict[str, Any]) -> bool:
    """Return whether tifffile can write a compression: some need imagecodecs."""
    return options.get("compression") in (None, "zlib") or find_spec("imagecodecs") is not None


def written(options: dict[str, Any]) -> bytes:
    """Write a TIFF with tifffile."""
    stream = io.BytesIO()
    tifffile.imwrite(stream, **options)
    return stream.getvalue()


def time_readers() -> None:
    """Print milliseconds of processor time per image: medians, the readers taking turns."""
    print_row("milliseconds of 5 megapixels", READERS)
    for name, data in large().items():
        times: dict[str, list[float]] = {reader: [] for reader in READERS}
        for _ in range(ROUNDS):
            for reader, read in READERS.items():
                start = time.process_time()
                read(data)
                times[reader].append(time.process_time() - start)
        print_row(name, (f"{1000 * statistics.median(of):.0f}" for of in times.values()))


def empty_pages(number: int, following: int = 0) -> bytes:
    """Return a TIFF of pages without fields; the last is followed by one at an offset."""
    pages = np.zeros(number, dtype=[("fields", "<u2"), ("following", "<u4")])
    pages["following"][:-1] = 8 + 6 * np.arange(1, number)
    pages["following"][-1] = following
    return b"II*\0" + struct.pack("<I", 8) + pages.tobytes()


def shared_strips() -> bytes:
    """Return a TIFF of 4,000 strips that all are the same megabyte."""
    number = 4000
    fields = fields_of(
        np.zeros((number, 64), np.uint8), t273=(4, (16,) * number), t278=(4, (1,)),
        t279=(4, (2**20,) * number), t259=(3, (8,)),
    )  # fmt: skip
    return packed([fields], zlib.compress(bytes(2**20), 0).ljust(2**20, b"\0"))


def cut_tile() -> bytes:
    """Return a TIFF with a JPEG that ends early, with an end marker: half a tile."""
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "TIFF", compression="jpeg")
    data = stream.getvalue()
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        start, length = file.pages[0].dataoffsets[0], file.pages[0].databytecounts[0]
    half = start + length // 2
    return data[:half] + b"\xff\xd9" + bytes(length - length // 2 - 2) + data[start + length :]


HOSTILE: dict[str, Callable[[], bytes]] = {
    "five million empty pages": lambda: empty_pages(5_000_000),
    "pages in a circle": lambda: empty_pages(3000, 8 + 6 * 1000),
    "strips that share their bytes": shared_strips,
    "JPEG cut at 50%, end marker restored": cut_tile,
}


def attack(reader: str, name: str) -> None:
    """Read a hostile file; print the seconds of processor time and the result."""
    data, start = HOSTILE[name](), time.process_time()
    try:
        READERS[reader](data)
        outcome = "silent"
    except ImageError:
        outcome = "refused"
    except Exception as error:  # noqa: BLE001 - whatever a reader raises is its result
        outcome = type(error).__name__
    print(f"{outcome}, {time.process_time() - start:.1f} s")


def attack_all() -> None:
    """Print what each reader makes of hostile files, each in its own process."""
    print_row("hostile file", READERS)
    for name in HOSTILE:
        outcomes = []
        for reader in READERS:
            command = [sys.executable, __file__, reader, name]
            try:
                done = subprocess.run(
                    command, capture_output=True, text=True, timeout=MOST_SECONDS, check=False
                )
                outcomes.append(done.stdout.strip() or f"ended with {done.returncode}")
            except subprocess.TimeoutExpired:
                outcomes.append(f"over {MOST_SECONDS} s")
        print_row(name, outcomes)


def print_row(name: str, cells: Any) -> None:
    """Print one line of a table."""
    print(f"| {name} | {' | '.join(cells)} |")


def main() -> None:
    """Print all tables; with a reader and a hostile file, read that file."""
    warnings.simplefilter("ignore")
    logging.disable()
    if sys.argv[1:]:
        attack(*sys.argv[1:])
        return
    print(f"imagecodecs: {'installed' if find_spec('imagecodecs') else 'not installed'}")
    compare()
    time_readers()
    attack_all()


if __name__ == "__main__":
    main()
