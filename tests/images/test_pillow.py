"""A Pillow image becomes the pixels that `images.read` gives for its file."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from hematovision import images
from hematovision.errors import (
    NotAnImageError,
    TooManyPixelsError,
    TruncatedImageError,
    UnreadableFileError,
)
from image_files import all_kinds, cv2_png, jpeg, noise, save, scene

# Pillow keeps only the high byte of deep colours, so it cannot round them as `read` does.
KINDS = {name: data for name, data in all_kinds().items() if name not in ("deep.png", "deep.tif")}


@pytest.mark.parametrize("name", KINDS)
def test_an_opened_file_is_read_like_the_file(name: str):
    with Image.open(io.BytesIO(KINDS[name])) as image:
        found = images.from_pillow(image)
    assert (found.dtype, found.flags.c_contiguous) == (np.uint8, True)
    np.testing.assert_array_equal(found, images.read(KINDS[name]))


@pytest.mark.parametrize("mode", ["RGB", "RGBX", "CMYK", "YCbCr", "HSV"])
def test_colour_modes_become_rgb(mode: str):
    image = Image.fromarray(scene()).convert(mode)
    found = images.from_pillow(image).astype(int)
    assert np.abs(found - scene()).max() <= 4, "rounding of the colour space only"


def test_grey_is_repeated_and_one_bit_is_black_and_white():
    grey = noise(24, 32)
    np.testing.assert_array_equal(
        images.from_pillow(Image.fromarray(grey)), np.repeat(grey[..., None], 3, axis=2)
    )
    bits = images.from_pillow(Image.fromarray(grey).convert("1"))
    assert set(np.unique(bits)) == {0, 255}


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "RGBa", "La"])
def test_transparent_pixels_are_white(mode: str):
    image = Image.fromarray(np.dstack([scene(), np.zeros((24, 32), np.uint8)]))
    if mode == "PA":
        image = Image.fromarray(scene()).quantize(16).convert("PA")
        image.putalpha(0)
    elif mode == "La":
        image = image.convert("LA")
    assert (images.from_pillow(image.convert(mode)) == 255).all()


def test_sixteen_bit_greys_are_scaled_by_their_range():
    deep = noise(24, 32, dtype=np.uint16)
    found = images.from_pillow(Image.fromarray(deep))
    np.testing.assert_array_equal(found[..., 1], np.floor(deep / 65535 * 255 + 0.5))
    with Image.open(io.BytesIO(cv2_png(deep))) as image:
        np.testing.assert_array_equal(found, images.from_pillow(image))


def test_twelve_bit_greys_without_a_range_are_rejected():
    dark = Image.fromarray(np.array([[0, 4095]], np.uint16))
    with pytest.raises(NotAnImageError, match="none is above 4,095"):
        images.from_pillow(dark, name="dark")


def _closed(*, loaded: bool, explicitly: bool) -> Image.Image:
    with Image.open(io.BytesIO(save(scene(), "PNG"))) as image:
        if loaded:
            image.load()
    if explicitly:
        image.close()
    return image


@pytest.mark.parametrize(("loaded", "explicitly"), [(False, False), (False, True), (True, True)])
def test_a_closed_image_is_called_closed(*, loaded: bool, explicitly: bool):
    closed = _closed(loaded=loaded, explicitly=explicitly)
    with pytest.raises(UnreadableFileError, match=r"c1: the Pillow image is closed\. Pass it"):
        images.from_pillow(closed, name="c1")


def test_an_image_that_was_decoded_before_its_block_ended_is_used():
    found = images.from_pillow(_closed(loaded=True, explicitly=False))
    np.testing.assert_array_equal(found, scene())


@pytest.mark.parametrize("mode", ["I", "F", "LAB"])
def test_modes_without_a_white_are_rejected(mode: str):
    with pytest.raises(NotAnImageError, match=f"c1: it is a Pillow image of mode '{mode}'"):
        images.from_pillow(Image.new(mode, (9, 9)), name="c1")


def test_exif_turns_an_image_once():
    turned = save(scene(), "JPEG", quality=95, exif=_exif(6))
    with Image.open(io.BytesIO(turned)) as image:
        found = images.from_pillow(image)
        again = images.from_pillow(ImageOps.exif_transpose(image))
    assert found.shape == (32, 24, 3)
    np.testing.assert_array_equal(found, images.read(turned))
    np.testing.assert_array_equal(found, again)
    with Image.open(io.BytesIO(save(scene(), "PNG", exif=_exif(99)))) as image:
        assert images.from_pillow(image).shape == (24, 32, 3), "an invalid value is ignored"


def test_limits_are_checked_before_decoding():
    with Image.open(io.BytesIO(jpeg())) as image:
        with pytest.raises(TooManyPixelsError, match=r"24 = 768 pixels; the limit is 767"):
            images.from_pillow(image, max_pixels=767)
        assert getattr(image, "fp", None) is not None, "not decoded"


def test_a_truncated_file_is_an_error_with_the_name():
    with (
        Image.open(io.BytesIO(jpeg(noise(64, 64, 3))[:2000])) as image,
        pytest.raises(TruncatedImageError, match="half"),
    ):
        images.from_pillow(image, name="half")


def _exif(orientation: int) -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = orientation
    return found
