"""Random weights with sound statistics, synthetic images, and a bundle made of them."""

import os
from pathlib import Path

import numpy as np
import pytest

from hematovision.model.architecture import weight_specs
from hematovision.model.bundle import ONNX, write_bundle
from hematovision.model.graph import classifier_graph
from hematovision.model.head import Head
from hematovision.model.manifest import BackboneRef, Manifest
from hematovision.model.novelty import Novelty
from hematovision.model.thresholds import Thresholds
from hematovision.model.weights import BackboneWeights
from hematovision.taxonomy import RBC_WBC_PLATELETS


def random_weights(seed: int = 0) -> BackboneWeights:
    """He-initialised kernels and batch normalisation far from its neutral values."""
    rng = np.random.default_rng(seed)
    draw = {
        "gamma": lambda shape: rng.uniform(0.6, 1.4, shape),
        "beta": lambda shape: rng.normal(0.2, 0.3, shape),
        "moving_mean": lambda shape: rng.normal(0, 0.3, shape),
        "moving_variance": lambda shape: rng.uniform(0.5, 2, shape),
    }
    arrays = {}
    for spec in weight_specs():
        part = spec.name.rpartition("/")[2]
        if part == "kernel":
            fan = 9 if "depthwise" in spec.name else int(np.prod(spec.shape[:3]))
            arrays[spec.name] = rng.normal(0, np.sqrt(2 / fan), spec.shape)
        else:
            arrays[spec.name] = draw[part](spec.shape)
    return BackboneWeights(arrays)


@pytest.fixture(scope="session")
def keras_mobilenet():
    """Keras' own MobileNetV2 without its top, made once: TensorFlow takes seconds to import."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    keras = pytest.importorskip("keras")
    return keras.applications.MobileNetV2(
        weights=None, include_top=False, input_shape=(224, 224, 3)
    )


@pytest.fixture(scope="session")
def weights() -> BackboneWeights:
    return random_weights()


@pytest.fixture(scope="session")
def head() -> Head:
    rng = np.random.default_rng(1)
    return Head(
        (
            (rng.normal(0, 0.02, (1280, 128)), rng.normal(0, 0.1, 128)),
            (rng.normal(0, 0.05, (128, 3)), rng.normal(0, 0.1, 3)),
        )
    )


@pytest.fixture(scope="session")
def novelty() -> Novelty:
    rng = np.random.default_rng(2)
    means = rng.uniform(0, 2, (3, 1280)).astype(np.float32)
    inv_std = rng.uniform(0.5, 3, 1280).astype(np.float32)
    basis = rng.normal(0, 0.001, (1280, 512)).astype(np.float16)
    return Novelty(means, inv_std, basis, -rng.normal(0, 0.02, 1280).astype(np.float32))


@pytest.fixture(scope="session")
def cells() -> np.ndarray:
    """Nine images (9, 224, 224, 3): noise, extremes, and discs with something at every border."""
    rng = np.random.default_rng(3)
    noise = rng.integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)
    extremes = np.stack([np.full((224, 224, 3), value, np.uint8) for value in (0, 255)])
    y, x = np.mgrid[:224, :224]
    discs = []
    for cx, cy, radius in ((112, 112, 60), (0, 0, 90), (223, 223, 50), (40, 223, 80)):
        inside = (x - cx) ** 2 + (y - cy) ** 2 < radius**2
        discs.append(np.where(inside[..., None], [120, 40, 160], [235, 215, 225]))
    return np.concatenate([noise, extremes, np.array(discs, np.uint8)])


@pytest.fixture(scope="session")
def manifest(weights: BackboneWeights) -> Manifest:
    return Manifest(
        name="discs",
        taxonomy=RBC_WBC_PLATELETS,
        temperature=1.25,
        thresholds=Thresholds(min_confidence=0.4, max_novelty=100.0),
        backbone=BackboneRef("random", weights.sha256),
        data={"fingerprint": "0" * 64, "splits": {"train": 70, "valid": 15, "test": 15}},
        seed=0,
        options={"epochs": 15},
    )


@pytest.fixture(scope="session")
def model_bytes(weights: BackboneWeights, head: Head, novelty: Novelty) -> bytes:
    return classifier_graph(weights, head, novelty)


@pytest.fixture
def run_folder(tmp_path: Path, manifest: Manifest, model_bytes: bytes) -> Path:
    """A bundle with a model, a history and a card."""
    files = {
        ONNX: model_bytes,
        "history.csv": b"epoch,loss\n1,0.5\n",
        "MODEL_CARD.md": b"# Discs\n",
    }
    return write_bundle(tmp_path / "run", manifest, files).folder


@pytest.fixture(scope="session")
def old_bundle() -> Path:
    """A bundle of schema 1 as it was first written; never to be written again."""
    return Path(__file__).parent / "data" / "bundle_v1"
