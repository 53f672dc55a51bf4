"""Detectors: trained models that find the cells of a field."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import BundleError, ModelError
from hematovision.model.bundle import ONNX, Bundle, check_task, read_bundle
from hematovision.model.registry import DEFAULT_DETECTOR, find_model
from hematovision.model.self_test import SelfTest, run_detector_self_test
from hematovision.model.session import open_session, read_detector_ports, run_one
from hematovision.model.suppression import suppressed
from hematovision.taxonomy import Taxonomy

__all__ = ["PADDING", "CellFinder", "Detections", "Detector"]

PADDING = 128
"""Grey of the pixels to the right of and below an image whose sides are not multiples of
`Detector.multiple`, as in training. The network's own padding is the same grey."""

_LOG = logging.getLogger(__name__)

_LEAST = 1e-6
"""Heat is at least this, and at most 1 less it, so that its logit is finite."""


@dataclass(frozen=True, eq=False)
class Detections:
    """Cells found in an image, as arrays with one entry per cell."""

    boxes: NDArray[np.float32]  # (N, 4): x_min, y_min, x_max, y_max in pixels
    scores: NDArray[np.float32]  # (N, C): calibrated probability of each class, by itself
    labels: NDArray[np.intp]  # (N,): index of the class
    points: NDArray[np.int32]  # (N, 2): x and y of the place in the map of heat that found it

    @classmethod
    def empty(cls, classes: int) -> Detections:
        """Return no cells."""
        return cls(
            np.zeros((0, 4), np.float32),
            np.zeros((0, classes), np.float32),
            np.zeros(0, np.intp),
            np.zeros((0, 2), np.int32),
        )

    @classmethod
    def joined(cls, parts: list[Detections]) -> Detections:
        """Return the cells of several, at least one."""
        return cls(
            np.concatenate([one.boxes for one in parts]),
            np.concatenate([one.scores for one in parts]),
            np.concatenate([one.labels for one in parts]),
            np.concatenate([one.points for one in parts]),
        )

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, chosen: NDArray[np.bool_] | NDArray[np.intp] | slice) -> Detections:
        return Detections(
            self.boxes[chosen], self.scores[chosen], self.labels[chosen], self.points[chosen]
        )

    @property
    def confidence(self) -> NDArray[np.float32]:
        """The probability of each cell's own class, (N,)."""
        return self.scores[np.arange(len(self)), self.labels]


class CellFinder(Protocol):
    """What field analysis needs of a detector; thread-safe. `Detector` is one.

    Attributes
    ----------
    classes : tuple of str
        The classes, in the order of `Detections.scores`.
    red_cell_px : float
        Width of the median red cell at the finder's scale, in pixels of its input.
    multiple : int
        Tiles start at multiples of it, so that the network samples them like the whole image.
    stride : int
        Pixels per place of the map of heat, see `Detections.points`.
    min_confidence : float
        Cells less confident need review.
    identity : mapping
        What its results depend on.
    """

    @property
    def classes(self) -> tuple[str, ...]: ...  # noqa: D102 - described above

    @property
    def red_cell_px(self) -> float: ...  # noqa: D102

    @property
    def multiple(self) -> int: ...  # noqa: D102

    @property
    def stride(self) -> int: ...  # noqa: D102

    @property
    def min_confidence(self) -> float: ...  # noqa: D102

    @property
    def identity(self) -> Mapping[str, str | float]: ...  # noqa: D102

    def candidates(self, pixels: NDArray[np.uint8]) -> Detections:
        """Return the peaks in an image (H, W, 3) that are likely enough, with duplicates."""

    def distinct(self, found: Detections) -> Detections:
        """Return `found` without duplicates."""


