"""Images are embedded as they are, or as JPEG."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from hematovision.reporting.embedding import data_uri


def decoded(address):
    head, _, content = address.partition(";base64,")
    return head, Image.open(io.BytesIO(base64.b64decode(content)))


def test_pixels_become_a_jpeg_of_the_same_colours():
    image = np.zeros((224, 224, 3), np.uint8)
    image[:] = (200, 60, 90)
    head, encoded = decoded(data_uri(image))
    assert head == "data:image/jpeg"
    assert np.abs(np.asarray(encoded, int)[100, 100] - (200, 60, 90)).max() <= 3


def test_large_pixels_are_reduced_and_keep_their_shape():
    _, reduced = decoded(data_uri(np.zeros((896, 448, 3), np.uint8)))
    assert reduced.size == (112, 224)


@pytest.mark.parametrize(("kind", "name"), [("PNG", "image/png"), ("JPEG", "image/jpeg")])
def test_encoded_images_are_embedded_unchanged(kind, name):
    buffer = io.BytesIO()
    Image.new("RGB", (5, 4)).save(buffer, kind)
    head, image = decoded(data_uri(buffer.getvalue()))
    assert head == f"data:{name}"
    assert image.size == (5, 4)


@pytest.mark.parametrize(
    "image",
    [b"<svg onload='alert(1)'>", np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)],
)
def test_other_images_are_rejected(image):
    with pytest.raises(ValueError, match="Received"):
        data_uri(image)
