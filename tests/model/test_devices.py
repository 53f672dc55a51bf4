"""A GPU is used if there is one; if it fails, that is logged and the CPU is used."""

import logging

import numpy as np
import onnxruntime
import pytest

from colour_squares import COLOUR_MODEL
from hematovision.errors import BundleError, ModelError
from hematovision.model import session
from hematovision.model.bundle import ONNX, read_bundle
from hematovision.model.session import open_session, run_one


@pytest.fixture
def gpu(monkeypatch):
    """An ONNX Runtime that offers CUDA."""
    monkeypatch.delenv(session.DEVICE, raising=False)
    there = [session.CUDA, session.CPU]
    monkeypatch.setattr(session.onnxruntime, "get_available_providers", lambda: there)


def names() -> list[str]:
    return [name for name, _ in session.chosen_providers()]


def model() -> bytes:
    return read_bundle(COLOUR_MODEL).read(ONNX)


def predicts(opened) -> bool:
    image = np.zeros((1, 224, 224, 3), np.uint8)
    return run_one(opened, ["probabilities"], image)[0].shape == (1, 3)


def test_without_a_gpu_the_cpu_is_used_silently(monkeypatch, caplog):
    monkeypatch.delenv(session.DEVICE, raising=False)
    monkeypatch.setattr(session.onnxruntime, "get_available_providers", lambda: [session.CPU])
    assert names() == [session.CPU]
    assert predicts(open_session(model()))
    assert not caplog.records


def test_a_gpu_comes_first_and_computes_in_full_precision(gpu):
    (first, settings), (last, _) = session.chosen_providers()
    assert (first, last) == (session.CUDA, session.CPU)
    assert settings["use_tf32"] == "0"


@pytest.mark.parametrize("value", ["cpu", " CPU "])
def test_the_environment_can_turn_the_gpu_off(gpu, monkeypatch, value):
    monkeypatch.setenv(session.DEVICE, value)
    assert names() == [session.CPU]


def test_a_missing_gpu_that_was_requested_is_logged(monkeypatch, caplog):
    monkeypatch.setenv(session.DEVICE, "cuda")
    monkeypatch.setattr(session.onnxruntime, "get_available_providers", lambda: [session.CPU])
    with caplog.at_level(logging.WARNING):
        assert names() == [session.CPU]
    assert "Install onnxruntime-gpu" in caplog.text
    assert "HEMATOVISION_DEVICE=cpu" in caplog.text


def test_another_device_is_refused(monkeypatch):
    monkeypatch.setenv(session.DEVICE, "abacus")
    with pytest.raises(ModelError, match="is 'abacus'; expected auto, cpu or cuda") as caught:
        open_session(model())
    assert not isinstance(caught.value, BundleError), "the model is not to blame"


@pytest.mark.parametrize("fails", [True, False], ids=["raises", "is left out"])
def test_a_gpu_that_fails_is_logged_and_the_cpu_is_used(gpu, monkeypatch, caplog, fails):
    real, asked = onnxruntime.InferenceSession, []

    def without_libraries(graph, options, *, providers, provider_options, **rest):
        asked.append((providers, provider_options))
        if session.CUDA in providers and fails:
            raise RuntimeError("libcudnn.so is missing")
        return real(graph, options, providers=[session.CPU], **rest)

    monkeypatch.setattr(onnxruntime, "InferenceSession", without_libraries)
    with caplog.at_level(logging.WARNING):
        assert predicts(open_session(model()))
    assert asked[0][0] == [session.CUDA, session.CPU]
    assert len(asked) == 1 + fails
    assert len(caplog.records) == 1
    assert ("libcudnn.so is missing" if fails else "cannot load its libraries") in caplog.text


def test_a_damaged_model_is_an_error_on_a_gpu_too(gpu, caplog):
    with caplog.at_level(logging.WARNING), pytest.raises(BundleError, match="is damaged or not"):
        open_session(b"\x08\x08")
