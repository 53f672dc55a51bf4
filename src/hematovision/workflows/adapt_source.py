"""A model opened for adapting: its arrays, not only its answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import BundleError
from hematovision.extras import needs_extra
from hematovision.model.bundle import ONNX, Bundle, read_bundle
from hematovision.model.registry import find_model
from hematovision.model.weights import bundled_weights

with needs_extra("train", "Adapting a model"):
    from hematovision.model.backbone import Backbone
    from hematovision.model.graph import ClassifierParts, read_classifier_graph
    from hematovision.training.adapting import FeatureModel

__all__ = ["Source", "open_source"]


@dataclass(frozen=True)
class Source:
    """The model that is adapted.

    Parameters
    ----------
    bundle : Bundle
    parts : ClassifierParts
        What its graph was written from.
    backbone : Backbone
    known : FeatureModel
        What is adapted.
    """

    bundle: Bundle
    parts: ClassifierParts
    backbone: Backbone
    known: FeatureModel

    @property
    def lineage(self) -> dict[str, Any]:
        """What a manifest says about the model that another one was adapted from."""
        manifest = self.bundle.manifest
        return {
            "name": manifest.name,
            "model_sha256": manifest.files[ONNX],
            "backbone_sha256": manifest.backbone.sha256,
            "data": dict(manifest.data),
        }

    @property
    def title(self) -> str:
        """The model's name and the beginning of its hash, for people."""
        return f"{self.bundle.name} (SHA-256 {self.bundle.manifest.files[ONNX][:12]}...)"


def open_source(model: str | Path) -> Source:
    """Open a bundled model or a run folder for adapting.

    Raises
    ------
    ModelNotFoundError, BundleError
        If it cannot be used, or its graph does not hold what adapting needs.
    """
    bundle = read_bundle(find_model(model))
    external = bundled_weights() if bundle.external_weights() else None
    try:
        parts = read_classifier_graph(bundle.read(ONNX), external)
    except BundleError as error:
        raise BundleError(
            f"The model {bundle.folder} cannot be adapted: {error} Adapting needs the head and the "
            "novelty of a model as `hematovision train` writes it: train it again with this "
            "version, or adapt one of `hematovision models`."
        ) from error
    backbone = Backbone(parts.weights, white_balance=parts.white_balance)
    known = FeatureModel(
        parts.head,
        parts.novelty,
        bundle.thresholds,
        _proportions(bundle),
        bundle.manifest.temperature,
    )
    return Source(bundle, parts, backbone, known)


def _proportions(bundle: Bundle) -> NDArray[np.float64]:
    """Return how frequent the classes were where the model was calibrated; alike if unknown."""
    data: Mapping[str, Any] = bundle.manifest.data
    while isinstance(data.get("adapted_from"), dict) and "data" in data["adapted_from"]:
        data = data["adapted_from"]["data"]
    splits = data.get("splits")
    counts = splits.get("valid") if isinstance(splits, dict) else None
    known = counts if isinstance(counts, dict) else {}
    # One image more than there are: a class without images is rare, not impossible.
    found = [known.get(label, 0) for label in bundle.taxonomy.classes]
    numbers = [float(n) if isinstance(n, int | float) and n > 0 else 0.0 for n in found]
    return np.array(numbers) + 1
