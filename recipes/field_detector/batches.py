"""Batches of the detector: random crops at varied scale, stain and optics, and their targets."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from recipes.field_detector.fields import CLASSES, STORED_PX, Field

__all__ = ["RED_CELL_PX", "STRIDE", "Batch", "Batches", "Ranges"]

RED_CELL_PX = 36.0
"""Width of a red cell in pixels of the detector's input."""

STRIDE = 4
_PADDING = 128  # Grey: near zero for the network, like the padding of its convolutions.
_SHARPNESS = (
    0.54 / 6
)  # Standard deviation of a peak in widths of the box (TTFNet, arXiv:1909.00700).
_LEAST_SIGMA = 0.7  # In places.
_VISIBLE = 0.12  # Share of a box inside a crop below which its cell is ignored.
_BODY = 0.35  # Height of a peak above which the box is trained.


@dataclass(frozen=True)
class Ranges:
    """Random changes of a crop."""

    scale: tuple[float, float] = (0.65, 1.5)  # red cells of 23 to 54 px
    wrong: float = 0.1  # probability of a scale at which nothing may be found
    too_small: tuple[float, float] = (0.15, 0.4)
    too_large: tuple[float, float] = (2.4, 7.0)
    gain: float = 0.3  # in optical density, as in `training.augment`
    mixing: float = 0.12
    tint: float = 0.07
    blur: float = 0.3
    most_blur: float = 4.0  # standard deviation in pixels; smaller ones are more frequent
    resolution: float = 0.25
    noise: float = 0.25
    jpeg: float = 0.2
    grey: float = 0.05
    sharpen: float = 0.15


class Batch(NamedTuple):
    """Images (N, S, S, 3) uint8 and, at stride 4, the targets."""

    images: NDArray[np.uint8]
    heat: NDArray[np.float32]  # (N, 3, S/4, S/4): peaks of 1 at the centres of cells
    weight: NDArray[np.float32]  # (N, 3, S/4, S/4): of the loss of `heat`
    distances: NDArray[np.float32]  # (N, 4, S/4, S/4): to the sides of the box, in pixels
    body: NDArray[np.float32]  # (N, S/4, S/4): weight of the loss of `distances`


class Batches:
    """Batches by number, the same for the same seed and fields."""

    def __init__(
        self,
        fields: Sequence[Field],
        frequency: NDArray[np.float64],
        size: int,
        side: int,
        seed: int,
        ranges: Ranges,
    ) -> None:
        self.fields, self.size, self.side, self.seed, self.ranges = fields, size, side, seed, ranges
        self.frequency = frequency / frequency.sum()

    def __getitem__(self, number: int) -> Batch:
        rng = np.random.default_rng((self.seed, number))
        chosen = rng.choice(len(self.fields), self.size, p=self.frequency)
        examples = [_example(self.fields[i], self.side, self.ranges, rng) for i in chosen]
        return Batch(*(np.stack(arrays) for arrays in zip(*examples, strict=True)))


def _example(
    field: Field, side: int, ranges: Ranges, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], ...]:
    factor, wrong = _factor(ranges, rng)
    pixels, boxes, labels, ignored, inside = _crop(field, side, factor, rng)
    pixels = _photographed(pixels, inside, ranges, rng)
    targets = _targets(boxes, labels, ignored, inside, field.known, side)
    if wrong:
        heat, weight, distances, body = targets
        weight = np.where(weight > 0, 0.5, 0.0) * _mask(inside, side)
        targets = (np.zeros_like(heat), weight.astype(np.float32), distances, np.zeros_like(body))
    return _turned(pixels, targets, rng)


def _factor(ranges: Ranges, rng: np.random.Generator) -> tuple[float, bool]:
    """Sample the scale relative to the stored field, and whether it is a wrong one."""
    wrong = rng.random() < ranges.wrong
    limits = ranges.scale
    if wrong:
        limits = ranges.too_small if rng.random() < 0.5 else ranges.too_large
    relative = float(np.exp(rng.uniform(*np.log(limits))))
    return relative * RED_CELL_PX / STORED_PX, wrong


