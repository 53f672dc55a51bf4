"""A card is used where there is one; where it cannot be, that is said and the processor works."""

import logging

import numpy as np
import onnxruntime
import pytest

from colour_squares import COLOUR_MODEL
from hematovision.errors import BundleError, ModelError
from hematovision.model import session as devices
from hematovision.model.bundle import ONNX, read_bundle
from hematovision.model.session import open_session, run_one


@pytest.fixture
def card(monkeypatch):
    """An ONNX Runtime that offers CUDA."""
    monkeypatch.delenv(devices.DEVICE, raising=False)
    there = [devices.CUDA, devices.CPU]
    monkeypatch.setattr(devices.onnxruntime, "get_available_providers", lambda: there)


def names() -> list[str]:
    return [name for name, _ in devices.chosen_providers()]


def model() -> bytes:
    return read_bundle(COLOUR_MODEL).read(ONNX)


def answered(session) -> bool:
    image = np.zeros((1, 224, 224, 3), np.uint8)
    return run_one(session, ["probabilities"], image)[0].shape == (1, 3)


def test_without_a_card_the_processor_works_and_nothing_is_said(monkeypatch, caplog):
    monkeypatch.delenv(devices.DEVICE, raising=False)
    monkeypatch.setattr(devices.onnxruntime, "get_available_providers", lambda: [devices.CPU])
    assert names() == [devices.CPU]
    assert answered(open_session(model()))
    assert not caplog.records


def test_a_card_comes_first_and_computes_in_full_precision(card):
    (first, settings), (last, _) = devices.chosen_providers()
    assert (first, last) == (devices.CUDA, devices.CPU)
    assert settings["use_tf32"] == "0"


@pytest.mark.parametrize("value", ["cpu", " CPU "])
def test_the_environment_can_leave_the_card_alone(card, monkeypatch, value):
    monkeypatch.setenv(devices.DEVICE, value)
    assert names() == [devices.CPU]


def test_a_card_that_is_asked_for_and_not_there_is_missed(monkeypatch, caplog):
    monkeypatch.setenv(devices.DEVICE, "cuda")
    monkeypatch.setattr(devices.onnxruntime, "get_available_providers", lambda: [devices.CPU])
    with caplog.at_level(logging.WARNING):
        assert names() == [devices.CPU]
    assert "Install onnxruntime-gpu" in caplog.text
    assert "HEMATOVISION_DEVICE=cpu" in caplog.text


def test_another_device_is_refused(monkeypatch):
    monkeypatch.setenv(devices.DEVICE, "abacus")
    with pytest.raises(ModelError, match="is 'abacus'; expected auto, cpu or cuda") as caught:
        open_session(model())
    assert not isinstance(caught.value, BundleError), "the model is not to blame"


@pytest.mark.parametrize("fails", [True, False], ids=["raises", "is left out"])
def test_a_card_that_cannot_be_used_is_said_and_the_processor_works(
    card, monkeypatch, caplog, fails
):
    real, asked = onnxruntime.InferenceSession, []

    def without_libraries(graph, options, *, providers, provider_options, **rest):
        asked.append((providers, provider_options))
        if devices.CUDA in providers and fails:
            raise RuntimeError("libcudnn.so is missing")
        return real(graph, options, providers=[devices.CPU], **rest)

    monkeypatch.setattr(onnxruntime, "InferenceSession", without_libraries)
    with caplog.at_level(logging.WARNING):
        assert answered(open_session(model()))
    assert asked[0][0] == [devices.CUDA, devices.CPU]
    assert len(asked) == 1 + fails
    assert len(caplog.records) == 1
    assert ("libcudnn.so is missing" if fails else "cannot load its libraries") in caplog.text


def test_a_damaged_model_is_damaged_on_a_card_too(card, caplog):
    with caplog.at_level(logging.WARNING), pytest.raises(BundleError, match="is damaged or not"):
        open_session(b"\x08\x08")
