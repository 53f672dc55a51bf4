"""Incomplete, oversized and unsupported files are rejected with the right error and reason."""

import os
import pickle
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from hematovision import images
from hematovision.errors import (
    EmptyImageError,
    ImageError,
    NotAnImageError,
    TooManyBytesError,
    TooManyPixelsError,
    TruncatedImageError,
    UnreadableFileError,
)
from image_files import all_kinds, bmp, chunk, jpeg, noise, png, save, scene, tiff, with_chunk

KINDS = all_kinds()
POSIX = pytest.mark.skipif(os.name == "nt", reason="needs POSIX files")


def rejected(error, source, match=None, **options):
    with pytest.raises(error, match=match) as caught:
        images.read(source, **options)
    return caught.value


class TestFiles:
    def test_missing(self, tmp_path):
        error = rejected(UnreadableFileError, tmp_path / "a.png", "the file does not exist")
        assert error.path == str(tmp_path / "a.png")

    def test_folder(self, tmp_path):
        rejected(UnreadableFileError, tmp_path, "it is a folder")

    def test_broken_link(self, tmp_path):
        link = tmp_path / "link.png"
        try:
            link.symlink_to(tmp_path / "gone.png")
        except OSError:
            pytest.skip("this system lets nobody make links")
        rejected(UnreadableFileError, link, "broken link: .*gone.png does not exist")

    def test_circular_links(self, tmp_path):
        link = tmp_path / "link.png"
        try:
            link.symlink_to(link)
        except OSError:
            pytest.skip("this system lets nobody make links")
        rejected(UnreadableFileError, link, "cannot be read")

    @POSIX
    def test_no_permission(self, tmp_path, monkeypatch):
        path = tmp_path / "secret.png"
        path.write_bytes(KINDS["rgb.png"])
        path.chmod(0)
        if os.access(path, os.R_OK):  # an administrator may read everything
            monkeypatch.setattr("pathlib.Path.open", _denied)
        rejected(UnreadableFileError, path, "Permission denied. Check its path and permissions")

    @POSIX
    def test_a_pipe_does_not_hang(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.png")
        rejected(UnreadableFileError, tmp_path / "pipe.png", "device, pipe or socket")

    @POSIX
    def test_an_endless_device_does_not_hang(self):
        rejected(UnreadableFileError, "/dev/zero", "device, pipe or socket")

    def test_an_invalid_file_name(self):
        rejected(UnreadableFileError, "a\0b.png", "cannot be read")

    @pytest.mark.parametrize("name", ["empty.jpg", "empty.png"])
    def test_empty(self, tmp_path, name):
        (tmp_path / name).touch()
        rejected(EmptyImageError, tmp_path / name, "empty \\(0 bytes\\)")

    def test_errors_of_bytes_use_the_given_name(self):
        assert str(rejected(EmptyImageError, b"", name="upload.png")).startswith("upload.png: ")
        assert rejected(EmptyImageError, b"").path == "<bytes>"

    def test_errors_travel_between_processes(self):
        error = pickle.loads(pickle.dumps(rejected(NotAnImageError, b"hello", name="a.jpg")))
        assert (error.path, type(error)) == ("a.jpg", NotAnImageError)


def _denied(*_, **__):
    raise PermissionError(13, "Permission denied")


class TestContent:
    @pytest.mark.parametrize(
        "content",
        [b"These are no pixels.", b"\0" * 100, b"RIFF\x04\0\0\0WAVE", b"PK\3\4", b"\xff\xd8"],
    )
    @pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
    def test_other_content_is_rejected_under_any_name(self, tmp_path, content, suffix):
        path = tmp_path / f"cell{suffix}"
        path.write_bytes(content)
        rejected(NotAnImageError, path, "Expected a JPEG, PNG, TIFF, BMP, WebP, GIF")

    @pytest.mark.parametrize("kind", ["PPM", "ICO", "TGA", "PCX"])
    def test_other_formats_that_pillow_reads_are_rejected(self, kind):
        rejected(NotAnImageError, save(scene(), kind), "Expected a JPEG, PNG|cannot read")

    @pytest.mark.parametrize("dtype", [np.float32, np.int32, np.uint32, np.int16, np.int8])
    def test_samples_without_a_range_are_rejected_rather_than_clipped(self, dtype):
        data = tiff(np.array([[0, 1, 100]], dtype))
        rejected(NotAnImageError, data, "black and white levels are undefined.*Set the range")

    @pytest.mark.parametrize(
        "data",
        [
            save(Image.fromarray(scene()).convert("LAB"), "TIFF"),
            tiff(noise(4, 4, 4, dtype=np.uint16), photometric="separated"),
            tiff(noise(4, 4, 2, dtype=np.uint16), extrasamples=["unassalpha"]),
        ],
    )
    def test_uncommon_tiffs(self, data):
        rejected(NotAnImageError, data, "expected baseline|uncommon kind|cannot be decoded")

    def test_uncommon_jpegs(self):
        frame = jpeg().index(b"\xff\xc0")
        for place, value in ((1, 0xC3), (4, 12), (9, 2)):
            data = bytearray(jpeg())
            data[frame + place] = value
            rejected(NotAnImageError, bytes(data), "expected baseline")

    @pytest.mark.parametrize(
        ("bits", "compression", "header"), [(8, 1, 40), (4, 2, 40), (24, 4, 40), (2, 0, 40)]
    )
    def test_uncommon_bmps(self, bits, compression, header):
        data = bmp([bytes(400)], 4, 4, bits, compression=compression, header=header)
        rejected(NotAnImageError, data, f"{bits} bits per pixel with compression {compression}")

    def test_text_that_begins_like_a_bmp(self):
        rejected(NotAnImageError, b"BMW is a maker of cars and motorcycles.", "has a header of")

    def test_bmp_with_invalid_colour_masks(self):
        data = bmp([bytes(8)], 2, 1, 32, compression=3, masks=bytes(range(12)))
        rejected(ImageError, data, "bitfields")

    def test_png_with_an_unknown_critical_chunk(self):
        rejected(NotAnImageError, with_chunk(KINDS["rgb.png"], b"ABCD", b""), "unknown chunk")


class TestLimits:
    def test_60000_by_60000_pixels_in_a_few_kb_are_rejected_before_decoding(self):
        rows = zlib.compress(bytes(1_000_000))
        header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
        start = png(1, 1, 8, 2, [b"\0\0\0"])[:8]
        chunks = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
        error = rejected(
            TooManyPixelsError, start + chunks, "declares 60000 x 60000 = 3,600,000,000"
        )
        assert "the limit is 67,108,864" in error.reason
        assert "a TIFF in tiles, which `hematovision analyze` reads by region" in error.reason

    @pytest.mark.parametrize("name", KINDS)
    def test_the_pixel_limit_applies_to_every_kind(self, name):
        assert images.read(KINDS[name], max_pixels=24 * 32).size == 24 * 32 * 3
        rejected(TooManyPixelsError, KINDS[name], "the limit is 767", max_pixels=24 * 32 - 1)

    @pytest.mark.parametrize("max_pixels", [2**26, 2**40])
    def test_large_webp_and_gif_and_tiff_neither_warn_nor_allocate(self, max_pixels):
        large = struct.pack("<HH", 65535, 65535)
        gif = KINDS["palette.gif"]
        webp = bytearray(KINDS["animated.webp"])
        webp[24:30] = b"\xff\x3f\0\xff\x3f\0"
        sizes = [(256, 4, 1, 60_000), (257, 4, 1, 60_000)]
        many = tiff(scene(), photometric="rgb", rowsperstrip=1)
        for data in (gif[:6] + large + gif[10:], bytes(webp), _with_tags(many, sizes)):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                rejected(ImageError, data, "the limit is|its size needs", max_pixels=max_pixels)

    def test_bytes_beyond_the_limit_are_not_read(self, tmp_path, monkeypatch):
        path = tmp_path / "large.png"
        path.write_bytes(bytes(1001))
        monkeypatch.setattr("pathlib.Path.open", _denied)
        rejected(TooManyBytesError, path, "has 1,001 bytes; the limit is 1,000", max_bytes=1000)

    def test_bytes_in_memory_have_the_same_limit(self):
        rejected(TooManyBytesError, bytes(1001), "1,001 bytes", max_bytes=1000)

    def test_a_file_that_grows_while_it_is_checked(self, tmp_path, monkeypatch):
        path = tmp_path / "growing.png"
        path.write_bytes(bytes(1000))
        before = path.stat()
        path.write_bytes(bytes(2000))
        monkeypatch.setattr("pathlib.Path.stat", lambda *_, **__: before)
        rejected(TooManyBytesError, path, "the limit is 1,000", max_bytes=1000)

    def test_running_out_of_memory_is_an_image_error(self, monkeypatch):
        def no_memory(*_, **__):
            raise MemoryError

        monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", no_memory)
        rejected(TooManyPixelsError, KINDS["rgb.png"], "does not fit in this computer's")

    def test_thousands_of_empty_scans_are_not_decoded(self):
        data = jpeg(progressive=True)
        scan = data.rindex(b"\xff\xda")
        rejected(TruncatedImageError, data[:scan] + data[scan:-2] * 300, "more than 100 scans")


def _with_tags(data, entries):
    """Rewrite entries of a little-endian TIFF's first directory."""
    data = bytearray(data)
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    wanted = {entry[0]: entry for entry in entries}
    for position in range(start + 2, start + 2 + 12 * count, 12):
        (tag,) = struct.unpack_from("<H", data, position)
        if tag in wanted:
            struct.pack_into("<HHII", data, position, *wanted[tag])
    return bytes(data)


class TestDamage:
    @pytest.mark.parametrize("name", KINDS)
    def test_every_kind_cut_anywhere(self, name):
        data = KINDS[name]
        end = len(data) - (4 if name == "pages.tif" else 0)  # behind its last page is only padding
        places = {1, 2, 8, 20, len(data) // 2, *range(end - 24, end)}
        for length in sorted(places | set(range(1, len(data), 37))):
            with pytest.raises((NotAnImageError, TruncatedImageError)):
                images.read(data[:length])

    @pytest.mark.parametrize("name", ["rgb.jpg", "progressive.jpg", "cmyk.jpg", "turned.jpg"])
    def test_jpeg_that_lacks_only_its_end_marker(self, name):
        for missing in (1, 2):
            rejected(TruncatedImageError, KINDS[name][:-missing], "end-of-image marker is missing")

    def test_png_without_iend(self):
        rejected(TruncatedImageError, KINDS["rgb.png"][:-12], "the file ends early")

    @pytest.mark.parametrize("place", [16, 24, 50, -20, -6, -1])
    def test_png_with_one_bit_flipped(self, place):
        data = bytearray(with_chunk(KINDS["rgb.png"], b"tEXt", b"note\0some words"))
        data[place] ^= 0x10
        rejected(TruncatedImageError, bytes(data), "fails its checksum")

    def test_png_with_valid_checksums_whose_pixels_end_early(self):
        data = png(8, 8, 8, 2, [bytes(24)] * 7)
        rejected(TruncatedImageError, data, "has 175 bytes of pixels; its size needs 200")

    @pytest.mark.parametrize(
        ("data", "match"),
        [
            (b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b""), "header is missing"),
            (png(1, 1, 8, 0, [b"\0"], chunk(b"IHDR", bytes(13))), "header is missing"),
            (png(1, 1, 3, 0, [b"\0"]), "declares 3 bits of colour type 0"),
            (png(1, 1, 8, 0, [b"\0"])[:33] + chunk(b"IEND", b""), "contains no image"),
            (png(0, 1, 8, 0, [b"\0"]), "declares 0 x 1 pixels"),
            (b"\xff\xd8\xff\xd9", "contains no image"),
            (jpeg()[:2] + b"\xff\xe0\0\1" + jpeg()[2:], "a segment of 1 bytes"),
            (KINDS["palette.gif"][:13], "ends early"),
            (b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0) + b";", "contains no image"),
            (b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0) + b"?;", "unknown block"),
            (b"RIFF\x0c\0\0\0WEBPVP8?\0\0\0\0", "first chunk contains no image"),
            (bmp([bytes(4)], 1, 0, 24), "header is inconsistent"),
            (bmp([bytes(4)], 1, 2, 24), "ends early"),
            (bmp([bytes(4)], 1, 1, 24, file_size=100), "ends early"),
            (b"II*\0\0\0\0\0", "no page"),
        ],
    )
    def test_inconsistent_containers(self, data, match):
        rejected(TruncatedImageError, data, match)

    def test_png_with_valid_checksums_whose_pixels_are_not_compressed(self):
        data = png(1, 1, 8, 0, [b"\0"])
        chunks = data[:33] + chunk(b"IDAT", b"no stream") + chunk(b"IEND", b"")
        rejected(TruncatedImageError, chunks, "cannot be inflated")

    def test_a_decoder_that_finds_another_size_than_was_declared(self, monkeypatch):
        monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.size", (9, 9))
        rejected(TruncatedImageError, KINDS["rgb.png"], "declared 32 x 24")

    def test_jpeg_with_two_frames(self):
        data = jpeg()
        frame = data.index(b"\xff\xc0")
        rejected(
            TruncatedImageError, data[:frame] + data[frame : frame + 19] + data[frame:], "repeated"
        )

    def test_gif_frame_outside_of_any_screen(self):
        data = bytearray(save(Image.new("P", (4, 3)), "GIF"))
        frame = data.rindex(b",\0\0\0\0")
        data[frame + 1 : frame + 3] = b"\xff\xff"
        rejected(TruncatedImageError, bytes(data), "outside its screen")

    @pytest.mark.parametrize(
        ("entry", "match"),
        [
            ((256, 4, 1, 0), "declares 0 x 24 pixels"),
            ((256, 3, 0, 0), "must contain integers"),
            ((258, 3, 0, 0), "must contain integers"),
            ((256, 3, 2, 65), "has 2 values, not one"),
            ((256, 2, 1, 65), "must contain integers"),
            ((257, 4, 1, 999), "its size needs"),
            ((279, 4, 2, 8), "1 strip or tile offsets, but 2 lengths"),
            ((273, 4, 1, 99_999), "ends early"),
            ((279, 4, 1, 100), "its size needs"),
        ],
    )
    def test_tiff_whose_tags_contradict_its_content(self, entry, match):
        data = tiff(scene(), photometric="rgb", software=False, metadata=None)
        rejected(TruncatedImageError, _with_tags(data, [entry]), match)

    def test_tiff_with_a_field_twice(self):
        data = _with_tags(tiff(scene(), photometric="rgb"), [(258, 3, 1, 8)])
        (start,) = struct.unpack_from("<I", data, 4)
        twice = data[: start + 14] + data[start + 2 : start + 14] + data[start + 26 :]
        rejected(TruncatedImageError, twice, "has the field 256 twice")

    def test_tiff_with_a_circular_chain_of_pages(self):
        data = bytearray(tiff(scene(), photometric="rgb"))
        (start,) = struct.unpack_from("<I", data, 4)
        (count,) = struct.unpack_from("<H", data, start)
        struct.pack_into("<I", data, start + 2 + 12 * count, start)
        rejected(TruncatedImageError, bytes(data), "chain of pages is circular")

    def test_global_settings_of_pillow_do_not_allow_truncated_images(self, monkeypatch):
        monkeypatch.setattr("PIL.ImageFile.LOAD_TRUNCATED_IMAGES", True)
        for name in ("rgb.jpg", "rgb.png", "rgb.tif", "rgb.bmp", "palette.gif"):
            rejected(TruncatedImageError, KINDS[name][:-4])


def test_real_jpegs_cut_anywhere_are_rejected(real_data):
    path = sorted((real_data / "bccd" / "JPEGImages").glob("*.jpg"))[0]
    data = path.read_bytes()
    for share in (0.01, 0.1, 0.5, 0.9, 0.99):
        rejected(TruncatedImageError, data[: int(share * len(data))], "Copy the file again")
    rejected(TruncatedImageError, data[:-2], "end-of-image marker")