def _crop(
    field: Field, side: int, factor: float, rng: np.random.Generator
) -> tuple[
    NDArray[np.uint8], NDArray[np.float32], NDArray[np.int64], NDArray[np.float32], tuple[int, ...]
]:
    """Scale a random window of a field onto a canvas; also return the canvas's filled region."""
    height, width = field.pixels.shape[:2]
    canvas = np.full((side, side, 3), _PADDING, np.uint8)
    starts, places, lengths = [], [], []
    focus = (
        field.boxes[rng.integers(len(field.boxes))]
        if len(field.boxes) and rng.random() < 0.4
        else None
    )
    for axis, length in ((0, width), (1, height)):
        whole, window = length * factor, side / factor
        if whole <= side:
            starts.append(0.0)
            lengths.append(max(1, round(whole)))
            places.append(int(rng.integers(side - lengths[-1] + 1)))
        else:
            start = rng.uniform(0, length - window)
            if focus is not None:
                middle = (focus[axis] + focus[axis + 2]) / 2
                start = float(np.clip(middle - window * rng.uniform(0.2, 0.8), 0, length - window))
            starts.append(start)
            lengths.append(side)
            places.append(0)
    box = (
        starts[0], starts[1],
        min(width, starts[0] + lengths[0] / factor), min(height, starts[1] + lengths[1] / factor),
    )  # fmt: skip
    method = rng.choice([Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC])
    part = Image.fromarray(field.pixels).resize(
        tuple(lengths), Image.Resampling(int(method)), box=box
    )
    x, y = places
    canvas[y : y + lengths[1], x : x + lengths[0]] = np.asarray(part)
    moved = np.array([starts[0], starts[1]] * 2, np.float32), np.array([x, y] * 2, np.float32)
    inside = (x, y, x + lengths[0], y + lengths[1])
    boxes, labels, ignored = _visible(
        (field.boxes - moved[0]) * factor + moved[1],
        field.labels,
        (field.ignored - moved[0]) * factor + moved[1],
        inside,
    )
    return canvas, boxes, labels, ignored, inside


def _visible(
    boxes: NDArray[np.float32],
    labels: NDArray[np.int64],
    ignored: NDArray[np.float32],
    inside: tuple[int, ...],
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """Clip boxes to the filled region; those that are mostly outside are ignored."""
    low, high = np.array(inside[:2] * 2), np.array(inside[2:] * 2)
    clipped = boxes.clip(low, high).astype(np.float32)
    area = _area(clipped)
    seen = area >= _VISIBLE * np.maximum(_area(boxes), 1e-3)
    seen &= (clipped[:, 2:] - clipped[:, :2]).min(axis=1, initial=np.inf) >= 1.5
    partly = clipped[~seen & (area > 0)]
    rest = ignored.clip(low, high).astype(np.float32)
    return clipped[seen], labels[seen], np.concatenate([rest[_area(rest) > 0], partly])


def _area(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))


def _mask(inside: tuple[int, ...], side: int) -> NDArray[np.float32]:
    mask = np.zeros((side // STRIDE, side // STRIDE), np.float32)
    x0, y0, x1, y1 = (v / STRIDE for v in inside)
    mask[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))] = 1.0
    return mask


