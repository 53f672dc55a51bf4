"""Classifying on a cluster: images anywhere in, a table in parts out.

The driver lists the images and cuts the list into shards; a task answers one shard and writes one
part. What is missing is what is in no part: that is all there is to resuming.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from hematovision.errors import ClusterError, ImageError
from hematovision.extras import require
from hematovision.model.classifier import Classifier
from hematovision.model.registry import DEFAULT_MODEL
from hematovision.progress import Progress, no_progress
from hematovision.scale.addresses import Source, is_uri, list_sources
from hematovision.scale.cluster import Cluster, Connection, connected
from hematovision.scale.parts import Part, Parts, open_parts, part_name
from hematovision.scale.worker import PackedModel, Shard, classify_shard
from hematovision.tables.store import run_identity
from hematovision.workflows.classify import ClassifySummary

__all__ = ["classify_on_cluster", "shard_size"]

_PARTS = 1000
_SMALLEST, _LARGEST = 64, 4096


def shard_size(n: int) -> int:
    """Return how many images to answer in one task.

    About a thousand parts, which is enough to keep hundreds of processors busy to the end, and few
    enough for any reader; but at least 64 images, the work of half a second, so that starting the
    task does not count, and at most 4096, so that no more than half a minute is lost with a
    worker.
    """
    return min(max(math.ceil(n / _PARTS), _SMALLEST), _LARGEST)


def classify_on_cluster(
    addresses: Iterable[str],
    *,
    out: str,
    model: str | Path = DEFAULT_MODEL,
    resume: bool = False,
    cluster: Cluster | None = None,
    progress: Progress = no_progress,
) -> ClassifySummary:
    """Answer for images on a Ray cluster, as `jobs.classify.classify` does on this machine.

    Parameters
    ----------
    addresses : iterable of str
        Files and folders: paths that mean the same on every node, or URIs that fsspec knows.
    out : str
        A new folder for the table in parts (Parquet), path or URI, that every node can write.
    model : str or Path
        A bundled model's name or a run folder. It is sent to the workers.
    resume : bool
        Do only what is missing or has changed. Images that are broken are not tried again, those
        that could not be fetched are, with the part they are in.
    cluster : Cluster, optional
    progress : Progress

    Raises
    ------
    DatasetError
        If there are no images, or an address cannot be listed.
    ModelNotFoundError, BundleError
        If the model cannot be used.
    OutputError
        If `out` is in use, of another model, or cannot be written.
    ClusterError
        If the cluster cannot be reached or did not do all. What it did is kept in `out`.
    MissingExtraError
        If Ray is not installed.
    """
    require("ray")
    folder = out if is_uri(out) else os.path.abspath(out)  # noqa: PTH100 - links stay
    classifier = Classifier.load(model, workers=1)
    sources = list_sources(addresses)
    identity = run_identity(classifier.identity, classifier.schema)
    with open_parts(folder, identity, resume=resume) as parts:
        standing = parts.standing(sources)
        before = sum(len(part.stamps) for part in standing)
        shards = _shards(sources, standing, parts.next_number())
        done: list[Part] = []
        if shards:
            with connected(cluster or Cluster()) as connection:
                model_there = connection.share(PackedModel.of(classifier.bundle))
                done = _run(connection, (model_there, folder), shards, before, progress)
        _check_all_there(parts, (*standing, *done))
    return _summary((*standing, *done), classifier.classes, before)


def _shards(sources: Sequence[Source], standing: Iterable[Part], first: int) -> list[Shard]:
    answered = {name for part in standing for name in part.stamps}
    left = [source for source in sources if source.name not in answered]
    size = shard_size(len(left))
    cut = (tuple(left[start : start + size]) for start in range(0, len(left), size))
    return [Shard(part_name(number, some), some) for number, some in enumerate(cut, first)]


def _run(
    connection: Connection,
    shared: tuple[object, str],
    shards: Sequence[Shard],
    before: int,
    progress: Progress,
) -> list[Part]:
    total, done = before + sum(map(len, shards)), before
    parts: list[Part] = []
    lost: list[str] = []
    model, folder = shared
    jobs = ((folder, shard) for shard in shards)
    for answer in connection.run(_task, model, jobs):
        if answer.result is None:
            lost.append(answer.lost)
            continue
        parts.append(answer.result)
        done += len(answer.item[1])
        progress(done, total, "Classifying")
    if lost:
        raise ClusterError(
            f"{len(lost)} of {len(shards)} shards were lost with their workers, again and again; "
            f"the last because of {lost[-1]}. {done} of {total} images have their answer. Run the "
            "same command with --resume to do the rest."
        )
    return parts


def _task(classifier: Classifier, job: tuple[str, Shard]) -> Part:
    """Answer one shard on a worker."""
    folder, shard = job
    return classify_shard(classifier, shard, folder)


def _check_all_there(parts: Parts, expected: Iterable[Part]) -> None:
    missing = {part.name for part in expected} - set(parts.names())
    if missing:
        raise ClusterError(
            f"{len(missing)} parts were written, but are not in {parts.folder} as this machine "
            "sees it: some node writes to a disk of its own. Give --out a folder that all nodes "
            "share, or a URI, and go on with --resume."
        )


def _summary(parts: Sequence[Part], classes: tuple[str, ...], before: int) -> ClassifySummary:
    labels = Counter[str]()
    for part in parts:
        labels.update(part.labels)
    return ClassifySummary(
        n=sum(len(part.stamps) for part in parts),
        counts={label: labels[label] for label in classes},
        review=sum(part.review for part in parts),
        refused=tuple(_refused(parts)),
        before=before,
    )


def _refused(parts: Iterable[Part]) -> Iterator[ImageError]:
    for part in sorted(parts, key=lambda part: part.name):
        yield from (ImageError(path, reason) for path, reason in part.refused)
