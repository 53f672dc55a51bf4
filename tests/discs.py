"""Fields of coloured discs with exact truth, and a finder that is right about discs.

The finder behaves like the detector: it knows discs of about one size only, and returns each at the
place of its centre, with a duplicate.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from hematovision.model.detector import Detections

COLOURS = np.array([(226, 150, 156), (120, 84, 170), (176, 120, 220)], np.float32)
BACKGROUND = np.array((240, 232, 236), np.float32)
WIDTHS = (1.0, 1.8, 0.35)
"""Widths of red cells, white cells and platelets, in red cells."""


@dataclass(frozen=True)
class DiscField:
    image: np.ndarray
    boxes: np.ndarray  # (N, 4), not clipped
    labels: np.ndarray  # (N,)

    @property
    def clipped(self) -> np.ndarray:
        height, width = self.image.shape[:2]
        return self.boxes.clip(0, np.array([width, height] * 2))


def disc_field(size=(480, 640), diameter=72.0, seed=0, share=0.6, spacing=2.1) -> DiscField:
    """Discs on a jittered grid that extends beyond the border; they do not touch."""
    height, width = size
    rng = np.random.default_rng(seed)
    step = spacing * diameter
    rows, columns = (int(side / step) + 3 for side in size)
    places = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1).reshape(-1, 2)
    places = places[rng.random(len(places)) < share] * step
    places = places + rng.uniform(-0.1, 0.1, places.shape) * step
    labels = rng.choice(3, len(places), p=[0.86, 0.06, 0.08])
    radii = diameter / 2 * np.array(WIDTHS)[labels] * rng.uniform(0.93, 1.07, len(places))
    image = np.broadcast_to(BACKGROUND, (height, width, 3)).copy()
    for (x, y), radius, label in zip(places, radii, labels, strict=True):
        _paint(image, x, y, radius, COLOURS[label])
    boxes = np.concatenate([places - radii[:, None], places + radii[:, None]], axis=1)
    seen = (boxes[:, 2:] > 1).all(axis=1) & (boxes[:, :2] < np.array([width, height]) - 1).all(
        axis=1
    )
    return DiscField(np.rint(image).astype(np.uint8), boxes[seen], labels[seen])


def _paint(image, x, y, radius, colour):
    height, width = image.shape[:2]
    x0, x1 = (int(np.clip(v, 0, width)) for v in (x - radius - 2, x + radius + 3))
    y0, y1 = (int(np.clip(v, 0, height)) for v in (y - radius - 2, y + radius + 3))
    ys, xs = np.mgrid[y0:y1, x0:x1] + 0.5
    cover = np.clip(radius - np.hypot(xs - x, ys - y) + 0.5, 0, 1)[..., None]
    image[y0:y1, x0:x1] += cover * (colour - image[y0:y1, x0:x1])


class DiscFinder:
    """A `CellFinder` for discs."""

    classes = ("RBC", "WBC", "Platelets")
    red_cell_px = 36.0
    multiple, stride = 32, 4
    min_confidence = 0.5
    identity: Mapping[str, str | float] = {"detector": "discs", "detector_min_confidence": 0.5}

    def __init__(self) -> None:
        self.pixels = 0  # looked at so far

    def candidates(self, pixels: np.ndarray) -> Detections:
        self.pixels += pixels.shape[0] * pixels.shape[1]
        distance = np.abs(pixels.astype(np.float32) - 128).max(axis=2)
        inside = (pixels.min(axis=2) < 195) & (distance > 4)
        numbered, _ = ndimage.label(inside)
        boxes, labels = [], []
        for number, place in enumerate(ndimage.find_objects(numbered), 1):
            rows, columns = place
            box = (columns.start, rows.start, columns.stop, rows.stop)
            mean = pixels[place][numbered[place] == number].mean(axis=0)
            label = int(np.abs(COLOURS - mean).sum(axis=1).argmin())
            wide = max(box[2] - box[0], box[3] - box[1]) / 36 / WIDTHS[label]
            if 0.65 < wide < 1.5:
                boxes.append(box)
                labels.append(label)
        found = np.array(boxes, np.float32).reshape(-1, 4)
        scores = np.full((len(found), 3), 0.02, np.float32)
        scores[np.arange(len(found)), labels] = 0.96
        points = ((found[:, :2] + found[:, 2:]) / 2 // self.stride).astype(np.int32)
        one = Detections(found, scores, np.array(labels, np.intp), points)
        return Detections.joined([one, Detections(found, scores * 0.9, one.labels, points)])

    def distinct(self, found: Detections) -> Detections:
        order = np.lexsort((found.boxes[:, 0], found.boxes[:, 1], -found.confidence))
        found = found[order]
        _, first = np.unique(found.boxes, axis=0, return_index=True)
        return found[np.sort(first)]
