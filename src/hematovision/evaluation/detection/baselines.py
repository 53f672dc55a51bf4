"""Two simple methods on the same fields, so that a detector's scores can be put in proportion.

`Watershed` finds cells without training: a threshold on the stain separates cells from background,
the distance transform and a watershed separate cells that touch (Vincent & Soille 1991, "Watersheds
in digital spaces", IEEE PAMI 13:583-598), and nuclei and platelets are what absorbs red light.
`AreaCount` counts red cells only: stained area over the area of a single red cell.

Their few settings are fitted on training fields by coordinate search.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hematovision.data.labelled_fields import LabelledFields
from hematovision.errors import AnnotationError, ImageError
from hematovision.evaluation.detection.matching import EvaluatedField, FoundCells, match_counts
from hematovision.extras import needs_extra
from hematovision.progress import Progress, no_progress

__all__ = [
    "AREA_RULE", "MOST_FIELDS", "RED", "WATERSHED_RULE", "AreaCount", "Baselines", "TrainingField",
    "Watershed", "red_cell_width", "training_fields",
]  # fmt: skip

WATERSHED_RULE = (
    "threshold of the stain (Otsu), distance transform, watershed; white cells and platelets by "
    "the size of what absorbs red light"
)
AREA_RULE = "red cells only: stained area / median area of a red cell"

RED, WHITE, PLATELET = range(3)

MOST_FIELDS = 16
"""Training fields to fit on, at most."""

_WIDTH = 26.0  # pixels of a red cell after scaling
_LONGEST = 256  # side in pixels of the image in which the scale is looked for
_NARROW = 1.08  # a red cell's outline / what the threshold leaves of it

_Image = NDArray[np.uint8]
_Floats = NDArray[np.float64]
_Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class TrainingField:
    """One annotated field to fit on."""

    pixels: _Image  # shape (H, W, 3)
    boxes: _Floats  # shape (N, 4)
    labels: NDArray[np.int64]  # shape (N,)
    annotated: frozenset[int]  # classes that the lab annotates

    def with_found(self, found: FoundCells) -> EvaluatedField:
        """Return the field for scoring."""
        return EvaluatedField("", self.boxes, self.labels, found, self.annotated)


_GRID: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "stain": (0.6, 0.8, 1.0, 1.2),
        "nucleus": (0.25, 0.35, 0.45, 0.55, 0.65),
        "white_area": (0.1, 0.2, 0.35, 0.5, 0.8),
        "distance": (0.3, 0.4, 0.5, 0.6, 0.7),
        "platelet_area": (0.01, 0.02, 0.04, 0.08),
        "margin": (0.0, 0.1, 0.2, 0.3),
    }
)
"""The values that `Watershed.fit` tries, in this order of settings."""


@dataclass(frozen=True)
class Watershed:
    """Cells by a watershed, with its settings; the defaults were fitted on BCCD's training fields.

    Distances are in red-cell diameters, areas in areas of a red cell.
    """

    stain: float = 0.8  # threshold of the absorbance of green light, times Otsu's
    nucleus: float = 0.65  # the same of red light, over the strongest
    white_area: float = 0.2  # least area of the nuclei of a white cell
    distance: float = 0.6  # least distance between the centres of two cells
    platelet_area: float = 0.01  # least area of a platelet
    margin: float = 0.3  # from the nuclei of a white cell to its outline
    width: float | None = None  # of a red cell in pixels; None to estimate it in each field

    def find(self, pixels: _Image) -> FoundCells:
        """Find the cells of a field (H, W, 3); all have the same confidence.

        Raises
        ------
        MissingExtraError
            If scikit-image is not installed.
        """
        return self._find(_View.of(pixels, self.width))

    def _find(self, view: _View) -> FoundCells:
        from skimage import measure

        stained = _stained(view.absorbance, self.stain)
        nuclei = _nuclei(view.absorbance, self.nucleus) & stained
        whites, platelets = self._nucleated(nuclei)
        found = {
            RED: self._red_cells(stained & ~whites & ~platelets),
            WHITE: measure.label(whites),
            PLATELET: measure.label(platelets),
        }
        boxes, labels = [], []
        for label, regions in found.items():
            for region in measure.regionprops(regions):
                top, left, bottom, right = region.bbox
                boxes.append([side / view.scale for side in (left, top, right, bottom)])
                labels.append(label)
        limits = np.array([view.size[1], view.size[0]] * 2, np.float64)
        return FoundCells.of(np.minimum(np.reshape(boxes, (-1, 4)), limits), labels, 1.0)

    @classmethod
    def fit(cls, fields: Sequence[TrainingField], progress: Progress = no_progress) -> Watershed:
        """Return the settings with the best mean F1 over classes, by centre distance.

        First the width of a red cell is that of the annotated ones, if that is better than
        estimating it; then one setting after the other is set to its best value, the others kept.
        At most `MOST_FIELDS` fields are used, evenly spread.
        """
        some, total = _spread(fields), 2 + sum(map(len, _GRID.values()))
        widths = (None, _annotated_width(some))
        views = {width: [_View.of(one.pixels, width) for one in some] for width in widths}
        tries: list[tuple[str, Any]] = [("width", width) for width in views]
        tries += [(name, value) for name, values in _GRID.items() for value in values]
        best, score = cls(), -1.0
        for done, (name, value) in enumerate(tries):
            progress(done, total, "fitting the baseline", "settings")
            tried = replace(best, **{name: value})
            if score < 0 or tried != best:
                found = [tried._find(view) for view in views[tried.width]]
                reached = _mean_f1([a.with_found(b) for a, b in zip(some, found, strict=True)])
                best, score = (tried, reached) if reached > score else (best, score)
        progress(total, total, "fitting the baseline", "settings")
        return best

    def _nucleated(self, nuclei: _Mask) -> tuple[_Mask, _Mask]:
        """Return the white cells and the platelets, by the area of what absorbs red light."""
        from scipy import ndimage
        from skimage import measure, morphology

        red_area = np.pi * (_WIDTH / 2) ** 2
        # The lobes of a nucleus are one cell.
        joined = morphology.closing(nuclei, morphology.disk(int(0.2 * _WIDTH)))
        regions = measure.label(joined)
        areas = np.bincount(regions.ravel(), weights=nuclei.ravel()) / red_area
        areas[0] = 0
        whites = (areas >= self.white_area)[regions]
        reach = self.margin * _WIDTH
        if reach and whites.any():
            whites = ndimage.distance_transform_edt(~whites) <= reach
        platelets = ((areas >= self.platelet_area) & (areas < self.white_area))[regions] & ~whites
        return whites, platelets

    def _red_cells(self, mask: _Mask) -> NDArray[np.int64]:
        """Return the regions of red cells in a mask of stain, numbered from 1."""
        from scipy import ndimage
        from skimage import feature, morphology, segmentation

        mask = morphology.opening(mask, morphology.disk(2))
        depth = ndimage.gaussian_filter(_depth(mask), 1.0)
        peaks = feature.peak_local_max(
            depth,
            min_distance=max(1, round(self.distance * _WIDTH)),
            threshold_abs=0.15 * _WIDTH,
            exclude_border=False,
        )
        seeds = np.zeros(mask.shape, np.int64)
        seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
        return np.asarray(segmentation.watershed(-depth, seeds, mask=mask), np.int64)


@dataclass(frozen=True)
class AreaCount:
    """The number of red cells as stained area over the area of a single one."""

    stain: float = 0.8  # these three as in `Watershed`
    nucleus: float = 0.65
    width: float | None = None
    cells_per_area: float = 0.65  # annotated cells / estimated ones, on training fields

    def count(self, pixels: _Image) -> float:
        """Return the estimated number of red cells in a field (H, W, 3)."""
        view = _View.of(pixels, self.width)
        stained = _stained(view.absorbance, self.stain) & ~_nuclei(view.absorbance, self.nucleus)
        return self.cells_per_area * float(stained.sum()) / (np.pi * (_WIDTH / 2) ** 2)

    @classmethod
    def fit(cls, fields: Sequence[TrainingField], segmentation: Watershed) -> AreaCount:
        """Take the thresholds of a fitted segmentation, and the number of cells per area."""
        counter = cls(segmentation.stain, segmentation.nucleus, segmentation.width, 1.0)
        some = [one for one in _spread(fields) if (one.labels == RED).any()]
        estimated = sum(counter.count(one.pixels) for one in some)
        annotated = sum(int((one.labels == RED).sum()) for one in some)
        return replace(counter, cells_per_area=annotated / estimated) if estimated else counter


@dataclass(frozen=True, eq=False)
class Baselines:
    """Both baselines, and what they were fitted on."""

    watershed: Watershed = field(default_factory=Watershed)
    area: AreaCount = field(default_factory=AreaCount)
    fitted_on: str = "training fields of BCCD"

    @classmethod
    def fit(
        cls, fields: Sequence[TrainingField], fitted_on: str, progress: Progress = no_progress
    ) -> Baselines:
        """Fit both on some fields, which `fitted_on` describes; without fields, the defaults."""
        if not fields:
            return cls()
        segmentation = Watershed.fit(fields, progress)
        return cls(segmentation, AreaCount.fit(fields, segmentation), fitted_on)

    @classmethod
    def fit_split(
        cls, data: LabelledFields, evaluated: str | None = None, progress: Progress = no_progress
    ) -> Baselines:
        """Fit both on the training split, unless that is evaluated or does not exist.

        Unreadable fields are ignored.
        """
        if evaluated in ("train", "all") or "train" not in data.splits:
            return cls()
        train = data.subset("train")
        return cls.fit(training_fields(train), f"{len(train)} training fields", progress)


def training_fields(data: LabelledFields, most: int = MOST_FIELDS) -> list[TrainingField]:
    """Read up to `most` fields, evenly spread, for fitting baselines."""
    annotated = frozenset(data.taxonomy.index(name) for name in data.annotated)
    places = np.unique(np.linspace(0, len(data) - 1, min(most, len(data))).astype(int))
    fields = []
    for place in places:
        try:
            loaded = data.fields[place].load()
        except (ImageError, AnnotationError):
            continue
        fields.append(TrainingField(loaded.pixels, loaded.boxes, loaded.labels, annotated))
    return fields


@dataclass(frozen=True, eq=False)
class _View:
    """A field scaled so that a red cell is `_WIDTH` pixels wide."""

    absorbance: _Floats  # shape (h, w, 3)
    scale: float
    size: tuple[int, int]  # height and width of the field

    @classmethod
    def of(cls, pixels: _Image, width: float | None) -> _View:
        scale = _WIDTH / (width or red_cell_width(pixels))
        height, width_ = pixels.shape[:2]
        # A field has red cells: at most 100, and at least one, across its longer side.
        scale = min(max(scale, _WIDTH / max(height, width_)), 100 * _WIDTH / max(height, width_))
        return cls(_absorbance(_scaled(pixels, scale)), scale, (height, width_))


def red_cell_width(pixels: _Image) -> float:
    """Estimate the width of the median red cell of a field (H, W, 3), in pixels.

    Twice the weighted median depth of the maxima of the distance transform, weighted by area: cells
    that touch have a maximum each.
    """
    with needs_extra("eval", "The baselines"):
        from scipy import ndimage
        from skimage import feature, morphology
    scale = min(1.0, _LONGEST / max(pixels.shape))
    mask = _stained(_absorbance(_scaled(pixels, scale)), 1.0, blur=1.5)
    depth = ndimage.gaussian_filter(_depth(morphology.opening(mask, morphology.disk(2))), 1.0)
    peaks = feature.peak_local_max(depth, min_distance=3, threshold_abs=3, exclude_border=False)
    depths = np.sort(depth[tuple(peaks.T)])
    if not len(depths):
        return float(min(pixels.shape[:2])) / 10
    total = np.cumsum(depths**2)
    middle = depths[np.searchsorted(total, total[-1] / 2)]
    return float(_NARROW * 2 * middle / scale)


def _absorbance(pixels: _Image) -> _Floats:
    """Return minus the logarithm of the light that passes, relative to the background."""
    light = pixels.astype(np.float64) + 1.0
    background = np.percentile(light.reshape(-1, 3), 95, axis=0)
    return np.clip(-np.log(light / background), 0.0, None)


def _stained(absorbance: _Floats, factor: float, blur: float = 1.0) -> _Mask:
    """Return where green light is absorbed; holes are filled."""
    from scipy import ndimage
    from skimage import filters

    green = ndimage.gaussian_filter(absorbance[..., 1], blur)
    green = np.minimum(green, np.percentile(green, 85))  # nuclei don't count more than red cells
    if green.min() == green.max():
        return np.zeros(green.shape, np.bool_)
    mask = green > factor * filters.threshold_otsu(green)
    return np.asarray(ndimage.binary_fill_holes(mask), np.bool_)


def _nuclei(absorbance: _Floats, threshold: float) -> _Mask:
    """Return where red light is absorbed, which eosin and haemoglobin let pass."""
    from scipy import ndimage

    red = ndimage.gaussian_filter(absorbance[..., 0], 1.0)
    return np.asarray(red > threshold * max(0.3, float(np.percentile(red, 99.8))))


def _depth(mask: _Mask) -> _Floats:
    """Return the distance to the edge of a mask; the border of the image is none."""
    from scipy import ndimage

    padded = np.pad(mask, 1, mode="edge")
    return np.asarray(ndimage.distance_transform_edt(padded)[1:-1, 1:-1])


def _scaled(pixels: _Image, scale: float) -> _Image:
    height, width = (max(8, round(side * scale)) for side in pixels.shape[:2])
    how = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(pixels).resize((width, height), how))


def _spread(fields: Sequence[TrainingField]) -> list[TrainingField]:
    if len(fields) <= MOST_FIELDS:
        return list(fields)
    return [fields[i] for i in np.linspace(0, len(fields) - 1, MOST_FIELDS).astype(int)]


def _annotated_width(fields: Sequence[TrainingField]) -> float | None:
    sides = [
        (one.boxes[one.labels == RED, 2:] - one.boxes[one.labels == RED, :2]).mean(axis=1)
        for one in fields
    ]
    known = np.concatenate(sides) if sides else np.zeros(0)
    return float(np.median(known)) if len(known) else None


def _mean_f1(fields: Sequence[EvaluatedField]) -> float:
    return float(np.mean(list(_f1_of_classes(fields)) or [0.0]))


def _f1_of_classes(fields: Sequence[EvaluatedField]) -> Iterator[float]:
    for index in (RED, WHITE, PLATELET):
        counts = [match_counts(one, index) for one in fields if index in one.annotated]
        matched, found, annotated = np.sum(counts, axis=0) if counts else (0, 0, 0)
        if annotated:
            yield 2 * matched / (found + annotated)
