"""Every accepted kind of image is decoded to the right pixels."""

import struct
import subprocess
import sys
import threading
import time
import tracemalloc
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType, SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from hematovision import images
from hematovision.errors import ImageError, NotAnImageError, UnreadableFileError
from hematovision.images import decoding, reading
from image_files import (
    all_kinds,
    bmp,
    chunk,
    cv2_png,
    exif,
    jpeg,
    noise,
    png,
    save,
    scene,
    tiff,
    with_chunk,
)

KINDS = all_kinds()
DEEP_GREYS = np.array([[0, 1, 128, 129, 255, 256, 32767, 32768, 65278, 65279, 65535]], np.uint16)
# round(value / 65535 * 255): 128 / 257 rounds to 0 and 129 / 257 to 1; the high byte alone would
# give 0 for 255, 254 for 65278 and 65279.
DEEP_GREYS_AS_8_BITS = [0, 0, 0, 1, 1, 1, 127, 128, 254, 254, 255]


def grey_row(data):
    image = images.read(data)
    assert (image == image[..., :1]).all()
    return image[0, :, 0].tolist()


def by_range(values):
    """The rule of 16 bits, in floating point."""
    return np.round(values / 65535 * 255).astype(np.uint8)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_becomes_a_new_contiguous_rgb_array(name, recwarn):
    image = images.read(KINDS[name])
    assert image.shape == ((32, 24, 3) if name == "turned.jpg" else (24, 32, 3))
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.flags.writeable
    assert not recwarn.list


@pytest.mark.parametrize(
    "name", ["rgb.png", "rgb.tif", "lzw.tif", "big-tiled.tif", "pages.tif", "rgb.bmp"]
)
def test_lossless_kinds_return_the_original_pixels(name):
    np.testing.assert_array_equal(images.read(KINDS[name]), scene())


@pytest.mark.parametrize(
    "name", ["rgb.jpg", "progressive.jpg", "cmyk.jpg", "jpeg.tif", "lossy.webp", "animated.webp"]
)
def test_lossy_kinds_are_close_to_the_original_pixels(name):
    difference = images.read(KINDS[name]).astype(int) - scene()
    assert abs(difference[2:8, 2:12]).max() < 12
    assert abs(difference).mean() < 6


def test_paths_strings_and_bytes_are_read_alike(tmp_path):
    path = tmp_path / "ä cell.PNG"
    path.write_bytes(KINDS["rgb.png"])
    for source in (path, str(path), path.read_bytes()):
        np.testing.assert_array_equal(images.read(source), scene())


def test_a_small_file_takes_little_memory_to_read(tmp_path):
    path = tmp_path / "cell.png"
    path.write_bytes(KINDS["rgb.png"])
    tracemalloc.start()
    try:
        assert images.read_bytes(path) == path.read_bytes()
        assert tracemalloc.get_traced_memory()[1] < 1_000_000  # Once 256 MiB, for every file.
    finally:
        tracemalloc.stop()


def test_another_type_of_source_is_a_type_error():
    with pytest.raises(TypeError, match=r"must be a path or the bytes of a file. Received: int"):
        images.read(3)


def test_the_format_is_recognised_by_content_not_suffix(tmp_path):
    path = tmp_path / "really-a-png.jpg"
    path.write_bytes(KINDS["rgb.png"])
    np.testing.assert_array_equal(images.read(path), scene())


