"""The golden answer: what a model said about one fixed drawn cell when it was made.

Whoever serves a model asks it about the same cell and compares: a damaged installation, a library
that computes otherwise, or weights that belong to another model are noticed before anybody is
answered. The cell is drawn here, by whole numbers alone, so that its pixels are the same bytes on
every machine and in every version.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import BundleError
from hematovision.model.architecture import INPUT_SIZE
from hematovision.model.json_object import JsonObject

__all__ = ["NOVELTY_TOLERANCE", "TOLERANCE", "SelfTest", "run_self_test", "self_test_cell"]

TOLERANCE = 1e-4
"""How far each probability may lie from the golden one: what two machines may differ by."""

NOVELTY_TOLERANCE = 1e-3
"""How far the novelty may lie from the golden one, in parts of it, or of 1 below 1: it is a
distance, several times as far as probabilities from rounding."""

# Colours of a stained smear, RGB: plasma, a white cell's cytoplasm and nucleus, a red cell.
_PLASMA, _CYTOPLASM, _NUCLEUS, _RED = (
    (236, 228, 226),
    (206, 188, 214),
    (108, 70, 146),
    (222, 168, 170),
)

# Discs: colour, centre (x, y) and radius, in pixels. Later ones lie on earlier ones.
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
    """A model's answer for `self_test_cell`.

    Parameters
    ----------
    probabilities : tuple of float
        One per class, calibrated.
    novelty : float
    """

    probabilities: tuple[float, ...]
    novelty: float

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object, read back by `from_json`."""
        return {"probabilities": list(self.probabilities), "novelty": self.novelty}

    @classmethod
    def from_json(cls, value: JsonObject, classes: int) -> SelfTest:
        """Check a JSON object and take it over.

        Raises
        ------
        BundleError
            If it is not `classes` probabilities and a novelty.
        """
        given = value.get("probabilities", list)
        numbers = all(type(one) in (int, float) and 0 <= one <= 1 for one in given)
        if not numbers or len(given) != classes:
            raise value.wrong("probabilities", f"{classes} numbers from 0 to 1")
        return cls(tuple(map(float, given)), value.number("novelty"))

    def agrees(self, probabilities: Sequence[float], novelty: float | None) -> bool:
        """Tell whether an answer is this one within `TOLERANCE` and `NOVELTY_TOLERANCE`."""
        if novelty is None or len(probabilities) != len(self.probabilities):
            return False
        pairs = zip(probabilities, self.probabilities, strict=True)
        near = NOVELTY_TOLERANCE * max(1.0, abs(self.novelty))
        # A comparison with NaN is false, so that no answer of NaN agrees.
        return (
            all(abs(found - golden) <= TOLERANCE for found, golden in pairs)
            and math.fabs(novelty - self.novelty) <= near
        )

    def __str__(self) -> str:
        shown = ", ".join(f"{one:.6f}" for one in self.probabilities)
        return f"probabilities ({shown}), novelty {self.novelty:.6f}"


def self_test_cell() -> NDArray[np.uint8]:
    """Draw the cell: a white cell with a nucleus of three lobes, and two red cells.

    Returns
    -------
    array of uint8, (224, 224, 3)
        RGB, as `images.fit` gives it, so that no resize has a part in it.
    """
    y, x = np.mgrid[0:INPUT_SIZE, 0:INPUT_SIZE].astype(np.int64)
    image: NDArray[np.int64] = np.empty((INPUT_SIZE, INPUT_SIZE, 3), np.int64)
    image[...] = _PLASMA
    for colour, (left, top), radius in _DISCS:
        image[(x - left) ** 2 + (y - top) ** 2 < radius**2] = colour
    grain = (x * 37 + y * 61 + x * y) % 17 - 8
    shade = (x + y) // 32  # Brighter towards one corner, as under most microscopes.
    drawn: NDArray[np.uint8] = np.clip(image + (grain + shade - 7)[..., None], 0, 255).astype("u1")
    return drawn


def run_self_test(model: bytes, external: Mapping[str, bytes]) -> SelfTest:
    """Ask an ONNX graph about `self_test_cell`.

    Parameters
    ----------
    model : bytes
        The ONNX model.
    external : mapping of str to bytes
        As `session.open_session` takes it.

    Raises
    ------
    BundleError
        If ONNX Runtime does not open it, or what it answers is no answer.
    ModelError
        If it fails on the image.
    """
    # Imported here: whoever only reads a manifest does not wait for ONNX Runtime.
    from hematovision.model.session import open_session, run_one

    session = open_session(model, external)
    probabilities, novelty = run_one(session, ("probabilities", "novelty"), self_test_cell()[None])
    golden = SelfTest(tuple(map(float, probabilities[0])), float(novelty[0]))
    if not np.isfinite([*golden.probabilities, golden.novelty]).all():
        raise BundleError(
            f"The model predicts {golden} for a synthetic cell; its weights are not all finite. "
            "Train it again."
        )
    return golden
