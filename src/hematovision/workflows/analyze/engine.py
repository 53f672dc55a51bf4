"""Engines: where the images of an analysis are found, read and analysed."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

from hematovision import images
from hematovision.errors import DatasetError
from hematovision.fields.checkpoint import Demand
from hematovision.fields.rows import AnalysisRow, FieldRow
from hematovision.fields.slides import find_regions, with_checkpoint
from hematovision.model.inference import Item, Predictor, Source, ahead, predict_image
from hematovision.paths import shown
from hematovision.progress import Progress
from hematovision.regions import Region
from hematovision.tables.store import RunItem, Store, file_stamp

__all__ = ["ANALYSING", "ANALYSING_REGIONS", "Engine", "LocalEngine"]

_LOG = logging.getLogger(__name__)

ANALYSING, ANALYSING_REGIONS = "Analysing fields", "Analysing regions"
"""The names of the step, for `Progress`."""


class Engine(Protocol):
    """Finds, reads and analyses images."""

    def items(self, paths: Iterable[str], level: int = 0, region: str = "") -> Iterator[RunItem]:
        """Yield the images at `paths`, or their regions, in order.

        `level` and `region` as in `AnalyzeOptions`.
        """

    def name(self, item: RunItem) -> str:
        """Return the name of an item's image in the rows."""

    def stamp(self, item: RunItem) -> str:
        """Return the state of an item's file."""

    def source(self, item: RunItem) -> Source:
        """Return an item's image for a second look."""

    def fill(self, analyzer: Predictor[AnalysisRow], store: Store, progress: Progress) -> None:
        """Analyse the items that the store lacks, and add their rows."""


class LocalEngine:
    """Analyses files on this machine, on the threads of the analyzer."""

    def __init__(self) -> None:
        self._step = (ANALYSING, "fields")

    def items(self, paths: Iterable[str], level: int = 0, region: str = "") -> Iterator[RunItem]:
        """Yield the images at `paths`, which are files and folders, and the regions of slides.

        Raises `DatasetError` if none of the paths exists. If some exist, reading the others reports
        the problem.
        """
        given = [Path(path) for path in paths]
        if given and not any(map(os.path.lexists, given)):
            raise DatasetError(
                f"There is no file or folder at {shown(', '.join(map(str, given[:3])))}. Check the "
                "spelling, and the folder that you are in."
            )
        found = images.iter_images(given)
        for one in find_regions(found, level=level, area=region):
            if isinstance(one, Region):
                self._step = (ANALYSING_REGIONS, "regions")
                yield RunItem(one.path, one.box)
            else:
                yield RunItem(one)

    def name(self, item: RunItem) -> str:
        """Return the path of an item's file."""
        return str(item.path)

    def stamp(self, item: RunItem) -> str:
        """Return the size and modification time of an item's file."""
        return file_stamp(item.path)

    def source(self, item: RunItem) -> Source:
        """Return the path of an item's file, or its region."""
        return Region.parse(item.path, item.region) if item.region else item.path

    def fill(self, analyzer: Predictor[AnalysisRow], store: Store, progress: Progress) -> None:
        """Analyse the items that the store lacks, and add their rows in order.

        After an error or Ctrl-C, fields that are being analysed are left out at once.
        """
        total, demand = store.left, Demand()
        predictor = with_checkpoint(analyzer, demand.check)

        def work(item: RunItem) -> Sequence[AnalysisRow]:
            return predict_image(predictor, Item(self.name(item), self.source(item))).rows

        made = ahead(work, store.todo(), analyzer.threads, on_close=demand.end)
        with closing(made) as results:
            for done, rows in enumerate(results, 1):
                store.add(row.values() for row in rows)
                _log_fields(rows)
                progress(done, total, *self._step)


def _log_fields(rows: Sequence[AnalysisRow]) -> None:
    """Log how the scale of each field was found, and what it counts."""
    for row in rows:
        field = row.of
        if not isinstance(field, FieldRow):
            continue
        name = f"{field.image} {field.region}".rstrip()
        if field.error:
            _LOG.info("%s: refused: %s", name, field.error)
        else:
            _LOG.info(
                "%s: red cells are %s pixels wide (scale from %s); %s RBC, %s WBC, %s Platelets.",
                name,
                field.rbc_diameter_px,
                field.scale_source,
                field.rbc,
                field.wbc,
                field.platelets,
            )