class TestDepth:
    @pytest.mark.parametrize(
        "data",
        [
            cv2_png(DEEP_GREYS),
            tiff(DEEP_GREYS),
            tiff(DEEP_GREYS, byteorder=">"),
            tiff(DEEP_GREYS, byteorder=">", compression="zlib"),
            tiff(DEEP_GREYS, compression="zlib"),
            tiff(65535 - DEEP_GREYS, photometric="miniswhite"),
            tiff(65535 - DEEP_GREYS, photometric="miniswhite", byteorder=">"),
            tiff(np.dstack([DEEP_GREYS] * 3), photometric="rgb"),
            save(Image.fromarray(DEEP_GREYS), "TIFF", compression="tiff_lzw"),
        ],
    )
    def test_16_bit_greys_are_scaled_by_the_range_of_their_type(self, data):
        assert grey_row(data) == DEEP_GREYS_AS_8_BITS

    def test_a_dim_16_bit_image_stays_dim(self):
        assert grey_row(cv2_png(np.array([[100, 16384]], np.uint16))) == [0, 64]

    @pytest.mark.parametrize("alpha", [False, True])
    def test_16_bit_colour_keeps_its_low_byte_in_png_and_tiff(self, alpha):
        deep = noise(20, 30, 3, dtype=np.uint16)
        expected = by_range(deep)
        if alpha:
            deep = np.dstack([deep, np.full((20, 30), 65535, np.uint16)])
        bgr = cv2.cvtColor(deep, cv2.COLOR_RGBA2BGRA if alpha else cv2.COLOR_RGB2BGR)
        extra = {"extrasamples": ["unassalpha"]} if alpha else {}
        kinds = [cv2_png(bgr)]
        for order in "<>":
            for packing in ({}, {"compression": "zlib"}):
                kinds.append(tiff(deep, photometric="rgb", byteorder=order, **extra, **packing))
        for data in kinds:
            np.testing.assert_array_equal(images.read(data), expected)

    @pytest.mark.parametrize("other", ["none", "plain tuples", "modes of another name"])
    def test_16_bit_colour_is_refused_if_pillow_keeps_only_its_high_byte(self, monkeypatch, other):
        opened = decoding._open

        def open_with_other_tiles(encoded, page=0):
            image = opened(encoded, page)
            if encoded.bits == 8 or image.mode == "I;16":
                return image
            if other == "none":
                del image.tile
            elif other == "plain tuples":
                image.tile = [tuple(tile) for tile in image.tile]
            else:
                image.tile = [tile._replace(args="RGB;16") for tile in image.tile]
            return image

        deep = noise(20, 30, 3, dtype=np.uint16)
        monkeypatch.setattr(decoding, "_open", open_with_other_tiles)
        for data in (cv2_png(deep), tiff(deep, photometric="rgb")):
            with pytest.raises(NotAnImageError, match=r"cannot read all 16 bits .*8-bit PNG"):
                images.read(data)
        grey = noise(20, 30, dtype=np.uint16)
        assert (images.read(tiff(grey))[..., 0] == by_range(grey)).all()
        shallow = noise(20, 30, 3)
        assert (images.read(cv2_png(shallow))[..., ::-1] == shallow).all()

    def test_pillow_may_have_no_block_size(self, monkeypatch):
        monkeypatch.delenv("PILLOW_BLOCK_SIZE", raising=False)
        monkeypatch.setattr(Image, "core", SimpleNamespace())
        decoding._use_large_blocks.__wrapped__()

    def test_16_bit_alpha_is_blended_with_white_before_rounding(self):
        deep = noise(20, 30, 4, dtype=np.uint16)
        share = deep[..., 3:] / 65535
        expected = by_range(deep[..., :3] * share + 65535 * (1 - share))
        data = tiff(deep, photometric="rgb", extrasamples=["unassalpha"])
        np.testing.assert_array_equal(images.read(data), expected)
        bgra = deep[..., [2, 1, 0, 3]]
        np.testing.assert_array_equal(images.read(cv2_png(bgra)), expected)

    def test_16_bit_colour_that_is_already_multiplied_by_its_alpha_is_not_multiplied_again(self):
        deep = np.array([[[10000, 20000, 5000, 20000]]], np.uint16)
        data = tiff(deep, photometric="rgb", extrasamples=["assocalpha"])
        white = 65535 - 20000
        expected = by_range(np.array([10000 + white, 20000 + white, 5000 + white]))
        assert images.read(data)[0, 0].tolist() == expected.tolist()

    def test_16_bit_grey_with_alpha(self):
        row = struct.pack(">4H", 0, 32768, 40000, 65535)
        # black, half covered: 65535 - 32768 = 32767 -> 127; 40000 -> 155.6
        assert grey_row(png(2, 1, 16, 4, [row])) == [127, 156]

    @pytest.mark.parametrize(("bits", "packed"), [(1, b"\x40"), (2, b"\x30"), (4, b"\x0f")])
    def test_few_bits_are_stretched_to_the_full_range(self, bits, packed):
        assert grey_row(png(2, 1, bits, 0, [packed])) == [0, 255]

    def test_4_bit_tiff_with_white_as_zero(self):
        assert grey_row(save(Image.fromarray(scene()).convert("1"), "TIFF"))[0] == 0
        data = tiff(np.array([[0, 55, 255]], np.uint8), photometric="miniswhite")
        assert grey_row(data) == [255, 200, 0]


