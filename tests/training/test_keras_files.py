"""The written files open in plain Keras, in a process that has never heard of this package."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hematovision import images
from hematovision.data.samples import Dataset
from hematovision.model.backbone import Backbone
from hematovision.model.head import Head
from hematovision.model.weights import BackboneWeights
from hematovision.training.keras_files import keras_bytes

PLAIN_KERAS = """
import sys
import numpy as np
import keras

images = np.load("images.npy")
for name in sys.argv[1:]:
    model = keras.models.load_model(name, compile=False)
    np.save(f"{name}.npy", model.predict(images, verbose=0))
assert not any(name.startswith("hematovision") for name in sys.modules)
"""


@pytest.fixture(scope="module")
def head() -> Head:
    rng = np.random.default_rng(0)
    hidden = rng.normal(0, 0.03, (1280, 128)), rng.normal(0, 0.1, 128)
    return Head((hidden, (rng.normal(0, 0.2, (128, 3)), np.zeros(3)))).calibrated(1.7)


@pytest.fixture(scope="module")
def files(weights: BackboneWeights, head: Head) -> dict[str, bytes]:
    return keras_bytes(weights, head, "h5", "keras")


def cell_images(dataset: Dataset, request: pytest.FixtureRequest) -> np.ndarray:
    """Real cell images if available, else synthetic ones."""
    try:
        folder: Path = request.getfixturevalue("real_data")
    except pytest.skip.Exception:
        return np.stack([images.load(sample.path) for sample in dataset.samples[::10]])
    paths = sorted((folder / "pbc" / "train").rglob("*.jpg"))[::900]
    return np.stack([images.load(path) for path in paths])


def test_plain_keras_gives_the_probabilities_of_onnx_runtime(
    files, weights, head, dataset, tmp_path, request
):
    batch = cell_images(dataset, request)
    names = [f"m.{kind}" for kind in ("h5", "keras")]
    for name in names:
        (tmp_path / name).write_bytes(files[name.removeprefix("m.")])
    np.save(tmp_path / "images.npy", batch)
    command = [sys.executable, "-c", PLAIN_KERAS, *names]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=300)
    expected = head.probabilities(Backbone(weights).features(batch))
    assert len(batch) >= 6
    for name in names:
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), expected, atol=1e-4)


def test_a_conversion_to_litert_prints_nothing_and_gives_the_same_probabilities(
    weights, head, dataset, capfd
):
    import tensorflow as tf

    content = keras_bytes(weights, head, "litert")["litert"]
    assert capfd.readouterr() == ("", "")
    batch = np.stack([images.load(sample.path) for sample in dataset.samples[:2]])
    interpreter = tf.lite.Interpreter(model_content=content)
    run = interpreter.get_signature_runner()
    (predicted,) = run(images=batch.astype(np.float32)).values()
    expected = head.probabilities(Backbone(weights).features(batch))
    np.testing.assert_allclose(predicted, expected, atol=1e-4)