class Detector:
    """A trained detector; thread-safe.

    Its input is white-balanced (`preprocessing.rebalanced`) and scaled so that the median red cell
    is `red_cell_px` wide; `fields.FieldAnalyzer` does both.

    Parameters
    ----------
    bundle : Bundle
        From `read_bundle`.

    Raises
    ------
    BundleError
        If it is a classifier, or the model does not match its manifest.

    Examples
    --------
    >>> detector = Detector.load("blood-fields")  # doctest: +SKIP
    >>> len(detector.detect(pixels))  # doctest: +SKIP
    41
    """

    def __init__(self, bundle: Bundle) -> None:
        check_task(bundle, "detection")
        detection = bundle.manifest.detection
        assert detection is not None
        self.bundle = bundle
        name = str(bundle.folder / ONNX)
        self._session = open_session(
            bundle.read(ONNX), bundle.external_weights(), name=name, any_size=True
        )
        channels = read_detector_ports(self._session, len(self.classes), name=name)
        if bundle.manifest.outputs and dict(bundle.manifest.outputs) != channels:
            raise BundleError(
                f"{name}: the outputs have {dict(channels)} channels, bundle.json lists "
                f"{dict(bundle.manifest.outputs)}. They do not belong together."
            )
        self.red_cell_px, self.stride = detection.red_cell_px, detection.stride
        self.multiple, self._box_scale = detection.multiple, np.float32(detection.box_scale)
        self.thresholds = detection.thresholds
        self._least = np.array([detection.thresholds[c] for c in self.classes], np.float32)
        self._calibration = np.array([detection.calibration[c] for c in self.classes], np.float32)
        _LOG.info("Detector %s: %s, SHA-256 %s.", bundle.name, name, bundle.manifest.files[ONNX])

    @classmethod
    def load(cls, name_or_path: str | Path = DEFAULT_DETECTOR) -> Detector:
        """Open a bundled detector or a folder; see `find_model`.

        Raises
        ------
        ModelNotFoundError
            If there is no such model.
        BundleError
            If it is a classifier, or is incomplete, altered or of a newer schema.
        """
        return cls(read_bundle(find_model(name_or_path)))

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, in the order of `Detections.scores`."""
        return self.taxonomy.classes

    @property
    def taxonomy(self) -> Taxonomy:
        """The classes, with the taxonomy's name and the aliases."""
        return self.bundle.taxonomy

    @property
    def min_confidence(self) -> float:
        """Cells less confident need review."""
        return self.bundle.thresholds.min_confidence

    @property
    def identity(self) -> Mapping[str, str | float]:
        """Hash of the graph, its thresholds, its calibration and the factor of its boxes."""
        manifest = self.bundle.manifest
        numbers = [*self._least.tolist(), *self._calibration.ravel().tolist()]
        numbers += [] if self._box_scale == 1 else [float(self._box_scale)]
        return {
            "detector": manifest.files[ONNX],
            "detector_backbone": manifest.backbone.sha256,
            "detector_min_confidence": self.min_confidence,
            "detector_thresholds": " ".join(f"{number:.6g}" for number in numbers),
            "detector_scale": self.red_cell_px,
        }

    def self_test(self) -> SelfTest:
        """Return the largest heat of each class in a synthetic field; see `self_test`."""
        detection = self.bundle.manifest.detection
        assert detection is not None
        return run_detector_self_test(self._session, detection)

    def detect(self, pixels: NDArray[np.uint8]) -> Detections:
        """Find the cells of an image at the detector's scale.

        The whole image is in memory at once; `fields.FieldAnalyzer` cuts large ones into tiles.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (H, W, 3)
            RGB, white-balanced and scaled; see `Detector`.

        Returns
        -------
        Detections
            Each cell once, most confident first, as confident as the class's threshold or more.
            Boxes are in pixels of the input, clipped to it.

        Raises
        ------
        ModelError
            If the dtype or shape is wrong, or the graph fails.
        """
        return self.distinct(self.candidates(pixels))

    def candidates(self, pixels: NDArray[np.uint8]) -> Detections:
        """Return the peaks of heat as confident as their class's threshold, with duplicates."""
        heat, distances = self._run(pixels)
        peaks = _local_maxima(heat)
        scores = _calibrated(peaks, self._calibration)
        found = (heat == peaks) & (scores >= self._least)
        height, width = pixels.shape[:2]
        rows, columns, labels = np.nonzero(found)
        x, y = ((places + 0.5) * np.float32(self.stride) for places in (columns, rows))
        left, top, right, bottom = self._box_scale * distances[rows, columns].T
        boxes = np.stack([x - left, y - top, x + right, y + bottom], axis=1)
        low, high = np.zeros(4, np.float32), np.array([width, height] * 2, np.float32)
        boxes = np.clip(boxes, low, high).astype(np.float32)
        usable = (boxes[:, 2:] > boxes[:, :2]).all(axis=1) & (x < width) & (y < height)
        points = np.stack([columns, rows], axis=1).astype(np.int32)
        return Detections(boxes, scores[rows, columns], labels, points)[usable]

    def distinct(self, found: Detections) -> Detections:
        """Return the cells without duplicates (`suppressed`), most confident first."""
        confidence = found.confidence
        gone = suppressed(found.boxes, confidence, found.labels, classes=self.classes)
        order = np.lexsort((found.boxes[:, 0], found.boxes[:, 1], -confidence))
        return found[order[~gone[order]]]

    def _run(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
            raise ModelError(
                "A field must be uint8 RGB of shape (H, W, 3). Received: "
                f"{pixels.dtype} {pixels.shape}."
            )
        height, width = pixels.shape[:2]
        sides = [-(-side // self.multiple) * self.multiple for side in (height, width)]
        padded = np.full((1, *sides, 3), PADDING, np.uint8)
        padded[0, :height, :width] = pixels
        heat, distances = run_one(self._session, ("heat", "distances"), padded)
        expected = tuple(side // self.stride for side in sides)
        if heat.shape[1:3] != expected or distances.shape[1:3] != expected:
            raise ModelError(
                f"{self.bundle.folder}: the detector's outputs must have {expected} places for an "
                f"input of {sides} pixels. Received: {heat.shape[1:3]} and {distances.shape[1:3]}."
            )
        return heat[0], np.maximum(distances[0], 0)


def _local_maxima(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the largest heat of each place and its eight neighbours, by class, (H, W, C)."""
    padded = np.pad(heat, ((1, 1), (1, 1), (0, 0)), constant_values=-1)
    rows = np.maximum(np.maximum(padded[:-2], padded[1:-1]), padded[2:])
    return np.asarray(np.maximum(np.maximum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:]))


def _calibrated(heat: NDArray[np.float32], calibration: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return ``sigmoid(a * logit(heat) + b)`` by class."""
    limited = np.clip(heat, _LEAST, 1 - _LEAST)
    logits = np.log(limited) - np.log1p(-limited)
    a, b = calibration.T
    return np.asarray(1 / (1 + np.exp(-np.clip(a * logits + b, -80, 80))), np.float32)
