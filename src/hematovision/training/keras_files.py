"""Write files for Keras and LiteRT: .h5, .keras and .tflite."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hematovision.extras import needs_extra
from hematovision.model.head import Head
from hematovision.model.weights import Weights
from hematovision.training.keras_model import classifier_model

with needs_extra("train", "Writing Keras files"):
    import keras
    from absl import logging as absl_logging

__all__ = ["keras_bytes", "saved"]

_SUFFIXES = {"h5": ".h5", "keras": ".keras", "litert": ".tflite"}


def keras_bytes(
    weights: Weights, head: Head, *formats: str, white_balance: bool = True
) -> dict[str, bytes]:
    """Write the classifier as Keras files of some formats, ``h5`` or ``keras``.

    The calibration is already in the head's last layer. Both formats open in plain Keras
    without custom objects. `white_balance` is False for models of the first version. Returns the
    content of each file by its format.
    """
    model = classifier_model(weights, head, white_balance=white_balance)
    return {kind: saved(model, kind) for kind in formats}


def saved(model: Any, kind: str) -> bytes:
    """Return the file of a Keras model: ``h5``, ``keras``, or ``litert`` (TensorFlow backend)."""
    with tempfile.TemporaryDirectory(prefix="hematovision-") as folder:
        path = Path(folder) / f"model{_SUFFIXES[kind]}"
        with _quiet():
            if kind == "litert":
                with _stderr_hidden():
                    model.export(path, format="litert", verbose=False)
            else:
                keras.saving.save_model(model, path)
        return path.read_bytes()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence warnings about the legacy .h5 format, which is intended here."""
    before = absl_logging.get_verbosity()
    absl_logging.set_verbosity(absl_logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        absl_logging.set_verbosity(before)


@contextlib.contextmanager
def _stderr_hidden() -> Iterator[None]:
    """Hide what the converter's C++ code logs to stderr at every conversion; it has no log level.

    What fails raises an exception of Python.
    """
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as null:
            os.dup2(null.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
