"""Training works on every Keras backend: a head can be trained on JAX."""

import os
import subprocess
import sys

import pytest

JAX = """
import numpy as np
from hematovision.training.fitting import HeadTraining, train_head
import keras

assert keras.backend.backend() == "jax"
rng = np.random.default_rng(0)
labels = rng.integers(3, size=120)
features = rng.normal(0.5, 0.2, (120, 1280)).astype("float32")
features[np.arange(120), labels] += 3
trained = train_head(features, labels, features, labels, 3, HeadTraining())
print("accuracy", (trained.head.logits(features).argmax(axis=1) == labels).mean())
"""


@pytest.mark.slow  # compiles for a quarter of a minute
def test_a_head_is_trained_on_jax():
    pytest.importorskip("jax", reason="jax is not installed; it is a development dependency")
    done = subprocess.run(
        [sys.executable, "-c", JAX],
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) > 0.97
