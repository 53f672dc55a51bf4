"""The circle of an eyepiece: photographs by phone show the field in a dark surround."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hematovision.fields.edges import Circle

__all__ = ["find_circle", "visible_part"]

_COPY = 256  # pixels of the longer side of the copy that is searched
_DARK = 0.3  # the surround is darker than this share of the brightest tenth
_LEAST_SURROUND = 0.04  # of the image: less is vignetting or a speck
_MOST_SURROUND = 0.92
_SMALLEST = 0.2  # radius in units of the shorter side
_ROUGHNESS = 0.02  # median distance of the rim from its circle, in radii
_RIM = 0.985  # of the radius that is used: the rim itself is blurred


def find_circle(pixels: NDArray[np.uint8]) -> Circle | None:
    """Return the circle of an eyepiece, or None if the image is not dark around one.

    The surround is what is dark from the sides of the image inwards, with at least two corners. A
    circle is fitted to its rim by least squares, twice, the second time without outliers (Kåsa
    1976, "A circle fitting procedure and its error analysis", IEEE Trans. Instrum. Meas. 25:8-14).

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)

    Returns
    -------
    Circle or None
        In pixels of the image, slightly inside the rim.
    """
    image = Image.fromarray(pixels)
    image.thumbnail((_COPY, _COPY), Image.Resampling.BOX, reducing_gap=None)
    grey = np.asarray(image.convert("L"), np.float32)
    dark = grey < _DARK * np.percentile(grey, 90)
    corners = dark[[0, 0, -1, -1], [0, -1, 0, -1]]
    if corners.sum() < 2 or not _LEAST_SURROUND < dark.mean() < _MOST_SURROUND:
        return None
    rim = _rim(dark)
    if len(rim) < 24:
        return None
    circle = _fitted(rim)
    near = np.abs(np.hypot(*(rim - circle[:2]).T) - circle[2]) < 3 * _ROUGHNESS * circle[2]
    if near.sum() < max(24, 0.6 * len(rim)):
        return None
    circle = _fitted(rim[near])
    rough = float(np.median(np.abs(np.hypot(*(rim[near] - circle[:2]).T) - circle[2])))
    if rough > _ROUGHNESS * circle[2] or circle[2] < _SMALLEST * min(grey.shape):
        return None
    factor = pixels.shape[1] / grey.shape[1]
    x, y, radius = (float(value) * factor for value in circle)
    return Circle(x, y, radius * _RIM)


def visible_part(pixels: NDArray[np.uint8], circle: Circle | None) -> NDArray[np.uint8]:
    """Return the square inside the circle, or all pixels."""
    if circle is None:
        return pixels
    half = circle.radius * 0.7
    height, width = pixels.shape[:2]
    x0, x1 = (int(min(max(v, 0), width)) for v in (circle.x - half, circle.x + half))
    y0, y1 = (int(min(max(v, 0), height)) for v in (circle.y - half, circle.y + half))
    part: NDArray[np.uint8] = pixels[y0:y1, x0:x1]
    return part if part.size else pixels


def _rim(dark: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return where the surround ends, seen from each side of the image: x and y, (N, 2)."""
    height, width = dark.shape
    points = []
    for lines, is_turned, length in (
        (dark, False, width),
        (dark[:, ::-1], False, -width),
        (dark.T, True, height),
        (dark.T[:, ::-1], True, -height),
    ):
        ends = lines.argmin(axis=1)  # the first pixel that is not dark; 0 if none is, or all are
        rows = np.flatnonzero(ends)
        along = np.where(length < 0, -length - ends[rows], ends[rows])
        pair = (rows + 0.5, along) if is_turned else (along, rows + 0.5)
        points.append(np.stack(pair, axis=1))
    return np.concatenate(points).astype(np.float64)


def _fitted(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return x, y and radius of the circle nearest to points (N, 2) in Kåsa's sense."""
    middle = points.mean(axis=0)
    moved = points - middle
    design = np.column_stack([2 * moved, np.ones(len(moved))])
    x, y, rest = np.linalg.lstsq(design, (moved**2).sum(axis=1), rcond=None)[0]
    return np.array([x + middle[0], y + middle[1], np.sqrt(max(rest + x * x + y * y, 0.0))])
