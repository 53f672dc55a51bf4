"""Analysis on a cluster: workers analyse the images, this machine stores the rows.

The driver lists the images and cuts the list into shards. Each task returns the rows of one shard,
which go into the resumable store of the output folder; the outputs are then written as on one
machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hematovision.errors import ClusterError
from hematovision.fields.analyzer import FieldAnalyzer
from hematovision.fields.edges import EdgeRule
from hematovision.fields.rows import AnalysisRow
from hematovision.fields.scale import Scale
from hematovision.fields.slides import FileAnalyzer, find_regions
from hematovision.images.slides import is_slide
from hematovision.model.detector import Detector
from hematovision.model.inference import Item, Predictor, Source, ahead, infer
from hematovision.progress import Progress
from hematovision.regions import Region
from hematovision.rows import Value
from hematovision.scale.addresses import ImageFile, list_files
from hematovision.scale.classify import READERS, PackedBundle, PackedClassifier, fetch
from hematovision.scale.cluster import Cluster, Packed, connected
from hematovision.tables.store import RunItem, Store
from hematovision.workflows.analyze.engine import ANALYSING

__all__ = ["FieldShard", "PackedAnalyzer", "RayEngine", "analyze_shard", "shard_size"]

_PARTS = 1000
_SMALLEST, _LARGEST = 8, 256


def shard_size(n: int) -> int:
    """Return the number of fields per task, given a total of `n`.

    As for `scale.classify.shard_size`, but a field takes as long as some ten cells.
    """
    return min(max(math.ceil(n / _PARTS), _SMALLEST), _LARGEST)


@dataclass(frozen=True)
class PackedAnalyzer:
    """A `FileAnalyzer` packed for workers, which may not have access to the folders of models."""

    finder: PackedBundle
    crops: PackedClassifier | None
    subtypes: PackedClassifier | None
    scale: Scale | None
    edges: EdgeRule
    level: int = 0
    area: str = ""

    @classmethod
    def of(cls, files: FileAnalyzer) -> PackedAnalyzer:
        """Pack the models and the settings."""
        analyzer = files.analyzer
        detector = analyzer.finder
        if not isinstance(detector, Detector):
            raise TypeError(f"`analyzer` must have a `Detector`. Received: {detector!r}")
        crops, subtypes = analyzer.crops, analyzer.subtypes
        return cls(
            PackedBundle.of(detector.bundle),
            None if crops is None else PackedClassifier.of(crops.bundle),
            None if subtypes is None else PackedClassifier.of(subtypes.bundle),
            analyzer.scale,
            analyzer.edges,
            files.level,
            files.area,
        )

    def open(self) -> FileAnalyzer:
        """Open the analyzer for one field at a time, after checking all hashes.

        Raises `BundleError` if this installation's version cannot use a model.
        """
        with self.finder.unpacked() as bundle:
            finder = Detector(bundle)
        analyzer = FieldAnalyzer(
            finder,
            None if self.crops is None else self.crops.open(),
            None if self.subtypes is None else self.subtypes.open(),
            scale=self.scale,
            edges=self.edges,
            workers=1,
        )
        return FileAnalyzer(analyzer, level=self.level, area=self.area)


@dataclass(frozen=True)
class FieldShard:
    """Images that one task analyses."""

    items: tuple[RunItem, ...]
    files: tuple[ImageFile, ...]


class RayEngine:
    """Analyses images on a Ray cluster; an `Engine` of `workflows.analyze`.

    Paths may also be fsspec URIs such as ``s3://bucket/folder``. Files must be at the same paths on
    every node.

    `pack` returns the analyzer in a form that can be sent to workers, by default a
    `PackedAnalyzer`.
    """

    def __init__(
        self, cluster: Cluster | None = None, pack: Callable[[Any], Packed] | None = None
    ) -> None:
        self._pack: Callable[[Any], Packed] = pack or PackedAnalyzer.of
        self._cluster = cluster or Cluster()
        self._files: dict[RunItem, ImageFile] = {}

    def items(self, paths: Iterable[str], level: int = 0, region: str = "") -> Iterator[RunItem]:
        """Yield the images at `paths`, which are files, folders and URIs.

        Slides are read by region; those at URIs are not supported.
        """
        for file in list_files(paths):
            place = Path(file.name)
            found = (place,) if file.root else find_regions([place], level=level, area=region)
            for one in found:
                item = RunItem(place, one.box if isinstance(one, Region) else "")
                self._files[item] = file
                yield item

    def name(self, item: RunItem) -> str:
        """Return the path or URI of an item's file."""
        return self._files[item].name

    def stamp(self, item: RunItem) -> str:
        """Return the state of an item's file when it was listed."""
        return self._files[item].stamp

    def source(self, item: RunItem) -> Source:
        """Return the content of an item's file, or the error."""
        return _fetch((item, self._files[item])).source

    def fill(self, analyzer: Predictor[AnalysisRow], store: Store, progress: Progress) -> None:
        """Analyse the items that the store lacks, and add their rows as shards complete.

        Raises `ClusterError` if the cluster cannot be reached or did not finish.
        """
        shards, total = self._shards(list(store.todo())), store.left
        if not shards:
            return
        done, lost = 0, list[str]()
        with connected(self._cluster) as connection:
            shared = connection.share(self._pack(analyzer))
            for task in connection.run(analyze_shard, shared, shards):
                if task.result is None:
                    lost.append(task.lost)
                    continue
                for item, rows in zip(task.item.items, task.result, strict=True):
                    store.add(rows, item)
                done += len(task.result)
                progress(done, total, ANALYSING, "fields")
        if lost:
            raise ClusterError(
                f"{len(lost)} of {len(shards)} shards were repeatedly lost with their workers; the "
                f"last error was {lost[-1]}. {done} of {total} fields are done. Run the command "
                "again with --resume to continue."
            )

    def _shards(self, left: Sequence[RunItem]) -> list[FieldShard]:
        size = shard_size(len(left))
        cut = (tuple(left[start : start + size]) for start in range(0, len(left), size))
        return [FieldShard(some, tuple(self._files[item] for item in some)) for some in cut]


def analyze_shard(
    analyzer: Predictor[AnalysisRow], shard: FieldShard
) -> list[list[dict[str, Value]]]:
    """Return the rows of each image of a shard, in order."""
    items = ahead(_fetch, zip(shard.items, shard.files, strict=True), READERS)
    results = infer(analyzer, items)
    return [[row.values() for row in result.rows] for result in results]


def _fetch(given: tuple[RunItem, ImageFile]) -> Item:
    """Return the content of an image, the error, or a region, which the analyzer reads itself."""
    item, file = given
    if item.region:
        return Item(file.name, Region.parse(item.path, item.region))
    if not file.root and is_slide(item.path):  # it could not be opened, which the analyzer reports
        return Item(file.name, item.path)
    return fetch(file)