def _targets(
    boxes: NDArray[np.float32],
    labels: NDArray[np.int64],
    ignored: NDArray[np.float32],
    inside: tuple[int, ...],
    known: tuple[float, float, float],
    side: int,
) -> tuple[NDArray[np.float32], ...]:
    """Return heat, weight, distances and body; see `Batch`."""
    size = side // STRIDE
    heat = np.zeros((len(CLASSES), size, size), np.float32)
    weight = np.ones((len(CLASSES), size, size), np.float32)  # Outside the field there is no cell.
    x0, y0, x1, y1 = (int(v) // STRIDE for v in inside)
    weight[:, y0 : y1 + 1, x0 : x1 + 1] = np.array(known, np.float32)[:, None, None]
    distances = np.zeros((4, size, size), np.float32)
    body = np.zeros((size, size), np.float32)
    for x, y, u, v in ignored / STRIDE:
        weight[:, int(y) : int(np.ceil(v)), int(x) : int(np.ceil(u))] = 0.0
    centres = (np.arange(size, dtype=np.float32) + 0.5) * STRIDE
    for box, label in sorted(
        zip(boxes, labels, strict=True), key=lambda pair: -_area(pair[0][None])[0]
    ):
        peak, rows, columns = _peak(box, size)
        cell = (slice(rows[0], rows[1]), slice(columns[0], columns[1]))
        weight[(slice(None), *cell)] = np.maximum(
            weight[(slice(None), *cell)], (peak > 0.01).astype(np.float32)
        )
        heat[(label, *cell)] = np.maximum(heat[(label, *cell)], peak)
        wins = (peak > _BODY) & (peak >= body[cell])
        body[cell][wins] = peak[wins]
        ys, xs = centres[cell[0]][:, None], centres[cell[1]][None, :]
        sides = np.broadcast_arrays(xs - box[0], ys - box[1], box[2] - xs, box[3] - ys)
        for target, value in zip(distances, sides, strict=True):
            target[cell][wins] = value[wins]
    body[distances.min(axis=0) <= 0.1] = 0.0
    return heat, weight, distances, body


def _peak(
    box: NDArray[np.float32], size: int
) -> tuple[NDArray[np.float32], tuple[int, int], tuple[int, int]]:
    """Return a Gaussian peak of 1 at the place of a box's centre, and its rows and columns."""
    x0, y0, x1, y1 = (float(v) / STRIDE for v in box)
    spans, profiles = [], []
    for low, high in ((y0, y1), (x0, x1)):
        middle = min(int((low + high) / 2), size - 1)
        sigma = max(_LEAST_SIGMA, _SHARPNESS * (high - low))
        first, last = max(0, int(low)), min(size, int(np.ceil(high)))
        first, last = min(first, middle), max(last, middle + 1)
        places = np.arange(first, last)
        spans.append((first, last))
        profiles.append(np.exp(-0.5 * ((places - middle) / sigma) ** 2))
    peak = (profiles[0][:, None] * profiles[1][None, :]).astype(np.float32)
    return peak, spans[0], spans[1]


_DENSITY = -np.log((np.arange(256, dtype=np.float32) + 1.0) / 256.0)


def _photographed(
    pixels: NDArray[np.uint8], inside: tuple[int, ...], ranges: Ranges, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Change optics, stain and camera inside the field; the padding stays."""
    x0, y0, x1, y1 = inside
    part = Image.fromarray(pixels[y0:y1, x0:x1])
    part = _optics(part, ranges, rng)
    image = _stained(np.asarray(part), ranges, rng)
    if rng.random() < ranges.noise:
        image = image + rng.normal(0.0, rng.uniform(1.0, 8.0), image.shape).astype(np.float32)
    recorded = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    if rng.random() < ranges.jpeg:
        stream = io.BytesIO()
        Image.fromarray(recorded).save(stream, "JPEG", quality=int(rng.integers(30, 90)))
        recorded = np.array(Image.open(stream), dtype=np.uint8)
    changed = pixels.copy()
    changed[y0:y1, x0:x1] = recorded
    return changed


def _optics(part: Image.Image, ranges: Ranges, rng: np.random.Generator) -> Image.Image:
    if rng.random() < ranges.resolution:
        factor = rng.uniform(0.3, 0.9)
        small = part.resize(
            (max(1, int(part.width * factor)), max(1, int(part.height * factor))),
            Image.Resampling.BOX,
        )
        part = small.resize(part.size, Image.Resampling.BICUBIC)
    if rng.random() < ranges.blur:
        part = part.filter(ImageFilter.GaussianBlur(0.3 + ranges.most_blur * rng.random() ** 2))
    if rng.random() < ranges.sharpen:
        part = part.filter(
            ImageFilter.UnsharpMask(rng.uniform(0.8, 2.5), int(rng.integers(50, 200)), 0)
        )
    return part


def _stained(
    image: NDArray[np.uint8], ranges: Ranges, rng: np.random.Generator
) -> NDArray[np.float32]:
    mixing = np.eye(3) * np.exp(rng.normal(0.0, ranges.gain)) + rng.normal(
        0.0, ranges.mixing, (3, 3)
    )
    density = _DENSITY[image] @ mixing.astype(np.float32)
    density += rng.normal(0.0, ranges.tint, 3).astype(np.float32)
    changed = 256.0 * np.exp(-density) - 1.0
    if rng.random() < ranges.grey:
        changed = np.repeat(changed.mean(axis=-1, keepdims=True), 3, axis=-1)
    return np.asarray(changed, np.float32)


def _turned(
    pixels: NDArray[np.uint8], targets: tuple[NDArray[np.float32], ...], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], ...]:
    """Apply one of the eight rotations and flips to image and targets."""
    heat, weight, distances, body = targets
    if rng.random() < 0.5:  # left to right
        pixels, heat, weight = pixels[:, ::-1], heat[..., ::-1], weight[..., ::-1]
        distances, body = distances[[2, 1, 0, 3]][..., ::-1], body[:, ::-1]
    if rng.random() < 0.5:  # top to bottom
        pixels, heat, weight = pixels[::-1], heat[:, ::-1], weight[:, ::-1]
        distances, body = distances[[0, 3, 2, 1]][:, ::-1], body[::-1]
    if rng.random() < 0.5:  # rows and columns
        pixels, heat, weight = pixels.transpose(1, 0, 2), heat.swapaxes(1, 2), weight.swapaxes(1, 2)
        distances, body = distances[[1, 0, 3, 2]].swapaxes(1, 2), body.T
    return tuple(np.ascontiguousarray(a) for a in (pixels, heat, weight, distances, body))
