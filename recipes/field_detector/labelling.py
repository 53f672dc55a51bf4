"""Pseudo-labels: the cells that the detector itself finds in images without boxes.

Confident cells are labels, doubtful ones are ignored, and what is left counts as background with a
low weight. White cells that a person boxed are kept (Lee 2013, "Pseudo-Label").
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from recipes.field_detector.batches import RED_CELL_PX, STRIDE
from recipes.field_detector.fields import STORED_PX, Field, with_labels
from recipes.field_detector.network import Detector

__all__ = ["label_fields", "peaks"]

_SURE = 0.45
_DOUBTFUL = 0.1
_KNOWN = (0.4, 0.4, 0.3)
_OVERLAP = 0.55  # IoU above which the less confident of two boxes is dropped


def label_fields(detector: Detector, fields: Sequence[Field], device: str) -> list[Field]:
    """Return the fields that have a cell, with their boxes completed by the detector."""
    return [new for field in fields if len((new := _label(detector, field, device)).boxes)]


def _label(detector: Detector, field: Field, device: str) -> Field:
    boxes, labels, scores = peaks(detector, field.pixels, RED_CELL_PX / STORED_PX, device)
    manual = field.boxes
    free = (
        _iou(boxes, manual).max(axis=1, initial=0.0) < 0.3
        if len(manual)
        else np.ones(len(boxes), bool)
    )
    sure, doubtful = free & (scores >= _SURE), free & (scores < _SURE)
    if field.known[1] == 1:  # Every white cell has a box.
        doubtful |= sure & (labels == 1)
        sure &= labels != 1
    known = tuple(max(a, b) for a, b in zip(_KNOWN, field.known, strict=True))
    return with_labels(
        field,
        np.concatenate([manual, boxes[sure]]),
        np.concatenate([field.labels, labels[sure]]),
        boxes[doubtful],
        (known[0], known[1], known[2]),
    )


@torch.no_grad()
def peaks(
    detector: Detector, pixels: NDArray[np.uint8], factor: float, device: str
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """Return boxes in pixels of the image, labels and scores of the peaks, by falling score."""
    height, width = pixels.shape[:2]
    size = (max(8, round(width * factor)), max(8, round(height * factor)))
    small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))
    canvas = np.full((-(-size[1] // 32) * 32, -(-size[0] // 32) * 32, 3), 128, np.uint8)
    canvas[: size[1], : size[0]] = small
    values = torch.from_numpy(canvas)[None].permute(0, 3, 1, 2).float().to(device) / 127.5 - 1.0
    logits, sides = detector.eval()(values)
    heat = logits.sigmoid()
    top = functional.max_pool2d(heat, 3, 1, 1)
    keep = (heat == top) & (heat >= _DOUBTFUL)
    _, labels, rows, columns = (a.cpu().numpy() for a in keep.nonzero(as_tuple=True))
    scores = heat[0].cpu().numpy()[labels, rows, columns]
    left, above, right, below = sides[0].cpu().numpy()[:, rows, columns]
    x, y = (columns + 0.5) * STRIDE, (rows + 0.5) * STRIDE
    boxes = np.stack([x - left, y - above, x + right, y + below], axis=1)
    boxes = (boxes.clip(0, [size[0], size[1]] * 2) / factor).astype(np.float32)
    kept = _distinct(boxes, scores)
    return boxes[kept], labels[kept].astype(np.int64), scores[kept].astype(np.float32)


def _distinct(boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> list[int]:
    kept: list[int] = []
    for index in np.argsort(-scores):
        if not kept or _iou(boxes[[index]], boxes[kept]).max() < _OVERLAP:
            kept.append(int(index))
    return kept


def _iou(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = (high - low).clip(0).prod(axis=2)
    areas = [(b[:, 2:] - b[:, :2]).clip(1e-3).prod(axis=1) for b in (one, other)]
    return np.asarray(shared / (areas[0][:, None] + areas[1][None, :] - shared), np.float32)
