"""The self-test: a model's recorded prediction for a fixed synthetic cell.

On startup, every server predicts the cell again and compares. This detects damaged installations,
wrong weights and incompatible libraries before the first request. The cell is rendered with integer
arithmetic, so its pixels are the same on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.errors import BundleError

if TYPE_CHECKING:
    from hematovision.model.manifest import Detection
    from hematovision.model.session import Session

__all__ = [
    "NOVELTY_TOLERANCE", "TOLERANCE", "SelfTest", "run_detector_self_test", "run_self_test",
    "self_test_cell", "self_test_field",
]  # fmt: skip

TOLERANCE = 1e-4
"""Largest allowed difference of a probability between two machines."""

NOVELTY_TOLERANCE = 1e-3
"""Largest allowed difference of a novelty score; relative for scores above 1."""

# Colours of a stained smear, RGB: plasma, a white cell's cytoplasm and nucleus, a red cell.
_PLASMA, _CYTOPLASM, _NUCLEUS, _RED = (
    (236, 228, 226),
    (206, 188, 214),
    (108, 70, 146),
    (222, 168, 170),
)

# Discs: colour, centre (x, y) and radius in pixels; painted in this order.
_DISCS = (
    (_RED, (10, 30), 46),
    (_RED, (214, 206), 50),
    (_CYTOPLASM, (112, 110), 72),
    (_NUCLEUS, (86, 92), 30),
    (_NUCLEUS, (118, 132), 27),
    (_NUCLEUS, (144, 94), 25),
)


@dataclass(frozen=True)
class SelfTest:
    """A model's prediction for `self_test_cell`; a detector's for `self_test_field`."""

    # one per class, calibrated; of a detector, the largest heat of each class
    probabilities: tuple[float, ...]
    novelty: float | None  # None for a model without a novelty score

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {"probabilities": list(self.probabilities), "novelty": self.novelty}

    def agrees(self, probabilities: Sequence[float], novelty: float | None) -> bool:
        """Return whether a prediction matches within `TOLERANCE` and `NOVELTY_TOLERANCE`.

        NaN never matches.
        """
        if len(probabilities) != len(self.probabilities):
            return False
        pairs = zip(probabilities, self.probabilities, strict=True)
        if not all(abs(found - expected) <= TOLERANCE for found, expected in pairs):
            return False
        if novelty is None or self.novelty is None:
            return novelty is self.novelty
        return abs(novelty - self.novelty) <= NOVELTY_TOLERANCE * max(1.0, abs(self.novelty))

    def __str__(self) -> str:
        shown = ", ".join(f"{one:.6f}" for one in self.probabilities)
        novelty = "no novelty" if self.novelty is None else f"novelty {self.novelty:.6f}"
        return f"probabilities ({shown}), {novelty}"


def self_test_cell() -> NDArray[np.uint8]:
    """Render a white cell with a three-lobed nucleus, and two red cells.

    RGB uint8 (224, 224, 3): models with this input size need no resize.
    """
    y, x = np.mgrid[0 : images.SIZE, 0 : images.SIZE].astype(np.int64)
    image: NDArray[np.int64] = np.empty((images.SIZE, images.SIZE, 3), np.int64)
    image[...] = _PLASMA
    for colour, (left, top), radius in _DISCS:
        image[(x - left) ** 2 + (y - top) ** 2 < radius**2] = colour
    grain = (x * 37 + y * 61 + x * y) % 17 - 8
    shade = (x + y) // 32  # uneven illumination
    cell: NDArray[np.uint8] = np.clip(image + (grain + shade - 7)[..., None], 0, 255).astype("u1")
    return cell


def run_self_test(session: Session) -> SelfTest:
    """Predict `self_test_cell`.

    Raises `BundleError` if the graph is not a classifier, or its prediction is not finite. Raises
    `ModelError` if it fails on the image.
    """
    # Reading a manifest must not import ONNX Runtime.
    from hematovision.model.session import read_ports, run_one

    ports = read_ports(session, name="The model")
    cell = images.fit(self_test_cell(), ports.size)[None]
    probabilities = run_one(session, ["probabilities"], cell)[0][0]
    has_novelty = "novelty" in ports.outputs
    novelty = float(run_one(session, ["novelty"], cell)[0][0]) if has_novelty else None
    found = SelfTest(tuple(map(float, probabilities)), novelty)
    if not np.isfinite([*found.probabilities, found.novelty or 0.0]).all():
        raise BundleError(
            f"The model predicts {found} for a synthetic cell; some of its weights are not finite. "
            "Train it again."
        )
    return found


def self_test_field(detection: Detection) -> NDArray[np.uint8]:
    """Return `self_test_cell` at about the scale of a detector, uint8 (S, S, 3)."""
    shown = images.SIZE / (2 * _DISCS[0][2])  # red cells across the image
    side = detection.multiple * max(1, round(detection.red_cell_px * shown / detection.multiple))
    return images.fit(self_test_cell(), side)


def run_detector_self_test(session: Session, detection: Detection) -> SelfTest:
    """Return the largest heat of each class in `self_test_field`.

    Raises `BundleError` if the heat is not finite. Raises `ModelError` if the graph fails.
    """
    from hematovision.model.session import run_one  # as in `run_self_test`

    heat = run_one(session, ["heat"], self_test_field(detection)[None])[0]
    found = SelfTest(tuple(map(float, heat.max(axis=(0, 1, 2)))), None)
    if not np.isfinite(found.probabilities).all():
        raise BundleError(
            f"The detector finds {found} in a synthetic field; some of its weights are not finite. "
            "Train it again."
        )
    return found
