"""Field analysis: from the pixels of a field to its rows.

.. code-block:: text

    pixels -> white balance, eyepiece circle, scale, once per image -> detector, in tiles -> cells
           -> crops -> classifiers -> decisions -> edge rule -> one row per cell and one per field
"""

from __future__ import annotations

import copy
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.errors import BundleError, NotAnImageError
from hematovision.fields import quality
from hematovision.fields.analysis import FieldAnalyses, FieldAnalysis
from hematovision.fields.aperture import visible_part
from hematovision.fields.checkpoint import CheckedFinder, Checkpoint, no_checkpoint
from hematovision.fields.deciding import CellClassifier, ClassifiedCell
from hematovision.fields.edges import Circle, EdgeRule, Edges, Frame, apply_edge_rule, check_rule
from hematovision.fields.finding import FieldContext, FieldFinder, field_image, placed
from hematovision.fields.rows import (
    ANALYSIS_SCHEMA,
    CELL_CLASSES,
    AnalysisRow,
    CellRow,
    FieldRow,
    join_flags,
    split,
)
from hematovision.fields.scale import Scale, given_scale
from hematovision.fields.tiles import FieldImage, detect
from hematovision.images.geometry import check_rgb
from hematovision.model.classifier import Classifier
from hematovision.model.detector import CellFinder, Detections, Detector
from hematovision.model.inference import Item, infer
from hematovision.model.inputs import ImageInputs, items
from hematovision.model.registry import DEFAULT_DETECTOR, DEFAULT_MODEL, DEFAULT_SUBTYPES
from hematovision.model.session import reading_threads
from hematovision.regions import Region as SlideRegion
from hematovision.rows import Schema

__all__ = ["FieldAnalyzer", "Region"]

_VERSION = 2
"""Raised when the same image and models yield other rows."""

_EDGE = 1.4
"""A box this close to the border, in pixels at the detector's scale, touches it. In synthetic
fields as many boxes of cut cells end further inside as boxes of whole cells end nearer."""

_PIXELS_PER_THREAD = 2**23  # in memory at once, with those of all threads; two threads at least

_VIEW = 1024  # pixels of the longer side of the window in which focus and stain are measured
_SAMPLE = 512  # and of the copy in which saturation is


@dataclass(frozen=True)
class Region:
    """Where the pixels passed to `FieldAnalyzer.analyze_region` are in a slide.

    Parameters
    ----------
    core : tuple of int
        ``(x_min, y_min, x_max, y_max)`` in pixels as passed: cells with their centre inside belong
        to the region. Outside it is the margin, at least 1.5 white cells wide, except at the border
        of the slide.
    origin : tuple of float
        Column and row of the first pixel, in pixels of level 0.
    downsample : float
        Pixels of level 0 per pixel as passed.
    frame : tuple of float or None
        The whole analysed part of the slide, in pixels of level 0, for the edge rule; None if it
        cuts no cells.
    name : str
        The region in the rows.
    """

    core: tuple[int, int, int, int]
    origin: tuple[float, float] = (0.0, 0.0)
    downsample: float = 1.0
    frame: Frame | None = None
    name: str = ""


