"""``analyze``: find, classify and count the cells of fields."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.errors import ImageError
from hematovision.extras import require
from hematovision.fields.analysis import PLOTTED
from hematovision.fields.analyzer import FieldAnalyzer
from hematovision.fields.counts import Tally, white_kinds
from hematovision.fields.rows import AnalysisRow, FieldRow, table_schema
from hematovision.fields.slides import FileAnalyzer
from hematovision.fields.summary import ModelUsed, Summary
from hematovision.files import write_text
from hematovision.frames import data_frame
from hematovision.images.boxes import Box
from hematovision.model.bundle import ONNX, Bundle
from hematovision.model.detector import Detector
from hematovision.model.inference import Predictor
from hematovision.paths import valid_value
from hematovision.plurals import counted
from hematovision.progress import Progress, no_progress
from hematovision.reporting.fields import CropReader, write_report
from hematovision.stages import stage
from hematovision.tables.reading import read_table
from hematovision.tables.store import RunImages, RunItem, open_store, store_path
from hematovision.workflows.analyze.engine import Engine, LocalEngine
from hematovision.workflows.analyze.options import AnalyzeOptions, TableFormat
from hematovision.workflows.analyze.pixels import read_crops
from hematovision.workflows.analyze.results import Results, read_analyses
from hematovision.workflows.analyze.writing import remove_outputs, write_overlays, write_tables
from hematovision.workflows.outputs import resumable_folder

if TYPE_CHECKING:
    from hematovision.figures import Figure
    from hematovision.frames import DataFrame

__all__ = [
    "RESULTS", "SUMMARY", "AnalyzeOptions", "AnalyzeResult", "Opened", "TableFormat", "analyze",
    "open_analyzer", "run_analysis",
]  # fmt: skip

_LOG = logging.getLogger(__name__)

RESULTS = "analysis"
"""The name of the results in the folder of an analysis, without the suffix of their store."""

SUMMARY = "summary.json"
"""The file of an analysis that is written last."""


@dataclass(frozen=True)
class Opened:
    """An open analyzer, and what reports state about its models."""

    analyzer: Predictor[AnalysisRow]
    detector: ModelUsed
    classifier: ModelUsed | None = None
    subtypes: tuple[str, ...] = ()  # the classes of the classifier


@dataclass(frozen=True)
class AnalyzeResult:
    """The result of a run.

    Parameters
    ----------
    folder : Path
        The output folder.
    summary : Summary
        All counts, with limits, and caveats; also in ``summary.json``.
    refused : tuple of ImageError
        Images that could not be read, in order.
    flagged : tuple of FieldRow
        Images with a quality flag, in order.
    overlays : int
        Number of overlays written.
    items : int
        Number of images and regions that were analysed.
    before : int
        How many of these an earlier run had analysed.

    Examples
    --------
    >>> import hematovision
    >>> result = hematovision.analyze("fields", "counts")
    >>> result
    AnalyzeResult('counts': 2 fields: 64 RBC, 2 WBC, 6 Platelets; 1 to review)
    >>> result.summary.counts.cells["RBC"].n
    64
    >>> result.to_pandas("fields")["rbc"].tolist()
    [35, 29]
    >>> result.plot().savefig("counts.png")
    """

    folder: Path
    summary: Summary
    refused: tuple[ImageError, ...]
    flagged: tuple[FieldRow, ...]
    overlays: int = 0
    items: int = 0
    before: int = 0

    def __repr__(self) -> str:
        counts = self.summary.counts
        found = ", ".join(f"{one.n:,} {label}" for label, one in counts.cells.items())
        review = sum(one.review for one in counts.cells.values())
        more = f"; {review:,} to review" if review else ""
        fields = counted(counts.fields.n, "field")
        return f"AnalyzeResult({str(self.folder)!r}: {fields}: {found}{more})"

    def to_pandas(self, table: Literal["cells", "fields"] = "cells") -> DataFrame:
        """Read a table of the output folder as a data frame.

        Parameters
        ----------
        table : {"cells", "fields"}
            Whether a row is a cell or an image.

        Raises
        ------
        ValueError
            If `table` is neither.
        OutputError
            If the table is no longer there.
        MissingExtraError
            If pandas is not installed.
        """
        schema = table_schema(table)
        return data_frame(schema, read_table(self.folder, table, schema))

    def plot(self, most: int = PLOTTED, *, columns: int = 2) -> Figure:
        """Return a matplotlib figure of the fields with the outlines of their cells.

        The tables of the output folder and the images are read again. Images that are no longer
        where they were, or too large to be read at once, have an empty panel.

        Parameters
        ----------
        most : int
            How many fields to show, from the first.
        columns : int
            Fields per row.

        Raises
        ------
        OutputError
            If a table is no longer there.
        MissingExtraError
            If matplotlib is not installed.
        """
        return read_analyses(self.folder, most).plot(most, columns=columns)


def analyze(
    paths: str | Path | Iterable[str | Path],
    out: str | Path,
    options: AnalyzeOptions | None = None,
    *,
    resume: bool = False,
    engine: Engine | None = None,
    progress: Progress = no_progress,
) -> AnalyzeResult:
    """Find, classify and count the cells of fields.

    Every red cell, white cell and platelet of every image becomes a row of ``cells``, every image
    one of ``fields``. Images are analysed in parallel; memory does not grow with their number or
    with the number of cells. All boxes are in pixels of the image as displayed.

    Parameters
    ----------
    paths : path or iterable of paths
        Images, slides, and folders that are searched at any depth. A file that cannot be read is
        listed in the result; the rest are processed normally.
    out : str or Path
        The folder for ``cells`` and ``fields`` (CSV, Parquet or JSON lines), ``summary.json``,
        ``report.html``, and on request ``overlays/`` and a folder for each export. It must be new
        or empty, and outside all folders of `paths`.
    options : AnalyzeOptions, optional
        Models, scale, counting rule and outputs.
    resume : bool
        Whether to continue an interrupted run in `out`, or to add to a finished one. Changed, new
        and previously unreadable images are analysed; for the rest, the stored rows are used. The
        results are the same as those of an uninterrupted run. A finished run can also be resumed
        with other outputs: `format`, `exports`, `overlays` and the counts of an analyser.
    engine : Engine, optional
        Where to analyse; by default on this machine.
    progress : Progress, optional
        Called as ``progress(done, total, step, unit)``.

    Returns
    -------
    AnalyzeResult
        All counts, images that could not be read, and images with quality flags.

    Raises
    ------
    ModelNotFoundError, BundleError
        If a model cannot be used.
    DatasetError
        If a folder contains no images.
    OutputError
        If a file cannot be written, `out` has other files, is inside a folder of `paths`, or is
        used by another process. With `resume`, also if there is nothing to resume, the store is
        damaged, or the earlier run had other models or settings.
    MissingExtraError
        If an optional dependency is not installed that an output needs.

    Examples
    --------
    >>> import hematovision
    >>> options = hematovision.AnalyzeOptions(overlays=True, exports=("coco",))
    >>> result = hematovision.analyze("field.png", "analysis", options)
    >>> result
    AnalyzeResult('analysis': 1 field: 35 RBC, 1 WBC, 3 Platelets)
    >>> sorted(path.name for path in result.folder.iterdir() if path.suffix != ".resume")
    ['cells.csv', 'coco', 'fields.csv', 'overlays', 'report.html', 'summary.json']
    """
    options = options or AnalyzeOptions()
    _check_outputs(options)
    given = images.as_paths(paths, "hematovision.FieldAnalyzer.load().predict(images)")
    return run_analysis(
        open_analyzer(options),
        [str(path) for path in given],
        Path(out),
        options,
        resume=resume,
        engine=engine or LocalEngine(),
        progress=progress,
    )


def open_analyzer(options: AnalyzeOptions, *, max_pixels: int = images.MAX_PIXELS) -> Opened:
    """Open the models of an analysis.

    Images of more than `max_pixels` (width times height) are rejected before decoding. Raises
    `ModelNotFoundError` or `BundleError` if a model cannot be used.
    """
    analyzer = FieldAnalyzer.load(
        options.detector,
        options.classifier,
        rbc_diameter=options.rbc_diameter,
        um_per_px=options.um_per_px,
        edges=options.edges,
        max_pixels=max_pixels,
    )
    assert isinstance(analyzer.finder, Detector)
    subtypes = analyzer.subtypes
    return Opened(
        FileAnalyzer(analyzer, level=options.level, area=options.region),
        _used(analyzer.finder.bundle),
        None if subtypes is None else _used(subtypes.bundle),
        () if subtypes is None else subtypes.classes,
    )


def _used(bundle: Bundle) -> ModelUsed:
    return ModelUsed(bundle.name, bundle.manifest.files[ONNX])


def run_analysis(
    opened: Opened,
    paths: Sequence[str],
    out: Path,
    options: AnalyzeOptions,
    *,
    resume: bool,
    engine: Engine,
    progress: Progress,
) -> AnalyzeResult:
    """Analyse images with an open analyzer; see `analyze`."""
    analyzer = opened.analyzer
    with (
        closing(RunImages(engine.items(paths, options.level, options.region))) as found,
        resumable_folder(
            out, store=store_path(out / RESULTS).name, last=SUMMARY, resume=resume, inputs=paths
        ),
        open_store(
            out / RESULTS,
            {**analyzer.identity, "region": options.region},
            analyzer.schema,
            found,
            resume=resume,
            keep=True,
            stamp=engine.stamp,
        ) as store,
    ):
        what = counted(store.left, "image or region", "images and regions")
        with stage(_LOG, "Analysing %s", what):
            engine.fill(analyzer, store, progress)
        with store.finishing(), stage(_LOG, "Writing the results into %s", out):
            results = Results(found, store.rows_of)
            written = _write(out, _sample(paths, out), opened, results, options, engine, progress)
        return replace(written, items=len(found), before=store.before)


def _write(
    out: Path,
    sample: str,
    opened: Opened,
    results: Results,
    options: AnalyzeOptions,
    engine: Engine,
    progress: Progress,
) -> AnalyzeResult:
    """Write all outputs, the summary last."""
    remove_outputs(out, SUMMARY)
    items = results.first_items()
    names = [engine.name(item) for item in items]
    tally, findings = Tally(opened.subtypes), _Findings()
    write_tables(
        out,
        results,
        options,
        names,
        model=f"{opened.detector.name} {opened.detector.sha256[:12]}",
        subtypes=white_kinds(opened.subtypes),
        source=engine.source,
        count=tally.add,
        each=findings.add,
        progress=progress,
    )
    overlays = 0
    if options.overlays:
        paths = [item.path for item in items]
        overlays = write_overlays(out, results, paths, engine.source, progress)
    summary = Summary(
        sample=sample,
        detector=opened.detector,
        classifier=opened.classifier,
        counts=tally.counts(rbc_count=options.rbc_count, wbc_count=options.wbc_count),
        settings=options.settings(),
    )
    progress(len(items), len(items), "Writing the report", "fields")
    write_report(
        out,
        summary,
        fields=results.fields(),
        sample=tally.sample,
        read_crops=_crop_reader(engine, items),
    )
    write_text(out / SUMMARY, json.dumps(valid_value(summary.to_json()), indent=2) + "\n")
    return AnalyzeResult(
        out, summary, tuple(findings.refused), tuple(findings.flagged), overlays=overlays
    )


def _crop_reader(engine: Engine, items: Sequence[RunItem]) -> CropReader:
    by_name = {engine.name(item): item for item in items}

    def read(name: str, boxes: Sequence[Box]) -> Sequence[NDArray[np.uint8] | None]:
        return read_crops(engine.source(by_name[name]), name, boxes)

    return read


def _sample(paths: Sequence[str], out: Path) -> str:
    """Return the name of the only image or folder, or else of the output folder."""
    return Path(paths[0] if len(paths) == 1 else out).absolute().name


def _check_outputs(options: AnalyzeOptions) -> None:
    """Raise a `MissingExtraError` now rather than after hours."""
    if options.format == "parquet":
        require("parquet")


class _Findings:
    """Images that could not be read or have a flag."""

    def __init__(self) -> None:
        self.refused: list[ImageError] = []
        self.flagged: list[FieldRow] = []

    def add(self, field: FieldRow) -> None:
        """Keep an image that has a finding."""
        if field.error:
            self.refused.append(ImageError(field.image, field.error))
        if field.problems:
            self.flagged.append(field)
