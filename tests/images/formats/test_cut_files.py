"""Cut files are detected even if they end with a valid end marker."""

import struct
from itertools import product

import cv2
import numpy as np
import pytest
from PIL import Image

from hematovision import images
from hematovision.errors import TruncatedImageError
from image_files import EOI, jpeg, noise, save

MODES = ("L", "RGB", "CMYK")
WAYS = {"baseline": {}, "restarts": {"restart_marker_rows": 1}, "progressive": {"progressive": 1}}


def photo(height=96, width=112):
    """An image between a flat scene and noise, so that no block is empty."""
    return cv2.GaussianBlur(noise(height, width, 3), (0, 0), 1.2)


def cut(data, share):
    """Cut a JPEG and append the end marker; an odd 0xFF would begin another marker."""
    return data[: int(len(data) * share)].rstrip(b"\xff") + EOI


def packed(mode, subsampling, options, image=None):
    options = options if mode == "CMYK" else {**options, "subsampling": subsampling}
    pillow_image = Image.fromarray(photo() if image is None else image).convert(mode)
    return save(pillow_image, "JPEG", quality=90, **options)


@pytest.mark.parametrize("share", [0.5, 0.7, 0.9, 0.97])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("mode", "subsampling"), list(product(MODES, (0, 1, 2))))
def test_a_cut_jpeg_with_an_end_marker_is_rejected(mode, subsampling, way, share):
    whole = packed(mode, subsampling, WAYS[way])
    assert images.read(whole).shape == (96, 112, 3)
    with pytest.raises(TruncatedImageError, match=r"ends? early"):
        images.read(cut(whole, share))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("mode", "subsampling"), list(product(MODES, (0, 1, 2))))
@pytest.mark.parametrize("grey", [0, 127, 128, 255])
def test_a_whole_jpeg_with_a_flat_end_is_read(mode, subsampling, way, grey):
    for height, width in ((1, 1), (8, 8), (17, 33), (96, 112)):
        image = np.full((height, width, 3), grey, np.uint8)
        image[: height // 2] = 200
        data = packed(mode, subsampling, WAYS[way], image)
        assert abs(images.read(data)[-1, -1].astype(int) - grey).max() <= 1


def test_a_progressive_jpeg_without_its_last_scans_is_incomplete():
    data = save(photo(), "JPEG", progressive=True)
    scans = [i for i in range(len(data)) if data.startswith(b"\xff\xda", i)]
    for last in scans[1:]:
        with pytest.raises(TruncatedImageError, match=r"the JPEG ends early: its .* scans"):
            images.read(data[:last] + EOI)


def test_a_jpeg_of_one_scan_for_each_colour_needs_them_all():
    # Non-interleaved: one baseline JPEG with three scans, assembled from three grey JPEGs.
    planes = [save(photo()[..., i], "JPEG", quality=90) for i in range(3)]
    frame = planes[0].index(b"\xff\xc0")
    head = planes[0][:frame] + b"\xff\xc0\0\x11" + planes[0][frame + 4 : frame + 9] + b"\x03"
    head += b"".join(bytes((i, 0x11, 0)) for i in (1, 2, 3))
    tables = planes[0][frame + 13 : planes[0].index(b"\xff\xda")]
    scans = [p[p.index(b"\xff\xda") + 10 : -2] for p in planes]
    parts = [b"\xff\xda\0\x08\x01" + bytes((i, 0, 0, 63, 0)) + s for i, s in enumerate(scans, 1)]
    assert images.read(head + tables + b"".join(parts) + EOI).shape == (96, 112, 3)
    for incomplete in (parts[:2], [*parts[:2], parts[2][: len(parts[2]) // 2].rstrip(b"\xff")]):
        with pytest.raises(TruncatedImageError):
            images.read(head + tables + b"".join(incomplete) + EOI)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_large_image_in_a_few_bytes_is_rejected(progressive):
    data = jpeg(progressive=progressive)
    frame = data.index(b"\xff\xc2" if progressive else b"\xff\xc0")
    large = data[: frame + 5] + struct.pack(">HH", 8000, 8000) + data[frame + 9 :]
    with pytest.raises(TruncatedImageError, match="are too short for its 8000 x 8000 pixels"):
        images.read(large)


def test_a_large_flat_jpeg_is_read():
    assert images.read(jpeg(np.zeros((2000, 3000, 3), np.uint8), optimize=True)).shape[1] == 3000


@pytest.mark.parametrize("share", [0.5, 0.7, 0.9])
def test_a_cut_gif_with_a_trailer_is_rejected(share):
    data = save(Image.fromarray(photo()).quantize(64), "GIF")
    image = data.index(b"\x2c", 13 + 3 * 64) + 11
    kept = [data[i : i + 256] for i in range(image, len(data) - 256, 256)]
    kept = kept[: int(len(kept) * share)]
    with pytest.raises(TruncatedImageError):
        images.read(data[:image] + b"".join(kept) + b"\0;")


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("share", [0.5, 0.7, 0.9])
def test_a_cut_webp_with_a_matching_length_is_rejected(lossless, share):
    data = save(photo(), "WEBP", lossless=lossless)
    size = int((len(data) - 20) * share) // 2 * 2
    short = b"RIFF" + struct.pack("<I", size + 12) + data[8:16] + struct.pack("<I", size)
    with pytest.raises(TruncatedImageError):
        images.read(short + data[20 : 20 + size])


def test_real_jpegs_are_complete_until_truncated(real_data):
    paths = sorted((real_data / "bccd").rglob("*.jpg"))[::40]
    assert paths
    for path in paths:
        data = path.read_bytes()
        assert images.read(data).ndim == 3
        with pytest.raises(TruncatedImageError):
            images.read(cut(data, 0.7))
