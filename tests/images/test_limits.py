"""Sides, proportions and the number of parts of a file are limited before any work."""

import struct
import time
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from hematovision import images
from hematovision.errors import TooManyPixelsError, TruncatedImageError
from image_files import bmp, chunk, jpeg, noise, png, save, scene

MEGABYTE = 2**20


def rejected(error, data, match, seconds=4.0):
    """Read a file that must be rejected quickly."""
    begin = time.perf_counter()
    with pytest.raises(error, match=match):
        images.read(data)
    assert time.perf_counter() - begin < seconds


def grey_png(width, height):
    """A PNG header with one row of pixels, which must never be decoded."""
    return png(width, height, 8, 0, [bytes(width)])


def gif(width, height):
    data = save(Image.fromarray(scene()).quantize(16), "GIF")
    return data[:6] + struct.pack("<HH", width, height) + data[10:]


def webp(width, height):
    data = bytearray(save(scene(), "WEBP"))
    data[26:30] = struct.pack("<HH", width, height)
    return bytes(data)


def resized_jpeg(width, height, **options):
    data = jpeg(**options)
    frame = data.index(b"\xff\xc2" if options.get("progressive") else b"\xff\xc0")
    return data[: frame + 5] + struct.pack(">HH", height, width) + data[frame + 9 :]


class TestSides:
    @pytest.mark.parametrize("shape", [(1, 2**26), (2**26, 1), (70_000, 900), (900, 65_536)])
    def test_no_side_is_longer_than_any_camera_has_pixels(self, shape):
        assert images.MAX_SIDE == 65_535
        rejected(TooManyPixelsError, grey_png(*shape), "the limit for each side is 65,535")

    @pytest.mark.parametrize(
        ("width", "height"), [(1, 101), (101, 1), (65_535, 655), (3, 400), (1_000, 9)]
    )
    def test_sides_are_in_proportion(self, width, height):
        assert images.MAX_ASPECT == 100
        rejected(TooManyPixelsError, grey_png(width, height), "at most 100 times the other")

    @pytest.mark.parametrize("make", [gif, webp, resized_jpeg])
    def test_every_format_has_the_same_limits(self, make):
        rejected(TooManyPixelsError, make(16_000, 33), "at most 100 times the other")

    def test_bmp_has_the_same_limits(self):
        data = bmp([bytes(4 * 1000)], 1000, 1, 32)
        rejected(TooManyPixelsError, data, "1000 x 1 pixels; one side may be at most 100 times")

    def test_images_just_within_the_limits_are_read(self):
        assert images.read(save(noise(3, 300, 3), "PNG")).shape == (3, 300, 3)


class TestParts:
    def test_png_chunks_are_counted(self):
        data = save(scene(), "PNG")
        stuffed = data[:33] + chunk(b"tEXt", b"") * 2_000_000 + data[33:]
        rejected(TruncatedImageError, stuffed, "the PNG has more than 65,536 chunks")

    def test_an_ordinary_number_of_png_chunks_is_read(self):
        data = save(scene(), "PNG")
        stuffed = data[:33] + chunk(b"tEXt", b"") * 1000 + data[33:]
        np.testing.assert_array_equal(images.read(stuffed), scene())

    @pytest.mark.parametrize("part", [b"\x21\xfe\0", b"\x21\xfe" + b"\x01\0" * 10 + b"\0"])
    def test_gif_blocks_and_sub_blocks_are_counted(self, part):
        data = save(Image.fromarray(scene()).quantize(16), "GIF")
        stuffed = data[:-1] + part * 4_000_000 + b";"
        rejected(TruncatedImageError, stuffed, "the GIF has more than 1,048,576 blocks")

    def test_webp_chunks_are_counted(self):
        data = save(scene(), "WEBP") + b"abcd\0\0\0\0" * 2_000_000
        stuffed = data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
        rejected(TruncatedImageError, stuffed, "the WebP has more than 65,536 chunks")

    @pytest.mark.parametrize("part", [b"\xff\x01", b"\xff\xe5\0\2", b"\xff\xfe\0\2"])
    def test_jpeg_segments_are_counted(self, part):
        data = jpeg()
        stuffed = data[:2] + part * 2_000_000 + data[2:]
        rejected(TruncatedImageError, stuffed, "the JPEG has more than 16,384 segments")


class TestMemory:
    @pytest.mark.parametrize("shape", [(1, 200_000), (200_000, 1), (20, 40_000), (40_000, 20)])
    def test_fitting_takes_a_few_times_the_image(self, shape):
        image = np.zeros((*shape, 3), np.uint8)
        tracemalloc.start()
        images.fit(image)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 3 * image.nbytes + 8 * MEGABYTE

    def test_weights_of_many_lengths_are_not_all_kept(self):
        tracemalloc.start()
        for length in range(30_000, 90_000, 500):
            images.fit(np.zeros((length, 1, 3), np.uint8))
        kept = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert kept < 16 * MEGABYTE

    @pytest.mark.parametrize("place", ["inspect", "decode", "fit"])
    def test_an_image_beyond_the_memory_is_rejected(self, monkeypatch, place):
        def starved(*_args, **_options):
            raise MemoryError

        where = "formats.inspect" if place == "inspect" else place
        monkeypatch.setattr(f"hematovision.images.reading.{where}", starved)
        with pytest.raises(TooManyPixelsError, match="does not fit in this computer's free memory"):
            images.load(save(scene(), "PNG"), name="cell.png")


@pytest.mark.parametrize("shape", [(9_000, 3), (3, 9_000), (5_001, 11), (10, 4_200)])
def test_long_sides_are_averaged_as_exactly_as_short_ones(shape):
    image = noise(*shape, 3)
    # Every pixel repeated until 3 divides the sides: then areas are plain blocks.
    blocks = image.repeat(3, 0).repeat(3, 1).reshape(3, shape[0], 3, shape[1], 3)
    sums, count = blocks.sum(axis=(1, 3), dtype=np.int64), shape[0] * shape[1]
    np.testing.assert_array_equal(images.fit(image, 3), (2 * sums + count) // (2 * count))
