"""Classification on a cluster, with a table in parts as the output.

The driver lists the images and splits the list into shards. Each task predicts one shard and writes
one part. A resumed run processes the images that are not in any part.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from hematovision import images
from hematovision.errors import ClusterError, ImageError, TooManyBytesError, UnreadableFileError
from hematovision.extras import require
from hematovision.fields.opening import load, open_classifier
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
    "PackedBundle", "PackedClassifier", "Shard", "classify_on_cluster", "fetch", "predict_shard",
    "shard_size",
]  # fmt: skip

READERS = 4
"""Images fetched concurrently while another is predicted: remote storage has high latency."""

_PARTS = 1000
_SMALLEST, _LARGEST = 64, 4096


def shard_size(n: int) -> int:
    """Return the number of images per task, given a total of `n`.

    The target is a thousand parts, enough to keep hundreds of CPUs busy to the end. At least 64
    images (half a second) make the start of a task negligible. At most 4096 limit the work lost
    with a worker to half a minute.
    """
    return min(max(math.ceil(n / _PARTS), _SMALLEST), _LARGEST)


@dataclass(frozen=True)
class PackedBundle:
    """A model packed for workers, which may not have access to its folder."""

    # ``bundle.json``, listing only the graph, and the graph. Weights shared by the bundled models
    # are not sent: every installation has them, and their hash is checked.
    files: Mapping[str, bytes]

    @classmethod
    def of(cls, bundle: Bundle) -> Self:
        """Pack the files needed for prediction."""
        manifest = replace(bundle.manifest, files={ONNX: bundle.manifest.files[ONNX]})
        return cls({MANIFEST: manifest.to_text().encode("utf-8"), ONNX: bundle.read(ONNX)})

    @contextmanager
    def unpacked(self) -> Iterator[Bundle]:
        """Yield the bundle, in a folder that exists during the block.

        Raises `BundleError` if this installation's version cannot use it.
        """
        with tempfile.TemporaryDirectory(prefix="hematovision-") as folder:
            for name, data in self.files.items():
                (Path(folder) / name).write_bytes(data)
            yield read_bundle(Path(folder))


class PackedClassifier(PackedBundle):
    """A packed classifier."""

    def open(self) -> Classifier:
        """Open the classifier for one image at a time, after checking all hashes.

        Raises `BundleError` if this installation's version cannot use it.
        """
        with self.unpacked() as bundle:
            return open_classifier(bundle, workers=1)


@dataclass(frozen=True)
class Shard:
    """Images that one task predicts and writes to one part."""

    folder: str  # of the table: a path or URI that is valid on every node
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
    """Classify images on a Ray cluster; see `workflows.classify.classify`.

    Raises `DatasetError` if there are no images, or an address cannot be listed. Raises
    `ModelNotFoundError` or `BundleError` if the model cannot be used. Raises `OutputError` if `out`
    is in use, belongs to another model, or cannot be written. Raises `ClusterError` if the cluster
    cannot be reached or did not finish; finished parts are kept. Raises `MissingExtraError` if Ray
    is not installed.

    Parameters
    ----------
    addresses : iterable of str
        Files and folders: paths that are valid on every node, or fsspec URIs.
    out : str
        Path or URI of a new folder for the table in parts (Parquet); every node must be able to
        write to it.
    model : str or Path
        A bundled model's name or a run folder. It is sent to the workers.
    resume : bool
        Process only images that are new or have changed, and parts with images that could not be
        fetched. Damaged images are not retried.
    """
    require("ray")
    folder = out if is_uri(out) else os.path.abspath(out)  # noqa: PTH100 - links stay
    classifier = load(model, workers=1)
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
        progress(n, total, "Classifying", "images")
    if lost:
        raise ClusterError(
            f"{len(lost)} of {len(shards)} shards were repeatedly lost with their workers; the "
            f"last error was {lost[-1]}. {n} of {total} images are done. Run the command "
            "again with --resume to continue."
        )
    return parts


def predict_shard(predictor: Predictor[Row], shard: Shard) -> Part:
    """Predict a shard's images in order, and write their rows as one part.

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
    """Return the bytes of an image, or the error."""
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
    except Exception as error:  # storage errors have no common base class
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
            f"{len(missing)} parts were written, but are not visible in {parts.folder} on this "
            "machine: a node may have written to a local disk. Set --out to a shared folder or "
            "a URI, and continue with --resume."
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
