"""The bundled models and their metrics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hematovision.evaluation.metrics import read_metrics
from hematovision.model.bundle import read_bundle
from hematovision.model.registry import bundled_detectors, bundled_models, find_model

__all__ = ["DetectorEntry", "ModelEntry", "list_detectors", "list_models"]


@dataclass(frozen=True)
class ModelEntry:
    """A bundled classifier and its key metrics on its test split."""

    name: str
    classes: tuple[str, ...]
    n: int  # images of the test split
    balanced_accuracy: float
    interval: tuple[float, float] | None  # its 95% interval
    review_rate: float  # fraction of the images sent for review
    card: Path  # the model card


@dataclass(frozen=True)
class DetectorEntry:
    """A bundled detector."""

    name: str
    classes: tuple[str, ...]
    card: Path  # the model card


def list_detectors() -> list[DetectorEntry]:
    """Return the bundled detectors, sorted by name.

    Raises `BundleError` if one has been altered.
    """
    bundles = {name: read_bundle(find_model(name)) for name in bundled_detectors()}
    return [
        DetectorEntry(name, bundle.taxonomy.classes, bundle.folder / "MODEL_CARD.md")
        for name, bundle in bundles.items()
    ]


def list_models() -> list[ModelEntry]:
    """Return the bundled classifiers, sorted by name.

    Raises `BundleError` if a bundled model has been altered.
    """
    return [_entry(name) for name in bundled_models()]


def _entry(name: str) -> ModelEntry:
    folder = find_model(name)
    bundle = read_bundle(folder)
    metrics = read_metrics(folder / "metrics.json")
    return ModelEntry(
        name=name,
        classes=bundle.taxonomy.classes,
        n=metrics.n,
        balanced_accuracy=metrics.balanced_accuracy,
        interval=metrics.intervals.get("balanced_accuracy"),
        review_rate=metrics.review_rate,
        card=folder / "MODEL_CARD.md",
    )
