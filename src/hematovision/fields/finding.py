"""The cells of a field as the detector finds them, with what is measured once per image.

.. code-block:: text

    pixels -> background, eyepiece circle, scale -> detector, in tiles -> cells -> scale and stain
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import TooManyPixelsError
from hematovision.fields.aperture import find_circle, visible_part
from hematovision.fields.edges import Circle
from hematovision.fields.rows import CELL_CLASSES
from hematovision.fields.scale import Scale, Sighting, diameters, find_scale, given_scale
from hematovision.fields.tiles import FieldImage, detect
from hematovision.images.stain import Stain, measure_stain, median_stain
from hematovision.model.detector import CellFinder, Detections
from hematovision.model.preprocessing import white_point

__all__ = ["FieldContext", "FieldFinder", "Found", "field_image", "placed"]

_REDONE = 0.08
"""The field is analysed again if its red cells differ by more than this from the scale: a window of
the field was measured, and the red cells of the whole field are more."""

_VIEW = 512
"""Side of the part of a sample in which the stain of a slide is measured, in pixels at the
detector's scale: more than a hundred red cells in an ordinary smear."""


@dataclass(frozen=True)
class FieldContext:
    """What is measured once per image, or once per slide."""

    white: tuple[float, float, float]  # the background, see `preprocessing.white_point`
    scale: Scale
    circle: Circle | None = None
    stain: Stain | None = None  # None with fewer than three red cells


class Found(NamedTuple):
    """The cells of a field, as the detector finds them, and what was measured with them."""

    context: FieldContext
    boxes: NDArray[np.float32]  # (N, 4) in pixels of the field
    labels: NDArray[np.intp]  # (N,): index in `CELL_CLASSES`


