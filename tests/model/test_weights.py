"""A weights file contains numbers in a fixed order; anything else is rejected."""

import hashlib

import numpy as np
import pytest

from hematovision.errors import WeightsError
from hematovision.model import weights as module
from hematovision.model.architecture import weight_specs
from hematovision.model.weights import (
    WEIGHTS_BYTES,
    BackboneWeights,
    bundled_weights,
    bundled_weights_path,
    layout,
)


def changed(weights, name, array):
    return {**weights.arrays, name: array}


def test_what_is_saved_is_loaded_bit_by_bit(weights, tmp_path):
    path = weights.save(tmp_path / "some.weights")
    loaded = BackboneWeights.load(path, sha256=weights.sha256)
    assert loaded.sha256 == weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    for spec in weight_specs():
        assert loaded.arrays[spec.name].shape == spec.shape
        np.testing.assert_array_equal(loaded.arrays[spec.name], weights.arrays[spec.name])


def test_a_file_is_nine_megabytes_of_aligned_tensors(weights):
    slots = list(layout().values())
    assert all(slot.offset % 64 == 0 for slot in slots)
    ends = [slot.offset + slot.length for slot in slots]
    assert all(0 <= after.offset - end < 64 for after, end in zip(slots[1:], ends, strict=False))
    assert len(weights.to_bytes()) == WEIGHTS_BYTES == 9_032_192


def test_kernels_have_onnx_layout(weights):
    data = weights.to_bytes()
    for name in ("Conv1/kernel", "block_1_depthwise/kernel", "block_16_project/kernel"):
        slot, kernel = layout()[name], weights.arrays[name]
        stored = np.frombuffer(data, "<f4", slot.length // 4, slot.offset).reshape(slot.shape)
        if "depthwise" in name:
            assert slot.shape == (96, 1, 3, 3)
            assert stored[5, 0, 2, 1] == kernel[2, 1, 5, 0]
        else:
            assert slot.shape == kernel.shape[::-1][:2] + kernel.shape[:2]
            assert stored[7, 2, 0, 0] == kernel[0, 0, 2, 7]


def test_another_value_is_another_hash(weights):
    other = weights.arrays["Conv_1/kernel"].copy()
    other[0, 0, 0, 0] = np.nextafter(other[0, 0, 0, 0], np.float32(9))
    assert BackboneWeights(changed(weights, "Conv_1/kernel", other)).sha256 != weights.sha256


def test_weights_cannot_be_changed(weights):
    with pytest.raises(ValueError, match="read-only"):
        weights.arrays["Conv1/kernel"][0] = 0
    with pytest.raises(TypeError):
        weights.arrays["Conv1/kernel"] = np.zeros(3)


def test_the_callers_arrays_are_left_alone(weights):
    mine = {name: array.copy() for name, array in weights.arrays.items()}
    copied = BackboneWeights(mine)
    mine["Conv1/kernel"][:] = 0
    assert copied.sha256 == weights.sha256


def test_the_side_at_which_the_network_sees_is_kept_at_the_end_of_the_file(weights, tmp_path):
    small = BackboneWeights(weights.arrays, 128)
    data = small.to_bytes()
    assert data[:WEIGHTS_BYTES] == weights.to_bytes()
    assert len(data) == WEIGHTS_BYTES + 64
    assert BackboneWeights.load(small.save(tmp_path / "small.weights"), small.sha256).side == 128
    assert BackboneWeights.from_bytes(weights.to_bytes()).side == 224


@pytest.mark.parametrize("side", [0, 100, 32, 256])
def test_a_side_that_no_network_has_is_refused(weights, side):
    with pytest.raises(WeightsError, match=rf"64, 96, 128, 160, 192, 224.*{side}"):
        BackboneWeights(weights.arrays, side)


def test_a_file_with_nonsense_for_a_side_is_refused(weights):
    data = BackboneWeights(weights.arrays, 128).to_bytes()
    with pytest.raises(WeightsError, match="side of a network"):
        BackboneWeights.from_bytes(data[:WEIGHTS_BYTES] + b"\xff" * 64)


@pytest.mark.parametrize("length", [0, WEIGHTS_BYTES - 1, WEIGHTS_BYTES + 1, WEIGHTS_BYTES + 65])
def test_a_file_of_another_length_is_refused(tmp_path, length):
    path = tmp_path / "cut.weights"
    path.write_bytes(bytes(length))
    with pytest.raises(WeightsError, match=rf"cut\.weights.*{WEIGHTS_BYTES:,}"):
        BackboneWeights.load(path)


def test_a_file_with_another_hash_is_refused_and_both_are_named(weights, tmp_path):
    path = weights.save(tmp_path / "some.weights")
    with pytest.raises(WeightsError, match=f"{weights.sha256}.*{'0' * 64}"):
        BackboneWeights.load(path, sha256="0" * 64)


def test_a_missing_file_is_a_weights_error(tmp_path):
    with pytest.raises(WeightsError, match="absent"):
        BackboneWeights.load(tmp_path / "absent.weights")


def test_missing_and_unknown_weights_are_named(weights):
    arrays = dict(weights.arrays)
    arrays["predictions/kernel"] = arrays.pop("Conv1/kernel")
    with pytest.raises(WeightsError, match=r"1 of 260 are missing.*Conv1.*predictions"):
        BackboneWeights(arrays)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("Conv1/kernel", np.zeros((3, 3, 3, 48)), r"shape \(3, 3, 3, 32\).*48"),
        ("bn_Conv1/beta", np.full(32, np.nan), "not finite"),
        ("bn_Conv1/beta", np.full(32, 1e300), "not finite"),
        ("bn_Conv1/moving_variance", np.full(32, -0.5), "negative"),
    ],
)
def test_numbers_that_cannot_be_weights_are_refused(weights, name, array, message):
    with pytest.raises(WeightsError, match=message):
        BackboneWeights(changed(weights, name, array))


def test_the_packaged_weights_are_read_from_the_package(weights, tmp_path, monkeypatch):
    assert bundled_weights_path().parts[-3:] == ("hematovision", "models", "hematology.weights")
    path = weights.save(tmp_path / "hematology.weights")
    monkeypatch.setattr(module, "bundled_weights_path", lambda: path)
    bundled_weights.cache_clear()
    try:
        assert bundled_weights().sha256 == weights.sha256
    finally:
        bundled_weights.cache_clear()
