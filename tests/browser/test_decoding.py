"""Images are decoded in the browser to the pixels of `images.read`."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms
from playwright.sync_api import Page

from browser_demo import call
from hematovision import images
from hematovision.synthetic import render_field


def decoded(page: Page, content: bytes) -> NDArray[np.uint8]:
    found = call(page, "decoding", "await m.decoded(new Blob([v[0]]))", content)
    return np.frombuffer(found["data"], np.uint8).reshape(found["height"], found["width"], 3)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture(scope="module")
def field() -> Image.Image:
    return Image.fromarray(render_field(3, size=(97, 130), lab="synthetic-c").image)


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def profile() -> bytes:
    """A colour profile with other primaries, which a browser would apply to an image."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("PNG", "RGB", {}),
        ("PNG", "L", {}),
        ("PNG", "P", {}),
        ("BMP", "RGB", {}),
        ("GIF", "RGB", {}),
        ("WEBP", "RGB", {"lossless": True}),
        ("JPEG", "RGB", {"quality": 90, "subsampling": 0}),
        ("JPEG", "RGB", {"quality": 90, "subsampling": 2}),
        ("JPEG", "RGB", {"quality": 75, "progressive": True}),
        ("JPEG", "L", {"quality": 90}),
        ("JPEG", "RGB", {"quality": 90, "exif": turned()}),
        ("PNG", "RGB", {"exif": turned()}),
        ("PNG", "RGB", {"icc_profile": profile()}),
    ],
)
def test_pixels_are_those_of_the_program(
    analysis: Page, field: Image.Image, kind: str, mode: str, options: dict[str, object]
):
    content = encoded(field.convert(mode), kind, **options)
    expected = images.read(content)
    found = decoded(analysis, content)
    assert found.shape == expected.shape
    assert int(np.abs(found.astype(int) - expected).max()) == 0


def test_transparent_pixels_lie_on_white_within_two_grey_levels(analysis: Page, field: Image.Image):
    image = field.convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    content = encoded(image, "PNG")
    found = decoded(analysis, content).astype(int)
    assert np.abs(found - images.read(content)).max() <= 2


def test_sixteen_bits_become_eight_within_one_grey_level(analysis: Page):
    ramp = np.arange(0, 65536, 7, dtype=np.uint16)[:9216].reshape(96, 96)
    content = encoded(Image.fromarray(ramp), "PNG")
    found = decoded(analysis, content).astype(int)
    assert np.abs(found - images.read(content)).max() <= 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "The file is empty"),
        (b"no image", "This is not an image that the browser can read"),
        (encoded(Image.new("1", (5100, 5000)), "PNG"), "The image has 5100 x 5000 pixels"),
        (encoded(Image.new("1", (3000, 20)), "PNG"), "one side may be at most 100 times the other"),
    ],
)
def test_other_files_are_rejected_with_what_to_do(analysis: Page, content: bytes, message: str):
    text = call(
        analysis, "decoding", "await m.decoded(new Blob([v[0]])).catch((e) => e.message)", content
    )
    assert message in text