class TestTransparency:
    def test_half_transparent_black_is_mid_grey_on_white(self):
        black = np.zeros((2, 2, 4), np.uint8)
        black[..., 3] = [[0, 128], [127, 255]]
        for kind in ("PNG", "TIFF"):
            image = images.read(save(black, kind))
            assert image[..., 0].tolist() == [[255, 127], [128, 0]]

    def test_webp_with_alpha(self):
        clear = np.dstack([scene(), np.zeros((24, 32), np.uint8)])
        assert (images.read(save(clear, "WEBP", lossless=True, exact=True)) == 255).all()

    def test_grey_with_alpha(self):
        pair = Image.merge("LA", [Image.new("L", (1, 1), 100), Image.new("L", (1, 1), 51)])
        assert grey_row(save(pair, "PNG")) == [224]  # 100 * 0.2 + 255 * 0.8

    def test_palette_with_one_transparent_colour(self):
        palette = Image.new("P", (2, 1))
        palette.putpalette([10, 20, 30, 40, 50, 60])
        palette.putdata([0, 1])
        for kind in ("PNG", "GIF"):
            data = save(palette, kind, transparency=0)
            assert images.read(data)[0].tolist() == [[255, 255, 255], [40, 50, 60]]

    def test_palette_with_partly_transparent_colours(self):
        rows, colours = [b"\0\1"], chunk(b"PLTE", bytes([0, 0, 0, 40, 50, 60]))
        data = png(2, 1, 8, 3, rows, colours, chunk(b"tRNS", bytes([128, 255])))
        assert images.read(data)[0].tolist() == [[127, 127, 127], [40, 50, 60]]

    @pytest.mark.parametrize(
        ("bits", "row", "key"),
        [(2, b"\x40", 1), (8, b"\x55\0", 0x55), (16, b"\x55\x56\0\0", 0x5556)],
    )
    def test_one_transparent_grey_is_white(self, bits, row, key):
        data = png(2, 1, bits, 0, [row], chunk(b"tRNS", struct.pack(">H", key)))
        assert grey_row(data) == [255, 0]

    def test_one_transparent_colour_must_match_in_every_bit(self):
        row = struct.pack(">6H", 1, 2, 40003, 1, 2, 40004)
        data = png(2, 1, 16, 2, [row], chunk(b"tRNS", struct.pack(">3H", 1, 2, 40003)))
        assert images.read(data)[0].tolist() == [[255, 255, 255], [0, 0, 156]]

    def test_bmp_with_alpha_and_bmp_with_empty_alpha(self):
        masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + bytes(68)

        def read(*pixels):
            rows = [bytes(b for pixel in pixels for b in pixel)]
            shape = bmp(rows, len(pixels), 1, 32, compression=3)
            start = struct.pack("<II", 14 + 124, 124)
            body = shape[18:54] + masks + bytes(124 - 40 - len(masks)) + rows[0]
            return images.read(shape[:10] + start + body)[0].tolist()

        assert read((3, 2, 1, 255), (0, 0, 0, 128)) == [[1, 2, 3], [127, 127, 127]]
        assert read((3, 2, 1, 0), (6, 5, 4, 0)) == [[1, 2, 3], [4, 5, 6]]