class FieldFinder:
    """Finds the cells of fields, and measures their background, scale and stain; thread-safe.

    Parameters
    ----------
    finder : CellFinder
        The detector, of the classes `CELL_CLASSES`.
    scale : Scale, optional
        The scale of all fields; by default measured in each.
    max_scaled_pixels : int, optional
        Fields that would have more pixels at the detector's scale are rejected.

    Examples
    --------
    >>> finder = FieldFinder(Detector.load())  # doctest: +SKIP
    >>> finder.find(pixels, "a.png").context.scale  # doctest: +SKIP
    Scale(diameter=83.1, source='red cells', um_per_px=None)
    """

    def __init__(
        self,
        finder: CellFinder,
        *,
        scale: Scale | None = None,
        max_scaled_pixels: int | None = None,
    ) -> None:
        self.finder, self.scale, self.max_scaled_pixels = finder, scale, max_scaled_pixels

    def find(self, pixels: NDArray[np.uint8], name: str, *, reach: float | None = None) -> Found:
        """Find the cells of a field.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (H, W, 3)
        name : str
            The field in error messages.
        reach : float, optional
            Width of the middle of the field that is searched, in diameters of its red cells; by
            default the whole field is.

        Raises
        ------
        TooManyPixelsError
            If it has more than `max_scaled_pixels` at the detector's scale.
        """
        context, sighting = self.measure([pixels])
        corner, part = (0, 0), pixels
        if reach is not None:
            corner, part = _middle(pixels, reach * context.scale.diameter)
        if part.shape != pixels.shape:
            context, sighting = replace(context, circle=None), None
        field = field_image(part, context)
        cells, size, context = self.locate(field, context, sighting, name)
        boxes = placed(cells, field, size) + np.tile(corner, 2).astype(np.float32)
        return Found(context, boxes, self.by_class(cells)[1])

    def measure(
        self, samples: Sequence[NDArray[np.uint8]], metadata: float | None = None
    ) -> tuple[FieldContext, Sighting | None]:
        """Measure the background and the scale of samples of one image.

        Parameters
        ----------
        samples : sequence of ndarray of uint8, shape (H, W, 3)
            At least one, all of the same resolution.
        metadata : float, optional
            Micrometres per pixel, as the file states.

        Returns
        -------
        context : FieldContext
            Its circle is that of the first sample. It has no stain.
        sighting : Sighting or None
            Of a single sample, what was found in it at this scale, if anything.
        """
        circles = [find_circle(one) for one in samples]
        points = [white_point(visible_part(*pair)) for pair in zip(samples, circles, strict=True)]
        white = np.max(points, axis=0)
        scale = self.scale or given_scale(metadata=metadata)
        best: Sighting | None = None
        if scale is None:
            tried = [
                find_scale(self.finder, FieldImage(one, white, circle))
                for one, circle in zip(samples, circles, strict=True)
            ]
            scale, best = _agreed(tried)
        r, g, b = map(float, white)
        return FieldContext((r, g, b), scale, circles[0]), best

    def locate(
        self, field: FieldImage, context: FieldContext, sighting: Sighting | None, name: str
    ) -> tuple[Detections, tuple[int, int], FieldContext]:
        """Find the cells, and measure the scale again, and the stain, with all of them.

        Returns the cells with boxes in pixels of the scaled field, its size, and the context.
        Raises `TooManyPixelsError` as `find` does.
        """
        found, size, context = self._rescaled(field, context, sighting, name)
        stain = measure_stain(field.pixels, context.white, placed(self._reds(found), field, size))
        return found, size, replace(context, stain=stain)

    def stain(self, samples: Sequence[NDArray[np.uint8]], context: FieldContext) -> Stain | None:
        """Measure the stain of a slide in the middle of each sample.

        Parameters
        ----------
        samples : sequence of ndarray of uint8, shape (H, W, 3)
        context : FieldContext
            From `measure`, with the same samples.

        Returns
        -------
        stain : Stain or None
            The median of the samples that have one.
        """
        side = _VIEW * context.scale.diameter / self.finder.red_cell_px
        stains = []
        for one in samples:
            _, part = _middle(one, side)
            field = field_image(part, replace(context, circle=None))
            size = field.size(self.finder.red_cell_px / context.scale.diameter)
            reds = self._reds(detect(self.finder, field, size))
            stains.append(measure_stain(part, context.white, placed(reds, field, size)))
        return median_stain([stain for stain in stains if stain is not None])

    def by_class(self, found: Detections) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        """Return scores (N, 3) and labels (N,) in the order of `CELL_CLASSES`."""
        order = [self.finder.classes.index(name) for name in CELL_CLASSES]
        return found.scores[:, order], np.argsort(order)[found.labels]

    def _rescaled(
        self, field: FieldImage, context: FieldContext, sighting: Sighting | None, name: str
    ) -> tuple[Detections, tuple[int, int], FieldContext]:
        if sighting and sighting.is_whole:
            found, size = sighting.found, sighting.size
        else:
            size = self._size(field, context.scale.diameter, name)
            found = detect(self.finder, field, size)
        if context.scale.source != "red cells":
            return found, size, context
        measured = self.diameter(field, found, size)
        if (
            measured
            and abs(measured * size[0] / field.width / self.finder.red_cell_px - 1) > _REDONE
        ):
            size = self._size(field, measured, name)
            found = detect(self.finder, field, size)
            measured = self.diameter(field, found, size)
        if measured is None:
            seen = len(self._reds(found))
            unknown = context.scale if seen else replace(context.scale, source="none")
            return found, size, replace(context, scale=unknown)
        return found, size, replace(context, scale=replace(context.scale, diameter=measured))

    def _size(self, field: FieldImage, diameter: float, name: str) -> tuple[int, int]:
        """Return the size of a field at the detector's scale.

        Raises `TooManyPixelsError` if it is beyond the limit.
        """
        width, height = size = field.size(self.finder.red_cell_px / diameter)
        limit = self.max_scaled_pixels
        if limit is not None and width * height > limit:
            raise TooManyPixelsError(
                name,
                f"its red cells are {diameter:.0f} pixels wide, so {field.width} x {field.height} "
                f"pixels become {width} x {height} = {width * height:,} at the detector's scale; "
                f"the limit is {limit:,}. Crop it, or use `hematovision analyze`.",
            )
        return size

    def diameter(self, field: FieldImage, found: Detections, size: tuple[int, int]) -> float | None:
        """Return the median diameter of the red cells whose size is visible, in pixels, or None."""
        measured = diameters(field, self._reds(found).boxes, size, (0, 0, *size))
        return float(np.median(measured)) * field.width / size[0] if len(measured) else None

    def _reds(self, found: Detections) -> Detections:
        return found[found.labels == self.finder.classes.index("RBC")]


def field_image(pixels: NDArray[np.uint8], context: FieldContext) -> FieldImage:
    """Return the field of these pixels, (H, W, 3), with its background and circle."""
    return FieldImage(pixels, np.array(context.white, np.float32), context.circle)


def placed(found: Detections, field: FieldImage, size: tuple[int, int]) -> NDArray[np.float32]:
    """Return the boxes (N, 4) in pixels of the field that was scaled to `size`."""
    factors = np.tile([field.width / size[0], field.height / size[1]], 2)
    return np.asarray(found.boxes * factors, np.float32)


def _middle(pixels: NDArray[np.uint8], side: float) -> tuple[tuple[int, int], NDArray[np.uint8]]:
    """Return the square in the middle, at most `side` wide, and the x and y of its corner."""
    length = max(1, round(side))
    top, left = (max(0, (whole - length) // 2) for whole in pixels.shape[:2])
    part = pixels[top : top + length, left : left + length]
    return (left, top), np.ascontiguousarray(part)


def _agreed(
    found: Sequence[tuple[Scale, Sighting | None]],
) -> tuple[Scale, Sighting | None]:
    """Return the scale of most evidence; of several samples, the median of those that have one."""
    seen = [(scale, sighting) for scale, sighting in found if sighting]
    if len(found) == 1 or not seen:
        return found[0]
    diameter = float(np.median([scale.diameter for scale, _ in seen]))
    return Scale(diameter, "red cells"), None
