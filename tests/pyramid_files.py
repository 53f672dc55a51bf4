"""Writes small pyramids without loss."""

from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray


def write_slide(
    path: Path, image: NDArray[np.uint8], *, um_per_px: float | None = None, levels: int = 2
) -> Path:
    """Write an image as a pyramid of lossless tiles, each level half of the one before."""
    per_cm = 10_000 / um_per_px if um_per_px else 1
    with tifffile.TiffWriter(path) as writer:
        for level in range(levels):
            step = 2**level
            height, width = (side // step * step for side in image.shape[:2])
            whole = image[:height, :width].reshape(height // step, step, width // step, step, 3)
            writer.write(
                np.rint(whole.mean(axis=(1, 3))).astype(np.uint8),
                tile=(256, 256),
                compression="zlib",
                metadata=None,
                subfiletype=1 if level else 0,
                resolution=(per_cm, per_cm),
                resolutionunit="CENTIMETER",
            )
    return path
