"""Slides: the regions of a slide as items of the inference loop, analysed one by one.

.. code-block:: text

    paths -> find_regions -> paths and regions -> infer(FileAnalyzer) -> rows

A slide is cut into regions on a grid. Background and scale are measured once per slide, on samples
that depend on the slide alone; so each region yields the same rows whether the run was interrupted
or not. A region is read with a margin and owns the cells with their centre in it. All regions start
and end on a grid of the detector's, so that two of them see the same pixels in their common margin,
and no cell is found twice or lost between them.
"""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hematovision import images
from hematovision.errors import ImageError, NotAnImageError
from hematovision.fields.analyzer import FieldAnalyzer
from hematovision.fields.analyzer import Region as Placement
from hematovision.fields.checkpoint import Checkpoint
from hematovision.fields.finding import FieldContext
from hematovision.fields.rows import SKIPPED, AnalysisRow, CellRow, FieldRow
from hematovision.fields.scale import RED_CELL_UM
from hematovision.fields.tiles import MARGIN
from hematovision.images.slides import Slide, is_slide, open_slide
from hematovision.model.inference import Predictor
from hematovision.model.session import usable_cpus
from hematovision.regions import Region
from hematovision.rows import Schema

__all__ = ["FileAnalyzer", "find_regions", "with_checkpoint"]

_SCALED = 1536
_SMALLEST, _LARGEST = 512, 3072
"""Sides of a region: about `_SCALED` pixels at the detector's scale, if the scale is stated."""

_UM_PER_COARSE = 2.4
"""Width in um of the pixels in which a region is searched for cells: a third of a red cell."""

_COARSE = 8  # downsample for the same, without a stated scale
_CONTRAST = 14
"""Difference of grey levels, 0 to 255, from the region's median that background does not reach."""

_CANDIDATES = 12  # per side: places of a slide at which samples may be taken
_SAMPLES = 7
_SAMPLE = 1024  # side of a sample in pixels