class FieldAnalyzer:
    """Finds, classifies and counts the cells of fields: a `Predictor` with many rows per image.

    Parameters
    ----------
    finder : CellFinder
        The detector.
    crops : Classifier, optional
        Checks the class of doubtful cells, white cells and platelets.
    subtypes : Classifier, optional
        Classifies white cells.
    scale : Scale, optional
        The scale of all fields; by default measured in each.
    edges : {"two", "inside", "all"}
        See `edges.apply_edge_rule`.
    workers : int, optional
        How many fields are analysed at once; by default one more than usable CPUs.
    max_pixels : int
        Images with more pixels are rejected before decoding.
    max_scaled_pixels : int, optional
        Fields that would have more pixels at the detector's scale, where red cells have one width,
        are rejected. The time that a field takes grows with these pixels.

    Attributes
    ----------
    budget : PixelBudget
        Limits the pixels of fields that are read and analysed at once, on all threads.

    Raises
    ------
    BundleError
        If the detector finds other classes than red cells, white cells and platelets.

    Examples
    --------
    >>> import hematovision
    >>> analyzer = hematovision.FieldAnalyzer.load()
    >>> analyzer
    FieldAnalyzer('blood-fields', white cells by 'white-cells')
    >>> analyzer.predict("field.png")[0]
    FieldAnalysis('field.png': 35 RBC, 1 WBC, 3 Platelets)
    """

    schema: Schema = ANALYSIS_SCHEMA
    classes: tuple[str, ...] = CELL_CLASSES
    explains: bool = False

    def __init__(
        self,
        finder: CellFinder,
        crops: Classifier | None = None,
        subtypes: Classifier | None = None,
        *,
        scale: Scale | None = None,
        edges: EdgeRule = "two",
        workers: int | None = None,
        max_pixels: int = images.MAX_PIXELS,
        max_scaled_pixels: int | None = None,
    ) -> None:
        for name, model in (("detector", finder), ("crop classifier", crops)):
            if model is not None and sorted(model.classes) != sorted(CELL_CLASSES):
                raise BundleError(
                    f"Field analysis needs a {name} of the classes {', '.join(CELL_CLASSES)}. "
                    f"Received: {', '.join(model.classes)}."
                )
        self.finder, self.crops, self.subtypes = finder, crops, subtypes
        self._cells = CellClassifier(crops, subtypes, finder.min_confidence)
        self.scale, self.edges = scale, check_rule(edges)
        self._fields = FieldFinder(finder, scale=scale, max_scaled_pixels=max_scaled_pixels)
        self.threads = max(1, workers or reading_threads())
        self.max_pixels, self.max_scaled_pixels = max_pixels, max_scaled_pixels
        self.budget = images.PixelBudget(max(2, self.threads) * _PIXELS_PER_THREAD)
        self._checkpoint: Checkpoint = no_checkpoint

    @classmethod
    def load(
        cls,
        detector: str | Path = DEFAULT_DETECTOR,
        classifier: str | Path | None = DEFAULT_SUBTYPES,
        *,
        rbc_diameter: float | None = None,
        um_per_px: float | None = None,
        edges: str = "two",
        workers: int | None = None,
        max_pixels: int = images.MAX_PIXELS,
        max_scaled_pixels: int | None = None,
    ) -> FieldAnalyzer:
        """Open the models by name or folder; see `find_model`.

        Parameters
        ----------
        detector : str or Path
            Finds the cells.
        classifier : str or Path or None
            Classifies the white cells; None or ``"none"`` to leave it out.
        rbc_diameter : float, optional
            Diameter of a red cell in pixels, instead of measuring it in each field.
        um_per_px : float, optional
            Micrometres per pixel, instead of measuring it; a red cell is 7.2 um wide.
        edges : {"two", "inside", "all"}
            Which cells at the border count.
        workers, max_pixels, max_scaled_pixels
            See `FieldAnalyzer`.

        Raises
        ------
        ModelNotFoundError, BundleError
            If a model is missing, damaged or of the wrong task.
        ValueError
            If the scale or the edge rule is invalid.

        Examples
        --------
        >>> import hematovision
        >>> hematovision.FieldAnalyzer.load("blood-fields", None, edges="all")
        FieldAnalyzer('blood-fields')
        """
        scale = given_scale(rbc_diameter=rbc_diameter, um_per_px=um_per_px)
        names = [DEFAULT_MODEL, *([] if classifier in (None, "none") else [str(classifier)])]
        with ThreadPoolExecutor() as pool:
            opening = [pool.submit(Classifier.load, name, workers=1) for name in names]
            finder = Detector.load(detector)
        crops, *subtypes = (one.result() for one in opening)
        return cls(
            finder,
            crops,
            subtypes[0] if subtypes else None,
            scale=scale,
            edges=check_rule(edges),
            workers=workers,
            max_pixels=max_pixels,
            max_scaled_pixels=max_scaled_pixels,
        )

    def __repr__(self) -> str:
        name = getattr(getattr(self.finder, "bundle", None), "name", type(self.finder).__name__)
        white = f", white cells by {self.subtypes.bundle.name!r}" if self.subtypes else ""
        return f"FieldAnalyzer({name!r}{white})"

    def predict(self, images: ImageInputs) -> FieldAnalyses:
        """Find, classify and count the cells of fields.

        Parameters
        ----------
        images : path, bytes, ndarray of uint8, Pillow image, or iterable of these
            As of `Classifier.predict`. A file that cannot be read has a `FieldRow` with an
            ``error``; the rest are processed normally. For whole slides, see `analyze`.

        Returns
        -------
        FieldAnalyses
            One `FieldAnalysis` per image, in order. Images passed in memory are kept for
            `FieldAnalysis.plot`; if they don't fit into memory, use `stream`.

        Raises
        ------
        TypeError
            If an input is none of these; the message states what to pass.
        DatasetError
            If a folder has no images, or no file matches a glob.
        ModelError
            If a model itself fails.

        Examples
        --------
        >>> import hematovision
        >>> analyses = hematovision.FieldAnalyzer.load().predict(["field.png", "fields"])
        >>> [one.counts["RBC"] for one in analyses]
        [35, 35, 29]
        """
        return FieldAnalyses(self.stream(images), self._subtypes)

    def stream(self, images: ImageInputs) -> Generator[FieldAnalysis, None, None]:
        """Analyse fields one by one, with only a few in memory; see `predict`.

        `images` are consumed lazily and may be endless.

        Examples
        --------
        >>> import hematovision
        >>> for analysis in hematovision.FieldAnalyzer.load().stream("field.png"):
        ...     print(analysis.field.image, analysis.counts["WBC"])
        field.png 1
        """
        return self._stream(items(images, max_pixels=self.max_pixels))

    def _stream(self, given: Iterable[Item]) -> Generator[FieldAnalysis, None, None]:
        with closing(infer(self, given)) as results:
            for result in results:
                cells, (field,) = split(result.rows)
                yield FieldAnalysis(field, tuple(cells), self._subtypes, result.source)

    @property
    def _subtypes(self) -> tuple[str, ...]:
        return () if self.subtypes is None else self.subtypes.classes

    def configured(
        self, *, scale: Scale | None, edges: EdgeRule, checkpoint: Checkpoint
    ) -> FieldAnalyzer:
        """Return an analyzer with other settings, and the same models, limits and memory budget.

        `checkpoint` is called between tiles and cells, and may raise an error to stop the analysis.
        """
        found = copy.copy(self)
        found.scale, found.edges = scale, check_rule(edges)
        found.finder, found._checkpoint = CheckedFinder(self.finder, checkpoint), checkpoint
        found._fields = FieldFinder(
            found.finder, scale=scale, max_scaled_pixels=self.max_scaled_pixels
        )
        found._cells = CellClassifier(
            self.crops, self.subtypes, self.finder.min_confidence, checkpoint
        )
        return found

    @property
    def identity(self) -> Mapping[str, str | float]:
        """The hashes and thresholds of all models, and all settings."""
        found: dict[str, str | float] = {**self.finder.identity}
        found["model"] = str(found.get("detector", ""))
        for name, model in (("crops", self.crops), ("classifier", self.subtypes)):
            values = {} if model is None else model.identity
            found |= {f"{name}_{key}": value for key, value in values.items()}
        found["edges"] = self.edges
        found["scale"] = self.scale.source if self.scale else "red cells"
        found["scale_px"] = self.scale.diameter if self.scale else 0.0
        found["analysis"] = float(_VERSION)
        return found

    def read(self, source: str | Path | bytes | NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
        """Read a field, or accept an RGB array.

        Raises
        ------
        ImageError
            If it cannot be read.
        ValueError
            If an array is not uint8 (H, W, 3).
        """
        if isinstance(source, np.ndarray):
            check_rgb(source)
            return source
        return images.read(source, name=name, max_pixels=self.max_pixels)

    def predict_rows(
        self,
        pixels: NDArray[np.uint8],
        name: str,
        *,
        explain: bool = False,  # noqa: ARG002 - a detector has no explanation maps
        metadata: float | None = None,
    ) -> tuple[list[AnalysisRow], None]:
        """Analyse one field: the row of the field, then those of its cells, top to bottom.

        `metadata` is the micrometres per pixel that the file states, used if the user gave no
        scale. See `Predictor`.
        """
        height, width = pixels.shape[:2]
        with self.budget.taken(height * width):
            return self._analyze(pixels, name, metadata), None

    def predict_file(
        self, source: str | Path | bytes, name: str
    ) -> tuple[NDArray[np.uint8], list[AnalysisRow]]:
        """Read a field and analyse it; return its pixels, and rows as of `predict_rows`.

        Only as many large fields are in memory at once as `budget` allows. A scale in the file's
        metadata is used.

        Raises
        ------
        ImageError
            If it cannot be read.
        """
        with images.opened(
            source,
            name=name,
            max_pixels=self.max_pixels,
            budget=self.budget,
            checkpoint=self._checkpoint,
        ) as pixels:
            return pixels, self._analyze(pixels, name, images.um_per_px(source))

    def predict_source(
        self, source: str | Path | SlideRegion | bytes | NDArray[np.uint8], name: str
    ) -> tuple[NDArray[np.uint8], list[AnalysisRow]]:
        """Analyse a file with its metadata, or an array; see `SourcePredictor`.

        Raises
        ------
        ImageError
            If it cannot be read, or is a region: `slides.FileAnalyzer` analyses slides.
        """
        if isinstance(source, SlideRegion):
            raise NotAnImageError(name, "regions are for slides. Use `hematovision analyze`.")
        if isinstance(source, np.ndarray):
            pixels = self.read(source, name)
            return pixels, self.predict_rows(pixels, name)[0]
        return self.predict_file(source, name)

    def unreadable_region(self, region: SlideRegion, name: str, reason: str) -> AnalysisRow:
        """Return the row of a region, none of which can be read."""
        return AnalysisRow(FieldRow.unreadable(name, reason, region.box))

    def _analyze(
        self, pixels: NDArray[np.uint8], name: str, metadata: float | None
    ) -> list[AnalysisRow]:
        height, width = pixels.shape[:2]
        context, sighting = self._fields.measure([pixels], metadata)
        field = field_image(pixels, context)
        found, size, context = self._fields.locate(field, context, sighting, name)
        area = Region((0, 0, width, height), frame=(0, 0, width, height))
        return self._rows(field, found, size, context, name, area)

    def prepare(
        self, samples: Sequence[NDArray[np.uint8]], *, metadata: float | None = None
    ) -> FieldContext:
        """Measure the background, the scale and the stain of a slide on samples of it.

        Parameters
        ----------
        samples : sequence of ndarray of uint8, shape (H, W, 3)
            At least one, at the resolution of `analyze_region`'s pixels; with tissue, best of
            several places.
        metadata : float, optional
            Micrometres per pixel at that resolution, as the file states.
        """
        context, _ = self._fields.measure(samples, metadata)
        return replace(context, circle=None, stain=self._fields.stain(samples, context))

    def grid(self, context: FieldContext) -> int:
        """Return the grid, in pixels as passed, on which the regions of a slide start and end.

        Regions on the grid sample their common pixels in the same way, and find the same cells.
        """
        scaled = self.finder.multiple * context.scale.diameter / self.finder.red_cell_px
        return max(1, round(scaled))

    def analyze_region(
        self, pixels: NDArray[np.uint8], context: FieldContext, region: Region, name: str
    ) -> list[AnalysisRow]:
        """Analyse one region of a slide: its row, then those of the cells in its core.

        Scale and background are those of `context`, the same for every region of the slide. Boxes
        are in pixels of level 0.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (H, W, 3)
            The region with its margin. Its border should be on the slide's `grid`.
        context : FieldContext
            From `prepare`.
        region : Region
            Where it is.
        name : str
            The slide in the rows.
        """
        check_rgb(pixels)
        field = field_image(pixels, context)
        step, multiple = self.grid(context), self.finder.multiple
        size = field.size(multiple / step)
        x0, y0 = (value // step * multiple for value in region.core[:2])
        x1, y1 = (-(-value // step) * multiple for value in region.core[2:])
        within = (x0, y0, min(x1, size[0]), min(y1, size[1]))
        found = detect(self.finder, field, size, within=within)
        return self._rows(field, found, size, context, name, region)

    def unreadable(self, name: str, reason: str) -> AnalysisRow:
        """Return the row of a field that could not be read."""
        return AnalysisRow(FieldRow.unreadable(name, reason))

    def _rows(
        self,
        field: FieldImage,
        found: Detections,
        size: tuple[int, int],
        context: FieldContext,
        name: str,
        region: Region,
    ) -> list[AnalysisRow]:
        boxes = placed(found, field, size)
        kept = _inside(boxes, region.core, context.circle)
        boxes, found = boxes[kept], found[kept]
        order = np.lexsort((boxes[:, 0], boxes[:, 1]))
        boxes, found = boxes[order], found[order]
        cells = self._cells.classify(field.pixels, boxes, self._fields.by_class(found), context)
        edges = self._edges(boxes, context, region)
        absolute = boxes.astype(np.float64) * region.downsample + np.tile(region.origin, 2)
        rows = [
            _row(name, cell, box, Edges(*flags))
            for cell, box, flags in zip(cells, absolute, zip(*edges, strict=True), strict=True)
        ]
        summary = self._field(field, found, size, context, name, region, rows)
        return [AnalysisRow(summary), *map(AnalysisRow, rows)]

    def _edges(self, boxes: NDArray[np.float32], context: FieldContext, region: Region) -> Edges:
        if region.frame is None:
            return Edges(np.zeros(len(boxes), np.bool_), np.ones(len(boxes), np.bool_))
        x, y = region.origin
        x0, y0, x1, y1 = region.frame
        scale = region.downsample
        frame = ((x0 - x) / scale, (y0 - y) / scale, (x1 - x) / scale, (y1 - y) / scale)
        tolerance = max(1.0, _EDGE * context.scale.diameter / self.finder.red_cell_px)
        return apply_edge_rule(boxes, frame, self.edges, tolerance=tolerance, circle=context.circle)

    def _field(
        self,
        field: FieldImage,
        found: Detections,
        size: tuple[int, int],
        context: FieldContext,
        name: str,
        region: Region,
        rows: Sequence[CellRow],
    ) -> FieldRow:
        counted = [row for row in rows if row.counted]
        n = {label: sum(row.label == label for row in counted) for label in CELL_CLASSES}
        reds = found.boxes[found.labels == self.finder.classes.index("RBC")]
        measured = self._quality(field, reds, size)
        scale = context.scale
        given = scale.source not in ("red cells", "none")
        width = self._fields.diameter(field, found, size) if given else None
        texts = quality.flags(
            measured,
            len(reds),
            scale_known=scale.known,
            relative_width=width and width / scale.diameter,
        )
        width, height = (round(v * region.downsample) for v in _extent(region.core))
        return FieldRow(
            image=name,
            region=region.name,
            width=width,
            height=height,
            rbc_diameter_px=round(scale.diameter * region.downsample, 3) if scale.known else None,
            um_per_px=scale.um_per_px and round(scale.um_per_px / region.downsample, 6),
            scale_source=scale.source,
            rbc=n["RBC"],
            wbc=n["WBC"],
            platelets=n["Platelets"],
            review=sum(row.decision == "review" for row in counted),
            focus=_rounded(measured.focus),
            overlap=_rounded(measured.overlap),
            saturation=_rounded(measured.saturation),
            flags=join_flags(texts),
        )

    def _quality(
        self, field: FieldImage, reds: NDArray[np.float32], size: tuple[int, int]
    ) -> quality.Quality:
        low = [max(0, (side - _VIEW) // 2) for side in size]
        high = [min(side, start + _VIEW) for side, start in zip(size, low, strict=True)]
        view = field.window(size, (low[0], low[1], high[0], high[1]))
        middle = (reds[:, :2] + reds[:, 2:]) / 2
        seen = reds[((middle >= low) & (middle < high)).all(axis=1)] - np.tile(low, 2)
        raw = _sample(visible_part(field.pixels, field.circle))
        return quality.measure(view, raw, reds, seen.astype(np.float32))


def _row(name: str, cell: ClassifiedCell, box: NDArray[np.float64], edges: Edges) -> CellRow:
    x_min, y_min, x_max, y_max = (round(float(value), 2) for value in box)
    red, white, platelet = (round(float(value), 6) for value in cell.shares)
    return CellRow(
        image=name,
        x_min=x_min,
        y_min=y_min,
        x_max=x_max,
        y_max=y_max,
        label=CELL_CLASSES[cell.label],
        confidence=round(cell.confidence, 6),
        decision="review" if cell.reasons else "accepted",
        reason="; ".join(cell.reasons),
        subtype=cell.subtype,
        subtype_confidence=_rounded(cell.subtype_confidence, 6),
        p_RBC=red,
        p_WBC=white,
        p_Platelets=platelet,
        on_edge=bool(edges.on_edge),
        counted=bool(edges.counted),
    )


def _rounded(value: float | None, digits: int = 4) -> float | None:
    return None if value is None else round(value, digits)


def _extent(core: tuple[int, int, int, int]) -> tuple[int, int]:
    return core[2] - core[0], core[3] - core[1]


def _inside(
    boxes: NDArray[np.float32], core: tuple[int, int, int, int], circle: Circle | None
) -> NDArray[np.bool_]:
    """Return which boxes have their centre in the core, and in the circle."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = ((middle >= core[:2]) & (middle < core[2:])).all(axis=1)
    if circle is not None:
        away = np.hypot(middle[:, 0] - circle.x, middle[:, 1] - circle.y)
        inside &= away < circle.radius
    return np.asarray(inside)


def _sample(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    step = max(1, max(pixels.shape[:2]) // _SAMPLE)
    sample: NDArray[np.uint8] = pixels[::step, ::step]
    return sample
