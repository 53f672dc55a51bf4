"""Classification on a cluster: images anywhere in, a table in parts out.

The driver lists the images and cuts the list into shards; a task predicts one shard and writes one
part. An image that is in no part is left to do: that is how a run is resumed.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hematovision import images
from hematovision.errors import ClusterError, ImageError, TooManyBytesError, UnreadableFileError
from hematovision.extras import require
from hematovision.model.bundle import MANIFEST, ONNX, Bundle, read_bundle
from hematovision.model.classifier import Classifier
from hematovision.model.inference import Item, Predictor, ahead, infer
from hematovision.model.registry import DEFAULT_MODEL
from hematovision.progress import Progress, no_progress
from hematovision.rows import Row, Value
from hematovision.scale.addresses import ImageFile, filesystem, is_uri, list_files
from hematovision.scale.cluster import Cluster, Connection, connected
from hematovision.scale.parts import Part, Parts, open_parts, part_name, write_part
from hematovision.tables.store import run_identity
from hematovision.workflows.classify import ClassifySummary

__all__ = [
    "PackedClassifier", "Shard", "classify_on_cluster", "fetch", "predict_shard", "shard_size",
]  # fmt: skip

READERS = 4
"""Images fetched at once while another is predicted: remote storage is slow to respond."""

_PARTS = 1000
_SMALLEST, _LARGEST = 64, 4096


def shard_size(n: int) -> int:
    """Return how many of `n` images to predict in one task.

    About a thousand parts: enough to keep hundreds of CPUs busy to the end, and few enough for any
    reader. But at least 64 images, the work of half a second, so that starting the task does not
    matter, and at most 4096, so that no more than half a minute is lost with a worker.
    """
    return min(max(math.ceil(n / _PARTS), _SMALLEST), _LARGEST)


@dataclass(frozen=True)
class PackedClassifier:
    """A classifier as it is sent to workers, which may not see its folder."""

    # ``bundle.json``, listing the graph alone, and the graph. Weights that all bundled models
    # share are not sent: every installation has them, and their hash is checked.
    files: Mapping[str, bytes]

    @classmethod
    def of(cls, bundle: Bundle) -> PackedClassifier:
        """Pack what prediction needs."""
        manifest = replace(bundle.manifest, files={ONNX: bundle.manifest.files[ONNX]})
        return cls({MANIFEST: manifest.to_text().encode("utf-8"), ONNX: bundle.read(ONNX)})

    def open(self) -> Classifier:
        """Open it for one image at a time; all hashes are checked.

        Raises `BundleError` if the version of this installation cannot use it.
        """
        with tempfile.TemporaryDirectory(prefix="hematovision-") as folder:
            for name, data in self.files.items():
                (Path(folder) / name).write_bytes(data)
            return Classifier(read_bundle(Path(folder)), workers=1)


@dataclass(frozen=True)
class Shard:
    """Images that one task predicts and writes into one part."""

    folder: str  # of the table: a path or URI that means the same place on every node
    part: str  # the part's name
    files: tuple[ImageFile, ...]


def classify_on_cluster(
    addresses: Iterable[str],
    *,
    out: str,
    model: str | Path = DEFAULT_MODEL,
    resume: bool = False,
    cluster: Cluster | None = None,
    progress: Progress = no_progress,
) -> ClassifySummary:
    """Classify images on a Ray cluster, as `workflows.classify.classify` does on this machine.

    Raises `DatasetError` if there are no images, or an address cannot be listed. Raises
    `ModelNotFoundError` or `BundleError` if the model cannot be used. Raises `OutputError` if `out`
    is in use, of another model, or cannot be written. Raises `ClusterError` if the cluster cannot
    be reached or did not finish. Finished parts are kept in `out`. Raises `MissingExtraError` if
    Ray is not installed.

    Parameters
    ----------
    addresses : iterable of str
        Files and folders: paths that mean the same on every node, or URIs that fsspec knows.
    out : str
        A new folder for the table in parts (Parquet), path or URI, that every node can write.
    model : str or Path
        A bundled model's name or a run folder. It is sent to the workers.
    resume : bool
        Process only images that are new or have changed. Damaged images are not tried again;
        those that could not be fetched are, with the part that they are in.
    """
    require("ray")
    folder = out if is_uri(out) else os.path.abspath(out)  # noqa: PTH100 - links stay
    classifier = Classifier.load(model, workers=1)
    files = list_files(addresses)
    identity = run_identity(classifier.identity, classifier.schema)
    with open_parts(folder, identity, resume=resume) as parts:
        done = parts.done(files)
        before = sum(len(part.stamps) for part in done)
        shards = _shards(folder, files, done, parts.next_number())
        if shards:
            with connected(cluster or Cluster()) as connection:
                shared = connection.share(PackedClassifier.of(classifier.bundle))
                done = [*done, *_run(connection, shared, shards, before, progress)]
        _check_all_there(parts, done)
    return _summary(done, classifier.classes, before)


def _shards(
    folder: str, files: Sequence[ImageFile], done: Iterable[Part], first: int
) -> list[Shard]:
    finished = {name for part in done for name in part.stamps}
    left = [file for file in files if file.name not in finished]
    size = shard_size(len(left))
    cut = (tuple(left[start : start + size]) for start in range(0, len(left), size))
    return [Shard(folder, part_name(number, some), some) for number, some in enumerate(cut, first)]


def _run(
    connection: Connection,
    shared: object,
    shards: Sequence[Shard],
    before: int,
    progress: Progress,
) -> list[Part]:
    total, n = before + sum(len(shard.files) for shard in shards), before
    parts: list[Part] = []
    lost: list[str] = []
    for task in connection.run(predict_shard, shared, shards):
        if task.result is None:
            lost.append(task.lost)
            continue
        parts.append(task.result)
        n += len(task.item.files)
        progress(n, total, "Classifying")
    if lost:
        raise ClusterError(
            f"{len(lost)} of {len(shards)} shards were lost with their workers several times, the "
            f"last one because of {lost[-1]}. {n} of {total} images are done. Run the same command "
            "with --resume to continue."
        )
    return parts


def predict_shard(predictor: Predictor[Row], shard: Shard) -> Part:
    """Predict a shard's images, in order, and write their rows as one part.

    Raises `ModelError` if the model fails. Raises `OutputError` if the part cannot be written.
    """
    rows: list[dict[str, Value]] = []
    unread = 0
    for result in infer(predictor, ahead(fetch, shard.files, READERS)):
        rows += (row.values() for row in result.rows)
        unread += isinstance(result.error, UnreadableFileError)
    stamps = {file.name: file.stamp for file in shard.files}
    return write_part(shard.folder, shard.part, stamps, rows, predictor.schema, unread)


def fetch(file: ImageFile) -> Item:
    """Return the bytes of an image, or the error of reading it."""
    try:
        return Item(file.name, _bytes(file))
    except ImageError as error:
        return Item(file.name, error)


def _bytes(file: ImageFile) -> bytes:
    if not file.root:
        return images.read_bytes(Path(file.path), file.name)
    system, _ = filesystem(file.root)
    try:
        data: bytes = system.cat_file(file.path, start=0, end=images.MAX_BYTES + 1)
    except Exception as error:  # Each storage has its own errors, without a common base.
        raise UnreadableFileError(
            file.name, f"could not be fetched: {type(error).__name__}: {error}. Resume later."
        ) from error
    if len(data) > images.MAX_BYTES:
        raise TooManyBytesError(
            file.name,
            f"the file has more than {images.MAX_BYTES:,} bytes, the limit. Export it smaller.",
        )
    return data


def _check_all_there(parts: Parts, expected: Iterable[Part]) -> None:
    missing = {part.name for part in expected} - set(parts.names())
    if missing:
        raise ClusterError(
            f"{len(missing)} parts were written, but are not in {parts.folder} as this machine "
            "sees it: some node writes to a disk of its own. Give --out a folder that all nodes "
            "share, or a URI, and continue with --resume."
        )


def _summary(parts: Iterable[Part], classes: tuple[str, ...], before: int) -> ClassifySummary:
    counts: Counter[tuple[str, str]] = Counter()
    errors: list[tuple[str, str]] = []
    n = 0
    for part in sorted(parts, key=lambda part: part.name):
        counts.update(part.counts)
        errors += part.errors
        n += len(part.stamps)
    return ClassifySummary(
        n=n,
        counts={
            name: sum(k for (label, _), k in counts.items() if label == name) for name in classes
        },
        review=sum(k for (_, decision), k in counts.items() if decision == "review"),
        refused=tuple(ImageError(name, reason) for name, reason in errors),
        before=before,
    )
