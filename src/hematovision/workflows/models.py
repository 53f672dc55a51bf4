"""The bundled models and their metrics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hematovision.evaluation.metrics import read_metrics
from hematovision.model.bundle import read_bundle
from hematovision.model.registry import bundled_models, find_model

__all__ = ["ModelEntry", "list_models"]


@dataclass(frozen=True)
class ModelEntry:
    """A bundled model and its key metrics on its test split.

    Parameters
    ----------
    name : str
    classes : tuple of str
    n : int
        Images of the test split.
    balanced_accuracy : float
    interval : tuple of float, or None
        Its 95% interval.
    review_rate : float
        Fraction of them sent for review.
    card : Path
        The model card.
    """

    name: str
    classes: tuple[str, ...]
    n: int
    balanced_accuracy: float
    interval: tuple[float, float] | None
    review_rate: float
    card: Path


def list_models() -> list[ModelEntry]:
    """Return the bundled models, sorted by name.

    Raises
    ------
    BundleError
        If a bundled model has been altered.
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