@dataclass(frozen=True)
class _Grid:
    """The regions of one slide.

    Parameters
    ----------
    level : int
        The level that is read.
    downsample : float
        Pixels of level 0 per pixel of that level.
    area : tuple of int
        ``(x_min, y_min, x_max, y_max)`` of the analysed part in pixels of the level.
    side : int
        Of a region in pixels of the level.
    """

    level: int
    downsample: float
    area: tuple[int, int, int, int]
    side: int

    def __iter__(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield the regions row by row, ``(x_min, y_min, x_max, y_max)`` in the level's pixels."""
        left, top, right, bottom = self.area
        for y in range(top, bottom, self.side):
            for x in range(left, right, self.side):
                yield x, y, min(x + self.side, right), min(y + self.side, bottom)

    def region(self, path: Path, box: tuple[int, int, int, int]) -> Region:
        """Return a box in pixels of the level as a region, in pixels of level 0."""
        x0, y0, x1, y1 = (round(value * self.downsample) for value in box)
        return Region(path, x0, y0, x1 - x0, y1 - y0)

    def box(self, region: Region) -> tuple[int, int, int, int]:
        """Return a region in pixels of the level."""
        ends = (region.x, region.y, region.x + region.width, region.y + region.height)
        x0, y0, x1, y1 = (round(value / self.downsample) for value in ends)
        return x0, y0, x1, y1


def _make_grid(slide: Slide, *, level: int = 0, area: str = "") -> _Grid:
    """Return the grid of a slide.

    Raises `NotAnImageError` if the slide has no such level, or `area` is outside the slide.
    """
    if not 0 <= level < len(slide.levels):
        last = len(slide.levels) - 1
        raise NotAnImageError(
            slide.path,
            f"it has no level {level}; its levels are 0 to {last}. Pass another --level.",
        )
    own = slide.levels[level]
    box = (0, 0, own.width, own.height)
    if area:
        wanted = Region.parse(slide.path, area)
        ends = (wanted.x, wanted.y, wanted.x + wanted.width, wanted.y + wanted.height)
        x0, y0, x1, y1 = (round(value / own.downsample) for value in ends)
        box = (x0, y0, min(x1, own.width), min(y1, own.height))
        if box[0] >= box[2] or box[1] >= box[3]:
            raise NotAnImageError(
                slide.path,
                f"the region {area} is outside its {slide.width} x {slide.height} pixels. Pass "
                "another --region, in pixels of level 0.",
            )
    return _Grid(level, own.downsample, box, _side(slide.um_per_px, own.downsample))


def _side(um_per_px: float | None, downsample: float) -> int:
    if um_per_px is None:
        return 2048
    red_cell = RED_CELL_UM / (um_per_px * downsample)
    side = 64 * round(_SCALED * red_cell / 36 / 64)
    return min(max(side, _SMALLEST), _LARGEST)


def find_regions(
    paths: Iterable[Path], *, level: int = 0, area: str = ""
) -> Iterator[Path | Region]:
    """Yield images as they are, and slides as the regions of their grid.

    A slide that cannot be opened is yielded as its path: analysing that reports the problem. Of
    several files of one slide in DICOM, the first is yielded. With `area` (``"x,y,width,height"``)
    ordinary images are yielded as regions too.
    """
    series = set[tuple[Path, str]]()
    for path in paths:
        if not area and not is_slide(path):
            yield path
            continue
        try:
            with _opened(path) as slide:
                key = (path.parent, slide.series)
                if slide.series and key in series:
                    continue
                series.add(key)
                grid = _make_grid(slide, level=level, area=area)
        except (ImageError, MemoryError):
            yield path
            continue
        for box in grid:
            yield grid.region(path, box)


@contextmanager
def _opened(path: Path, budget: images.PixelBudget | None = None) -> Iterator[Slide]:
    """Open a slide, or an ordinary image as a slide of one level; see `images.opened`."""
    if is_slide(path):
        with open_slide(path) as slide:
            yield slide
        return
    with images.opened(path, budget=budget) as pixels:
        height, width = pixels.shape[:2]
        scale = images.um_per_px(path)
        yield Slide(path, "image", [(width, height)], _Pixels(pixels), um_per_px=scale)


@dataclass(frozen=True)
class _Pixels:
    """Reads rectangles from an image in memory."""

    pixels: NDArray[np.uint8]

    def read(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:  # noqa: ARG002
        """Return RGB uint8 (height, width, 3); see `LevelReader`."""
        part: NDArray[np.uint8] = self.pixels[y : y + height, x : x + width]
        return part

    def close(self) -> None:
        """Do nothing."""


class FileAnalyzer:
    """Analyses image files with their metadata, and slides by region: a `Predictor`.

    Parameters
    ----------
    analyzer : FieldAnalyzer
    level : int
        The level of slides that is read; 0 has the full resolution.
    area : str
        The part of each image to analyse, ``"x,y,width,height"`` in pixels of level 0; by default
        all.

    Raises
    ------
    ValueError
        If `level` is negative or `area` is not a rectangle.

    Examples
    --------
    >>> analyzer = FileAnalyzer(FieldAnalyzer.load())  # doctest: +SKIP
    >>> items = (as_item(one) for one in find_regions(paths))  # doctest: +SKIP
    >>> for result in infer(analyzer, items):  # doctest: +SKIP
    ...     cells, fields = split(result.rows)
    """

    def __init__(self, analyzer: FieldAnalyzer, *, level: int = 0, area: str = "") -> None:
        if level < 0:
            raise ValueError(f"`level` must be 0 or above. Received: {level}")
        if area:
            area = Region.parse(Path(), area).box
        self.level, self.area = level, area
        self.schema: Schema = analyzer.schema
        self.classes, self.threads, self.explains = analyzer.classes, analyzer.threads, False
        self._use(analyzer)
        self._contexts: dict[Path, FieldContext] = {}
        self._locks: dict[Path, threading.Lock] = {}
        self._lock = threading.Lock()
        # A region takes 0.5 GB, and computes for seconds: no more at once than there are CPUs.
        self._turns = threading.BoundedSemaphore(min(self.threads, usable_cpus()))

    def _use(self, analyzer: FieldAnalyzer) -> None:
        self.analyzer = analyzer
        self.read, self.predict_rows = analyzer.read, analyzer.predict_rows
        self.unreadable = analyzer.unreadable

    def checked(self, checkpoint: Checkpoint) -> FileAnalyzer:
        """Return the same analyzer with a checkpoint, which may stop it."""
        found, own = copy.copy(self), self.analyzer
        found._use(own.configured(scale=own.scale, edges=own.edges, checkpoint=checkpoint))
        return found

    @property
    def identity(self) -> Mapping[str, str | float]:
        """The identity of the analyzer, and the level."""
        return {**self.analyzer.identity, "level": float(self.level)}

    def predict_source(
        self, source: str | Path | Region | bytes | NDArray[np.uint8], name: str
    ) -> tuple[NDArray[np.uint8] | None, list[AnalysisRow]]:
        """Read and analyse an image, a slide or a region of either.

        Parameters
        ----------
        source : str, Path, Region, bytes or ndarray of uint8, shape (H, W, 3)
        name : str
            The image in the rows.

        Returns
        -------
        pixels : ndarray of uint8, shape (H, W, 3), or None
            As read; None for slides and regions.
        rows : list of AnalysisRow
            One per field or region, each before its cells.

        Raises
        ------
        ImageError
            If it cannot be read.
        """
        if isinstance(source, Region):
            with self._turns, _opened(source.path, self.analyzer.budget) as slide:
                return None, self._analyze(slide, source, name)
        if isinstance(source, str | Path) and (self.area or is_slide(source)):
            return None, self._analyze_all(Path(source), name)
        if isinstance(source, np.ndarray):
            pixels = self.analyzer.read(source, name)
            return pixels, self.analyzer.predict_rows(pixels, name)[0]
        return self.analyzer.predict_file(source, name)

    def unreadable_region(self, region: Region, name: str, reason: str) -> AnalysisRow:
        """Return the row of a region that could not be read."""
        return AnalysisRow(FieldRow.unreadable(name, reason, region.box))

    def _analyze_all(self, path: Path, name: str) -> list[AnalysisRow]:
        with self._turns, _opened(path, self.analyzer.budget) as slide:
            grid = _make_grid(slide, level=self.level, area=self.area)
            regions = (grid.region(path, box) for box in grid)
            return [row for region in regions for row in self._analyze(slide, region, name)]

    def _analyze(self, slide: Slide, region: Region, name: str) -> list[AnalysisRow]:
        grid = _make_grid(slide, level=self.level, area=self.area)
        core = grid.box(region)
        if not _has_cells(slide, region, grid):
            return [AnalysisRow(_skipped(region, name))]
        context = self._context(slide, grid)
        step = self.analyzer.grid(context)
        outer = _outer(core, step, math.ceil(MARGIN / self.analyzer.finder.multiple))
        pixels = _read(slide, outer, grid)
        own = slide.levels[grid.level]
        pixels[max(0, own.height - outer[1]) :] = context.white  # even, and not saturated
        pixels[:, max(0, own.width - outer[0]) :] = context.white
        origin = (outer[0] * grid.downsample, outer[1] * grid.downsample)
        placement = Placement(
            core=(core[0] - outer[0], core[1] - outer[1], core[2] - outer[0], core[3] - outer[1]),
            origin=origin,
            downsample=grid.downsample,
            frame=_scaled(grid.area, grid.downsample),
            name=region.box,
        )
        rows = self.analyzer.analyze_region(pixels, context, placement, name)
        return [_clipped(row, slide) for row in rows]

    def _context(self, slide: Slide, grid: _Grid) -> FieldContext:
        """Return the context of a slide, measured by the first thread that needs it."""
        with self._lock:
            lock = self._locks.setdefault(slide.path, threading.Lock())
        with lock:
            if slide.path not in self._contexts:
                um = slide.um_per_px and slide.um_per_px * grid.downsample
                self._contexts[slide.path] = self.analyzer.prepare(
                    _samples(slide, grid), metadata=um
                )
            return self._contexts[slide.path]


def with_checkpoint(
    predictor: Predictor[AnalysisRow], checkpoint: Checkpoint
) -> Predictor[AnalysisRow]:
    """Return a predictor that `checkpoint` may stop, if it is a `FileAnalyzer`."""
    return predictor.checked(checkpoint) if isinstance(predictor, FileAnalyzer) else predictor


def _read(slide: Slide, box: tuple[int, int, int, int], grid: _Grid) -> NDArray[np.uint8]:
    """Read a box in pixels of the grid's level."""
    x, y, width, height = (
        round(value * grid.downsample) for value in (*box[:2], box[2] - box[0], box[3] - box[1])
    )
    return slide.read_region(x, y, width, height, downsample=grid.downsample)


def _outer(core: tuple[int, int, int, int], step: int, margin: int) -> tuple[int, int, int, int]:
    """Return a region with its margin of at least `margin` steps, on the grid of `step` pixels."""
    x0, y0 = ((value // step - margin) * step for value in core[:2])
    x1, y1 = ((-(-value // step) + margin) * step for value in core[2:])
    return max(0, x0), max(0, y0), x1, y1


def _scaled(box: tuple[int, int, int, int], factor: float) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (value * factor for value in box)
    return x0, y0, x1, y1


def _skipped(region: Region, name: str) -> FieldRow:
    """Return the row of a region without cells."""
    return FieldRow(
        image=name,
        region=region.box,
        width=region.width,
        height=region.height,
        rbc=0,
        wbc=0,
        platelets=0,
        review=0,
        flags=SKIPPED,
    )


def _clipped(row: AnalysisRow, slide: Slide) -> AnalysisRow:
    """Clip the box of a cell to the slide."""
    cell = row.of
    if not isinstance(cell, CellRow) or (
        cell.x_min >= 0
        and cell.y_min >= 0
        and cell.x_max <= slide.width
        and cell.y_max <= slide.height
    ):
        return row
    return AnalysisRow(
        replace(
            cell,
            x_min=max(cell.x_min, 0.0),
            y_min=max(cell.y_min, 0.0),
            x_max=min(cell.x_max, float(slide.width)),
            y_max=min(cell.y_max, float(slide.height)),
        )
    )


def _has_cells(slide: Slide, region: Region, grid: _Grid) -> bool:
    """Return whether a region may have cells: whether anything there differs from the rest of it.

    Glass, tape and what was not scanned are even. The region is read at a size at which a red cell
    covers a few pixels, so that the noise of the camera averages out.
    """
    return _texture(_coarse(slide, region, grid)) > 0


def _coarse(slide: Slide, region: Region, grid: _Grid) -> NDArray[np.uint8]:
    """Read a region with pixels of about a third of a red cell."""
    um = slide.um_per_px
    downsample = _COARSE * grid.downsample if um is None else max(1.0, _UM_PER_COARSE / um)
    level = slide.levels[slide.level_for(downsample)].downsample
    rough = slide.read_region(region.x, region.y, region.width, region.height, downsample=level)
    factor = max(1.0, downsample / level)
    size = (max(1, round(rough.shape[1] / factor)), max(1, round(rough.shape[0] / factor)))
    return np.asarray(Image.fromarray(rough).resize(size, Image.Resampling.BOX))


def _texture(pixels: NDArray[np.uint8]) -> float:
    """Return the share of pixels that differ from the median colour."""
    values = pixels.reshape(-1, 3).astype(np.int16)
    median = np.median(values, axis=0)
    return float((np.abs(values - median).max(axis=1) >= _CONTRAST).mean())


def _samples(slide: Slide, grid: _Grid) -> list[NDArray[np.uint8]]:
    """Return the parts of a slide on which background and scale are measured.

    Places on a coarse grid are sorted by the area that cells cover. Samples are taken from the
    middle upwards: the sparsest have too few cells to measure, the densest are clumps. If all are
    empty, the first region with cells is the sample. Parts that cannot be read are left out; if
    none can, the error is raised.
    """
    failed: list[ImageError] = []
    found = []
    for box in _candidates(grid):
        with _collecting(failed):
            cover = _texture(_coarse(slide, grid.region(slide.path, box), grid))
            found += [(cover, box)] if cover > 0 else []
    found.sort()
    ranks = {round(rank) for rank in np.linspace(0.4, 0.9, _SAMPLES) * (len(found) - 1)}
    places = [found[rank][1] for rank in sorted(ranks)] if found else list(grid)
    samples = list[NDArray[np.uint8]]()
    for box in places:
        with _collecting(failed):
            if found or _has_cells(slide, grid.region(slide.path, box), grid):
                samples.append(_read(slide, box, grid))
        if samples and not found:
            break
    if not samples and failed:
        raise failed[0]
    return samples or [_read(slide, places[0], grid)]


@contextmanager
def _collecting(failed: list[ImageError]) -> Iterator[None]:
    """Collect the error of a part that cannot be read."""
    try:
        yield
    except ImageError as error:
        failed.append(error)


def _candidates(grid: _Grid) -> Sequence[tuple[int, int, int, int]]:
    x0, y0, x1, y1 = grid.area
    across, down = min(_SAMPLE, x1 - x0), min(_SAMPLE, y1 - y0)
    columns, rows = (
        sorted({round(place) for place in np.linspace(low, high - side, _CANDIDATES)})
        for low, high, side in ((x0, x1, across), (y0, y1, down))
    )
    return [(x, y, x + across, y + down) for y in rows for x in columns]
