"""Features depend only on the image and the weights."""

import sys

import numpy as np
import pytest

from hematovision.errors import MissingExtraError, ModelError
from hematovision.model.backbone import Backbone


@pytest.fixture(scope="module")
def backbone(weights):
    return Backbone(weights, workers=2)


def test_an_images_features_do_not_depend_on_what_shares_its_batch(backbone, cells):
    together = backbone.features(cells)
    assert together.shape == (9, 1280)
    assert together.dtype == np.float32
    alone = np.concatenate([backbone.features(image[None]) for image in cells])
    np.testing.assert_array_equal(alone, together)
    np.testing.assert_array_equal(backbone.features(cells[::-1])[::-1], together)
    pairs = [backbone.features(cells[i : i + 2]) for i in range(0, 9, 2)]
    np.testing.assert_array_equal(np.concatenate(pairs), together)


def test_features_do_not_depend_on_workers_or_memory_layout(backbone, weights, cells):
    together = backbone.features(cells[:4])
    np.testing.assert_array_equal(Backbone(weights, workers=1).features(cells[:4]), together)
    np.testing.assert_array_equal(backbone.features(np.asfortranarray(cells[:4])), together)


def test_feature_maps_average_to_features(backbone, cells):
    maps = backbone.feature_maps(cells[:2])
    assert maps.shape == (2, 7, 7, 1280)
    np.testing.assert_allclose(maps.mean(axis=(1, 2)), backbone.features(cells[:2]), atol=1e-5)


def test_no_images_have_no_features(backbone, cells):
    assert backbone.features(cells[:0]).shape == (0, 1280)


def test_its_hash_depends_on_the_preprocessing(weights):
    backbone = Backbone(weights)
    assert backbone.sha256 == Backbone(weights).sha256
    assert backbone.sha256 != Backbone(weights, white_balance=False).sha256


def test_it_uses_all_processors_by_default(weights):
    assert Backbone(weights).workers >= 1


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 224, 224, 3), np.float32),
        np.zeros((224, 224, 3), np.uint8),
        np.zeros((1, 3, 224, 224), np.uint8),
        np.zeros((1, 160, 160, 3), np.uint8),
    ],
)
def test_arrays_of_other_shapes_or_types_are_refused(backbone, images):
    with pytest.raises(ModelError, match=r"\(N, 224, 224, 3\).*Received"):
        backbone.features(images)


def test_without_onnx_the_error_names_what_to_install(weights, monkeypatch):
    monkeypatch.delitem(sys.modules, "hematovision.model.graph", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match="Reading an ONNX model needs the module 'onnx'"):
        Backbone(weights)
