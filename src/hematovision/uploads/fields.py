"""Uploaded fields: analysed in memory, with overlays and everything in one archive."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.fields.checkpoint import Demand
from hematovision.fields.counts import Tally
from hematovision.fields.overlay import draw_cells
from hematovision.fields.rows import (
    CELL_SCHEMA,
    FIELD_SCHEMA,
    AnalysisRow,
    CellRow,
    FieldRow,
    split,
)
from hematovision.fields.slides import with_checkpoint
from hematovision.fields.summary import Summary
from hematovision.images.boxes import Box
from hematovision.model.inference import ImageResult, Item, Source, ahead, predict_image
from hematovision.paths import valid_value
from hematovision.progress import Progress, no_progress
from hematovision.reporting.fields import REPORT, render_report
from hematovision.rows import Schema
from hematovision.tables.sinks import csv_table
from hematovision.workflows.analyze import SUMMARY, AnalyzeOptions, Opened
from hematovision.workflows.analyze.pixels import read_crops

__all__ = ["UploadedField", "UploadedFields", "analyze_uploads"]


@dataclass(frozen=True)
class UploadedField:
    """One uploaded field, its cells, and its overlay as a JPEG file, empty if unreadable."""

    field: FieldRow
    cells: tuple[CellRow, ...] = ()
    overlay: bytes = b""


@dataclass(frozen=True)
class UploadedFields:
    """The uploaded fields in order, their counts, and the page of their report."""

    fields: tuple[UploadedField, ...]
    summary: Summary
    report: str

    def archive(self) -> bytes:
        """Return a zip file with the files of ``hematovision analyze``."""
        cells = (cell for one in self.fields for cell in one.cells)
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("cells.csv", _csv(CELL_SCHEMA, cells))
            archive.writestr("fields.csv", _csv(FIELD_SCHEMA, (one.field for one in self.fields)))
            summary = json.dumps(valid_value(self.summary.to_json()), indent=2)
            archive.writestr(SUMMARY, f"{summary}\n")
            archive.writestr(REPORT, self.report)
            for number, one in enumerate(self.fields, 1):
                if one.overlay:
                    name = f"overlays/{number:03}-{PurePath(one.field.image).stem}.jpg"
                    archive.writestr(name, one.overlay, zipfile.ZIP_STORED)
        return stream.getvalue()


def analyze_uploads(
    opened: Opened,
    items: Iterable[Item],
    options: AnalyzeOptions,
    *,
    total: int = 0,
    progress: Progress = no_progress,
) -> UploadedFields:
    """Analyse uploads in memory.

    `items` are from `receive`; names that repeat get a number. `total` is their expected number,
    for `progress`. Raises `ModelError` if a model fails.
    """
    tally, found, sources = Tally(opened.subtypes), list[UploadedField](), dict[str, Source]()
    demand = Demand()
    analyzer = with_checkpoint(opened.analyzer, demand.check)

    def work(item: Item) -> UploadedField:
        return _uploaded(predict_image(analyzer, item, keep_pixels=True))

    results = ahead(work, _renamed(items, sources), analyzer.threads, on_close=demand.end)
    with closing(results):
        for done, one in enumerate(results, 1):
            tally.add(one.field, one.cells)
            found.append(one)
            progress(done, max(done, total), "Analysing fields", "fields")
    summary = Summary(
        sample=found[0].field.image if len(found) == 1 else f"{len(found)} uploads",
        detector=opened.detector,
        classifier=opened.classifier,
        counts=tally.counts(rbc_count=options.rbc_count, wbc_count=options.wbc_count),
        settings=options.settings(),
    )
    report = render_report(
        summary,
        fields=[one.field for one in found],
        sample=tally.sample,
        read_crops=_CropReader(sources),
    )
    return UploadedFields(tuple(found), summary, report)


def _renamed(items: Iterable[Item], sources: dict[str, Source]) -> Iterator[Item]:
    """Give every item its own name, and keep its source under it."""
    for given, source in items:
        name, number = given, 2
        while name in sources:
            name, number = f"{given} ({number})", number + 1
        sources[name] = source
        yield Item(name, source)


def _uploaded(result: ImageResult[AnalysisRow]) -> UploadedField:
    cells, (field,) = split(result.rows)
    if result.pixels is None:
        return UploadedField(field, tuple(cells))
    overlay = draw_cells(result.pixels, cells, rbc_diameter_px=field.rbc_diameter_px)
    return UploadedField(field, tuple(cells), images.encode_jpeg(overlay))


@dataclass(frozen=True)
class _CropReader:
    sources: Mapping[str, Source]

    def __call__(self, name: str, boxes: Sequence[Box]) -> Sequence[NDArray[np.uint8] | None]:
        return read_crops(self.sources[name], name, boxes)


def _csv(schema: Schema, rows: Iterable[CellRow | FieldRow]) -> bytes:
    stream = io.BytesIO()
    table = csv_table(stream, schema)
    for row in rows:
        table.write(row.values())
    table.finish()
    return stream.getvalue()
