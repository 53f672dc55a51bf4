"""Squares of three colours, and a small model that predicts the strongest colour."""

from pathlib import Path

import numpy as np

from hematovision import images

COLOUR_MODEL = Path(__file__).parent / "model" / "data" / "bundle_v1"
"""A bundle with predictions that can be computed by hand."""

COLOURS = {"red": (250, 10, 10), "green": (10, 250, 10), "blue": (10, 10, 250)}


def write_square(path: Path, colour: tuple[int, int, int], side: int = 30) -> Path:
    return images.write(path, np.full((side, side, 3), colour, np.uint8))


def write_squares(root: Path) -> Path:
    """Write three squares of each colour to Train and to Test, and a broken file to the latter."""
    for split in ("Train", "Test"):
        for name, colour in COLOURS.items():
            for i in range(3):
                red, green, blue = (value - i for value in colour)
                write_square(root / split / name / f"{i}.png", (red, green, blue))
    (root / "Test" / "red" / "broken.png").write_bytes(b"x")
    return root