class TestCmyk:
    @staticmethod
    def flat(*ink):
        return jpeg(Image.new("CMYK", (16, 16), ink))

    @pytest.mark.parametrize(
        ("ink", "rgb"),
        [
            ((255, 0, 0, 0), (0, 255, 255)),
            ((0, 255, 0, 0), (255, 0, 255)),
            ((0, 0, 255, 0), (255, 255, 0)),
            ((0, 0, 0, 255), (0, 0, 0)),
            ((0, 0, 0, 0), (255, 255, 255)),
            ((0, 128, 0, 128), (127, 63, 127)),
        ],
    )
    def test_inks_of_adobes_inverted_jpeg(self, ink, rgb):
        assert abs(images.read(self.flat(*ink))[8, 8].astype(int) - rgb).max() <= 2

    def test_without_adobes_marker_the_inks_are_not_inverted(self):
        data = self.flat(255, 0, 0, 0)
        marker = data.index(b"\xff\xee\x00\x0eAdobe")
        plain = data[:marker] + data[marker + 16 :]
        # Stored numbers stay, their meaning turns: 0, 255, 255, 255 of ink is black.
        assert images.read(plain)[8, 8].max() <= 2

    def test_ycck(self):
        data = bytearray(self.flat(0, 0, 0, 0))
        marker = data.index(b"Adobe")
        assert data[marker + 11] == 0
        data[marker + 11] = 2
        # Each stored number is 255. Y, Cb, Cr of 255 make R = 255 + 1.402 * 127 -> 255,
        # G = 255 - (0.344 + 0.714) * 127 = 121, B -> 255; these are the inks; K of 255 is none.
        image = images.read(bytes(data))
        assert abs(image[8, 8].astype(int) - (0, 134, 0)).max() <= 2
        reference = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        assert abs(image - reference.astype(int)).max() <= 2

    def test_cmyk_tiff(self):
        data = save(Image.new("CMYK", (2, 2), (255, 0, 0, 0)), "TIFF")
        assert images.read(data)[0, 0].tolist() == [0, 255, 255]


class TestOrientation:
    # How a camera held this way stores the upright scene (Exif 2.32, tag Orientation).
    STORED = MappingProxyType(
        {
            1: lambda image: image,
            2: np.fliplr,
            3: lambda image: np.rot90(image, 2),
            4: np.flipud,
            5: lambda image: image.swapaxes(0, 1),
            6: lambda image: np.rot90(image, 1),
            7: lambda image: np.rot90(image, 2).swapaxes(0, 1),
            8: lambda image: np.rot90(image, -1),
        }
    )

    @pytest.mark.parametrize("orientation", STORED)
    @pytest.mark.parametrize("order", "<>")
    def test_every_orientation_gives_the_same_upright_image(self, orientation, order):
        stored = np.ascontiguousarray(self.STORED[orientation](scene()))
        block = exif(orientation, order)
        exact = [
            with_chunk(save(stored, "PNG"), b"eXIf", block),
            tiff(stored, photometric="rgb", extratags=[(274, 3, 1, orientation, True)]),
            save(stored, "WEBP", lossless=True, exif=block),
            save(stored, "WEBP", lossless=True, exif=b"Exif\0\0" + block),
        ]
        for data in exact:
            np.testing.assert_array_equal(images.read(data), scene())
        difference = images.read(jpeg(stored, exif=b"Exif\0\0" + block)).astype(int) - scene()
        assert abs(difference).mean() < 3

    @pytest.mark.parametrize(
        "block", [b"", b"II*\0", exif(9), exif(0), exif(6)[:19], exif(6)[:14], b"XX" + exif(6)]
    )
    def test_broken_metadata_neither_rotate_nor_reject_an_image(self, block, recwarn):
        data = jpeg(exif=b"Exif\0\0" + block)
        assert images.read(data).shape == (24, 32, 3)
        assert not recwarn.list

    def test_orientation_is_found_after_other_tags(self):
        other = struct.pack("<HHII", 0x010F, 2, 4, 0)
        block = exif(6)
        longer = block[:8] + struct.pack("<H", 2) + other + block[10:]
        assert images.read(jpeg(exif=b"Exif\0\0" + longer)).shape == (32, 24, 3)
        without = block[:8] + struct.pack("<H", 1) + other + bytes(4)
        assert images.read(jpeg(exif=b"Exif\0\0" + without)).shape == (24, 32, 3)


