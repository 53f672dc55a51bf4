"""Feed damaged files to `hematovision.images.read`; run by the fuzz tests in a separate process.

Every case prints its number and name before it is tried, so that the last line of a process that
died names the culprit. The last line of one that lived is a summary in JSON.
"""

import faulthandler
import io
import json
import sys
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from hematovision import images
from hematovision.errors import ImageError
from image_files import all_kinds
from tiff_files import all_tiffs

SECONDS_PER_FILE = 10
MAX_PIXELS = 2**21
EXTREMES = (0x00, 0x01, 0x7F, 0x80, 0xFF)


def cut(data, rng):
    return data[: int(rng.integers(0, len(data)))]


def cut_near_the_end(data, rng):
    return data[: -int(rng.integers(1, min(16, len(data))))]


def one_bit(data, rng):
    result = bytearray(data)
    result[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
    return bytes(result)


def some_bytes(data, rng):
    result = bytearray(data)
    for place in rng.integers(0, len(data), rng.integers(2, 12)):
        result[place] = rng.integers(256)
    return bytes(result)


def header_extremes(data, rng):
    result = bytearray(data)
    for place in rng.integers(0, min(len(data), 200), rng.integers(1, 5)):
        result[place] = EXTREMES[rng.integers(len(EXTREMES))]
    return bytes(result)


def without_a_piece(data, rng):
    start, stop = sorted(rng.integers(0, len(data), 2))
    return data[:start] + data[stop + 1 :]


def with_a_piece_twice(data, rng):
    start, stop = sorted(rng.integers(0, len(data), 2))
    return data[:stop] + data[start:]


def with_noise_inside(data, rng):
    place = int(rng.integers(len(data)))
    return data[:place] + rng.bytes(int(rng.integers(1, 64))) + data[place:]


CUTS = (cut, cut_near_the_end)
CHANGES = (one_bit, some_bytes, header_extremes, without_a_piece, with_a_piece_twice)
CHANGES += (with_noise_inside,)


def declared_size(data):
    """The size in the header as Pillow reads it, or None."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                return image.size
    except Exception:  # noqa: BLE001
        return None


def read_or_error(data, *, must_fail):
    """Return the kind of result, or raise AssertionError for a forbidden one."""
    try:
        image = images.read(data, max_pixels=MAX_PIXELS)
    except ImageError as error:
        return type(error).__name__
    assert not must_fail, "a damaged file was read as if it were whole"
    assert image.dtype == np.uint8
    assert image.shape[2:] == (3,)
    size = declared_size(data)
    assert size is None or sorted(image.shape[:2]) == sorted(size), (image.shape, size)
    return "image"


def cases(seeds, per_seed, seed):
    for index, (name, data) in enumerate(seeds.items()):
        rng = np.random.default_rng([seed, index])
        for number in range(per_seed):
            cutting = number % 4 == 0
            kinds = CUTS if cutting else CHANGES
            change = kinds[rng.integers(len(kinds))]
            mutant = change(data, rng)
            caught = change is one_bit and name.endswith(".png")  # by a checksum or the signature
            if mutant != data:
                yield f"{name} {number} {change.__name__}", mutant, cutting or caught


def peak_megabytes():
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def main(per_seed, seed, *folder):
    warnings.simplefilter("error")
    seeds = {
        path.name: path.read_bytes() for path in map(Path, folder)
    } or all_kinds() | all_tiffs()
    if "pages.tif" in seeds:
        seeds["pages.tif"] = seeds["pages.tif"][:-4]  # padding behind the last page
    before, counts = peak_megabytes(), dict[str, int]()
    for label, data, must_fail in cases(seeds, int(per_seed), int(seed)):
        sys.stdout.write(f"{label}\n")
        sys.stdout.flush()
        faulthandler.dump_traceback_later(SECONDS_PER_FILE, exit=True)
        kind = read_or_error(data, must_fail=must_fail)
        faulthandler.cancel_dump_traceback_later()
        counts[kind] = counts.get(kind, 0) + 1
    sys.stdout.write(json.dumps({"counts": counts, "megabytes": peak_megabytes() - before}))


if __name__ == "__main__":
    main(*sys.argv[1:])
