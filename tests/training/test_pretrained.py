"""Weights are found in every kind of Keras file by their layers' names, or refused."""

from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from hematovision.errors import WeightsError
from hematovision.model.head import Head
from hematovision.model.weights import BackboneWeights, bundled_weights
from hematovision.training.keras_files import keras_bytes
from hematovision.training.keras_model import backbone_model
from hematovision.training.pretrained import load_weights, read_weights_file


@pytest.fixture(scope="module")
def weights(weights: BackboneWeights) -> BackboneWeights:
    """As others have them: to see images as they are."""
    return BackboneWeights(weights.arrays)


@pytest.fixture(scope="module")
def head() -> Head:
    return Head(((np.zeros((1280, 2)), np.zeros(2)),))


@pytest.mark.parametrize("kind", ["h5", "keras"])
@pytest.mark.parametrize("side", [96, 224])
def test_the_backbone_is_found_inside_a_whole_model(kind, side, weights, head, tmp_path: Path):
    path = tmp_path / f"model.{kind}"
    own = BackboneWeights(weights.arrays, side)
    path.write_bytes(keras_bytes(own, head, kind)[kind])
    found = load_weights(str(path))
    assert found.side == side
    assert found.sha256 == own.sha256


def test_weights_only_files_of_keras_3_are_read_by_place(weights, tmp_path: Path):
    backbone_model(weights).save_weights(tmp_path / "only.weights.h5")
    assert read_weights_file(tmp_path / "only.weights.h5").sha256 == weights.sha256


def test_files_of_keras_2_are_read_by_name(weights: BackboneWeights, tmp_path: Path):
    with h5py.File(tmp_path / "old.h5", "w") as file:
        for name, array in weights.arrays.items():
            layer, _, part = name.partition("/")
            part = f"depthwise_{part}" if layer.endswith("depthwise") else part
            file[f"{layer}/{layer}/{part}:0"] = array
    assert read_weights_file(tmp_path / "old.h5").sha256 == weights.sha256


def test_this_projects_own_files_are_read(weights: BackboneWeights, tmp_path: Path):
    weights.save(tmp_path / "own.weights")
    assert load_weights(str(tmp_path / "own.weights")).sha256 == weights.sha256


def test_the_shipped_weights_have_a_name():
    assert load_weights("hematology") is bundled_weights()


def test_another_network_is_refused(tmp_path: Path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    for name in ("other.h5", "other.keras", "other.weights.h5"):
        path = tmp_path / name
        model.save_weights(path) if name.endswith("weights.h5") else model.save(path)
        with pytest.raises(WeightsError, match="MobileNetV2"):
            read_weights_file(path)


def test_a_narrower_mobilenet_is_refused(tmp_path: Path):
    narrow = keras.applications.MobileNetV2(
        include_top=False, weights=None, input_shape=(96, 96, 3), alpha=0.35
    )
    narrow.save(tmp_path / "narrow.keras")
    with pytest.raises(WeightsError, match=r"width 1\.0"):
        read_weights_file(tmp_path / "narrow.keras")


@pytest.mark.parametrize("name", ["text.h5", "text.keras"])
def test_a_file_that_is_not_keras_is_refused_by_name(name: str, tmp_path: Path):
    (tmp_path / name).write_text("no weights")
    with pytest.raises(WeightsError, match=name):
        read_weights_file(tmp_path / name)


def test_a_missing_file_lists_the_other_weights():
    with pytest.raises(WeightsError, match="'hematology', nor 'imagenet' nor a file"):
        load_weights("no/such.h5")


@pytest.mark.parametrize("home", [None, "elsewhere"])
def test_without_imagenet_cause_and_folder_are_named_in_one_line(monkeypatch, tmp_path, home):
    def offline(*args: object, **kwargs: object) -> None:
        raise RuntimeError("URL fetch failure:\nno route to host")

    monkeypatch.setattr(keras.applications, "MobileNetV2", offline)
    monkeypatch.delenv("KERAS_HOME", raising=False)
    if home:
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / home))
    expected = tmp_path / home if home else Path.home() / ".keras"
    with pytest.raises(WeightsError) as caught:
        load_weights("imagenet")
    message = str(caught.value)
    assert "\n" not in message
    assert "(URL fetch failure: no route to host)" in message
    assert "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5" in message
    assert str(expected / "models") in message


def test_downloaded_imagenet_weights_are_used(monkeypatch, weights: BackboneWeights):
    asked = {}
    made = backbone_model(weights)
    monkeypatch.setattr(keras.applications, "MobileNetV2", lambda **how: asked.update(how) or made)
    assert load_weights("imagenet").sha256 == weights.sha256
    assert asked == {"include_top": False, "weights": "imagenet", "input_shape": (224, 224, 3)}