class TestFirst:
    @pytest.mark.parametrize("name", ["animated.gif", "animated.webp", "pages.tif"])
    def test_the_first_frame_or_page_is_read(self, name):
        image = images.read(KINDS[name])
        assert abs(image[4, 4].astype(int) - (200, 30, 40)).max() < 12

    def test_a_first_gif_frame_smaller_than_its_screen(self):
        data = save(Image.new("P", (4, 3)), "GIF")
        wider = data[:6] + struct.pack("<HH", 6, 5) + data[10:]
        assert images.read(wider).shape == (5, 6, 3)

    def test_a_thumbnail_is_not_the_image(self):
        thumbnail = b"Exif\0\0" + exif(1) + jpeg(np.zeros((8, 8, 3), np.uint8))
        np.testing.assert_array_equal(images.read(jpeg(exif=thumbnail)), images.read(jpeg()))

    @pytest.mark.parametrize("name", ["rgb.jpg", "rgb.png", "rgb.bmp", "lossy.webp", "rgb.tif"])
    def test_bytes_after_the_end_are_ignored(self, name):
        np.testing.assert_array_equal(
            images.read(KINDS[name] + b"camera notes"), images.read(KINDS[name])
        )


class TestUncommon:
    def test_jpeg_with_an_unknown_marker(self):
        data = jpeg()
        np.testing.assert_array_equal(
            images.read(data[:2] + b"\xff\x01" + data[2:]), images.read(data)
        )

    def test_interlaced_png(self):
        rows = [b"\x80", b"\x80"]  # 1 x 2 pixels, Adam7: pass 1 holds the first, pass 7 the other
        assert images.read(png(1, 2, 1, 0, rows, interlace=1))[:, 0, 0].tolist() == [255, 255]

    def test_a_top_down_bmp_and_a_bottom_up_one(self):
        rows = [bytes([3, 2, 1, 0]), bytes([6, 5, 4, 0])]
        up, down = images.read(bmp(rows, 1, 2, 24)), images.read(bmp(rows, 1, -2, 24))
        assert up[:, 0].tolist() == [[4, 5, 6], [1, 2, 3]]
        assert down[:, 0].tolist() == [[1, 2, 3], [4, 5, 6]]

    def test_the_oldest_bmp_header(self):
        header = struct.pack("<2sIII", b"BM", 30, 0, 26) + struct.pack("<IHHHH", 12, 1, 1, 1, 24)
        assert images.read(header + bytes([3, 2, 1, 0]))[0, 0].tolist() == [1, 2, 3]

    def test_tiff_in_planes_and_in_strips(self):
        planes = np.ascontiguousarray(scene().transpose(2, 0, 1))
        separate = tiff(planes, photometric="rgb", planarconfig="separate")
        np.testing.assert_array_equal(images.read(separate), scene())
        strips = tiff(scene(), photometric="rgb", rowsperstrip=5)
        np.testing.assert_array_equal(images.read(strips), scene())

    def test_tiff_with_grey_and_alpha_both_ways(self):
        pair = np.array([[[100, 51]]], np.uint8)
        straight = tiff(pair, extrasamples=["unassalpha"])
        assert images.read(straight)[0, 0, 0] == 224
        multiplied = tiff(np.array([[[20, 51]]], np.uint8), extrasamples=["assocalpha"])
        assert images.read(multiplied)[0, 0, 0] == 224

    def test_a_text_that_would_inflate_to_gigabytes_is_never_inflated(self):
        bomb = b"note\0\0" + zlib.compress(bytes(50_000_000), 9)
        data = with_chunk(save(scene(), "PNG"), b"zTXt", bomb)
        data = with_chunk(data, b"iCCP", bomb)
        np.testing.assert_array_equal(images.read(data), scene())


def test_many_threads_read_at_once_and_nothing_global_changes(monkeypatch):
    filters, limit = list(warnings.filters), Image.MAX_IMAGE_PIXELS
    expected = {name: images.read(data) for name, data in KINDS.items()}
    with ThreadPoolExecutor(8) as pool:
        for name, image in zip(KINDS, pool.map(images.read, KINDS.values()), strict=True):
            np.testing.assert_array_equal(image, expected[name])
    assert warnings.filters == filters
    assert limit == Image.MAX_IMAGE_PIXELS


def test_real_jpegs_are_decoded_like_in_opencv(real_data):
    fields = sorted((real_data / "bccd" / "JPEGImages").glob("*.jpg"))[:10]
    cells = sorted((real_data / "pbc" / "val").rglob("*.jpg"))[::64]
    assert len(cells) >= 10
    for path in fields + cells:
        reference = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB).astype(int)
        image = images.read(path)
        assert image.shape == reference.shape
        assert abs(image - reference).max() <= 2
        assert abs(image[..., ::-1] - reference).max() > 20  # swapped channels would be seen


