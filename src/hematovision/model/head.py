"""The dense layers on the features, as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import ModelError

__all__ = ["Head", "log_softmax", "softmax"]


def log_softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the log probabilities (N, C) of logits (N, C), float64."""
    values = np.asarray(logits, np.float64)
    shifted = values - values.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)), np.float64)


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the probabilities (N, C) of logits (N, C), float64."""
    return np.asarray(np.exp(log_softmax(logits)), np.float64)


@dataclass(frozen=True)
class Head:
    """Dense layers from features (N, D) to logits (N, C); ReLU after all but the last.

    Raises `ModelError` if there is no layer, shapes do not match, or values are not finite.
    """

    # Kernels (inputs, outputs) and biases (outputs,), as in Keras' ``Dense``; copied to read-only
    # float32.
    layers: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]

    def __post_init__(self) -> None:
        first = np.shape(self.layers[0][0]) if self.layers else ()
        width, checked = (first[0] if first else 0), []
        for number, (kernel, bias) in enumerate(self.layers, start=1):
            pair = _frozen(kernel), _frozen(bias)
            outputs = pair[1].shape[0] if pair[1].ndim == 1 else -1
            if pair[0].shape != (width, outputs):
                raise ModelError(
                    f"Layer {number} of the head must have a kernel ({width}, outputs) and a bias "
                    f"(outputs,). Received: {pair[0].shape} and {pair[1].shape}."
                )
            if not all(np.isfinite(array).all() for array in pair):
                raise ModelError(
                    f"Layer {number} of the head has values that are not finite. Train again, "
                    "with a lower learning rate."
                )
            width = outputs
            checked.append(pair)
        if not checked or width < 2:
            raise ModelError(
                f"A head must have a layer with at least two outputs. Received: {len(checked)} "
                f"layers, the last with {width} outputs."
            )
        object.__setattr__(self, "layers", tuple(checked))

    @property
    def n_features(self) -> int:
        """The number D of its inputs."""
        return int(self.layers[0][0].shape[0])

    @property
    def n_classes(self) -> int:
        """The number C of its outputs."""
        return int(self.layers[-1][1].shape[0])

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits (N, C) of `features` (N, D)."""
        values = np.asarray(features, np.float32)
        for kernel, bias in self.layers[:-1]:
            values = np.maximum(values @ kernel + bias, np.float32(0))
        kernel, bias = self.layers[-1]
        return np.asarray(values @ kernel + bias, np.float32)

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the probabilities (N, C) of `features` (N, D)."""
        return softmax(self.logits(features))

    def calibrated(self, temperature: float, bias: NDArray[np.float64] | float = 0.0) -> Head:
        """Return a head with the logits ``logits / temperature + bias``; changes the last layer."""
        kernel, old = self.layers[-1]
        last = kernel / np.float64(temperature), old / np.float64(temperature) + bias
        return Head((*self.layers[:-1], (last[0].astype(np.float32), last[1].astype(np.float32))))


def _frozen(values: NDArray[np.float32]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # overflow becomes infinity, which the caller rejects
        array = np.array(values, dtype=np.float32, order="C")
    array.setflags(write=False)
    return array