def test_real_rgba_fields_keep_their_colours(real_data):
    for path in sorted((real_data / "draaslan").rglob("*.png"))[:5]:
        reference = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        np.testing.assert_array_equal(images.read(path), reference)


def most_at_once(budget, sizes):
    """Take all sizes on threads; return the most pixels, and the most images, held at once."""
    lock, held, most = threading.Lock(), list[int](), [0, 0]

    def take(size):
        with budget.taken(size):
            with lock:
                held.append(size)
                most[:] = max(most[0], sum(held)), max(most[1], len(held))
            time.sleep(0.01)
            with lock:
                held.remove(size)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(take, sizes))
    return most


def test_large_images_are_decoded_together_within_the_budget():
    pixels, number = most_at_once(images.PixelBudget(2**24), [5 * 10**6] * 24)
    assert pixels <= 2**24
    assert number == 3


def test_an_image_beyond_the_budget_is_decoded_alone():
    _, number = most_at_once(images.PixelBudget(2**22), [2**26] * 6)
    assert number == 1
    mixed = [2**21, 2**26] * 8
    assert most_at_once(images.PixelBudget(2**22), mixed)[0] <= 2**26 + 2**21


def test_ordinary_images_do_not_wait():
    assert most_at_once(images.PixelBudget(2**20), [360 * 363] * 64)[1] > 3


def test_a_budget_changes_no_pixel(tmp_path):
    data = save(noise(1100, 1000, 3), "PNG")
    budget = images.PixelBudget(2**20)
    assert (images.load(data, budget=budget) == images.load(data)).all()


class TestOpened:
    """Threads share a budget while they use the pixels of files."""

    @pytest.mark.parametrize("heavy", [0, 2**30])
    def test_large_files_are_in_memory_one_at_a_time(self, tmp_path, monkeypatch, heavy):
        monkeypatch.setattr(reading, "_HEAVY", heavy)  # large files are read twice
        expected = images.read(save(noise(1100, 1000, 3), "PNG"))
        for number in range(8):
            (tmp_path / f"{number}.png").write_bytes(save(noise(1100, 1000, 3), "PNG"))
        lock, alive, most, same = threading.Lock(), [0], [0], list[bool]()
        budget = images.PixelBudget(2**20)

        def use(path):
            with images.opened(path, budget=budget) as pixels:
                with lock:
                    alive[0] += 1
                    most[0] = max(most[0], alive[0])
                    same.append(bool((pixels == expected).all()))
                time.sleep(0.01)
                with lock:
                    alive[0] -= 1

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(use, sorted(tmp_path.iterdir())))
        assert (most[0], same) == (1, [True] * 8)

    def test_the_budget_is_free_again_after_an_error(self, tmp_path):
        budget = images.PixelBudget(2**20)
        whole = save(noise(1100, 1000, 3), "PNG")
        for data in (whole[:-500], b"no image", whole[: len(whole) // 2]):
            with pytest.raises(ImageError), images.opened(data, budget=budget):
                pass
        with pytest.raises(KeyError), images.opened(whole, budget=budget):
            raise KeyError
        with pytest.raises(UnreadableFileError), images.opened(tmp_path / "gone", budget=budget):
            pass
        with budget.taken(2**20 + 1):
            pass


MANY_THREADS = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
from hematovision import images

def use(path):
    with images.opened(path, budget=budget) as pixels:
        return int(pixels[0, 0, 0])

budget, paths = images.PixelBudget(), sys.argv[1:]
use(paths[0])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with ThreadPoolExecutor(8) as pool:
    list(pool.map(use, paths))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the memory allocator is that of glibc")
def test_threads_leave_no_memory_of_large_images_behind(tmp_path):
    path = tmp_path / "large.jpg"
    Image.new("RGB", (6000, 5000), (230, 220, 225)).save(path)
    output = subprocess.check_output([sys.executable, "-c", MANY_THREADS, *[str(path)] * 8])
    assert int(output) < 400  # in MB; one image needs 210
