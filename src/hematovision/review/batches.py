"""A batch of uploaded images: predicted, recorded, and kept while a page shows it."""

from __future__ import annotations

import io
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import IO

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.files import sha256_bytes
from hematovision.model.bundle import ONNX
from hematovision.model.classifier import Classifier
from hematovision.model.inference import ImageResult
from hematovision.model.prediction import Prediction, prediction_schema
from hematovision.progress import Progress, no_progress
from hematovision.review.records import Known, ModelRef, NewPrediction, Retention
from hematovision.review.store import ReviewStore
from hematovision.tables.sinks import csv_table
from hematovision.uploads.receiving import Limits, Upload, expected, predict_uploads, receive

__all__ = ["Batch", "BatchImage", "classify_batch", "model_ref"]

_AT_ONCE = 50  # predictions per transaction, which a crash could lose before they are shown
_BYTES_AT_ONCE = 2**25  # of their files


@dataclass(frozen=True)
class BatchImage:
    """One image of a batch."""

    prediction: Prediction  # its ``path`` is the name of the upload
    sha256: str  # of the content; empty if there is none
    place: tuple[int, int]  # start and length of its content in the batch's file
    prediction_id: int | None = None  # in the records; None if the image could not be read
    # set if the same image is already waiting for review or decided; it is not queued again
    known: Known | None = None


class Batch:
    """Images that were uploaded together, and their predictions.

    The images are in an unnamed temporary file, which saves memory and is deleted with the batch.

    Parameters
    ----------
    number : int
        The batch's number in the records.
    """

    def __init__(self, number: int, model: ModelRef) -> None:
        self.number, self.model = number, model
        self.images: list[BatchImage] = []
        self._images: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the batch

    def close(self) -> None:
        """Delete the images."""
        self._images.close()

    def __del__(self) -> None:
        self.close()

    def put(self, content: bytes) -> tuple[int, int]:
        """Store an image's content; return its start and length in the file."""
        start = self._images.seek(0, io.SEEK_END)
        self._images.write(content)
        return start, len(content)

    def content(self, image: BatchImage) -> bytes:
        """Return the content of an image, exactly as uploaded."""
        start, length = image.place
        self._images.seek(start)
        return self._images.read(length)

    def pixels(self, image: BatchImage) -> NDArray[np.uint8]:
        """Return a readable image as uint8 (H, W, 3)."""
        return images.read(self.content(image))

    @property
    def readable(self) -> list[BatchImage]:
        """The images that could be read."""
        return [image for image in self.images if image.prediction_id is not None]

    @property
    def refused(self) -> list[BatchImage]:
        """The images that could not be read."""
        return [image for image in self.images if image.prediction_id is None]

    def counts(self) -> dict[str, Counter[str]]:
        """Return the number of predictions by headline, then by decision.

        The headlines are all classes of the model, and `NOT_RECOGNISED` if there are such images.
        """
        found: dict[str, Counter[str]] = {name: Counter() for name in self.model.classes}
        for image in self.readable:
            counts = found.setdefault(image.prediction.headline, Counter())
            counts[image.prediction.decision] += 1
        return found

    def chosen(
        self, decisions: Sequence[str] = (), labels: Sequence[str] = (), name: str = ""
    ) -> list[BatchImage]:
        """Return the images with the given decisions and labels; empty means any.

        `name` must be in the file name, in any case. Images for review come first, least certain
        first; unreadable images come last.
        """
        chosen = [
            image
            for image in self.images
            if (not decisions or image.prediction.decision in decisions)
            and (not labels or image.prediction.label in labels)
            and name.casefold() in image.prediction.path.casefold()
        ]
        order = {"review": 0, "accepted": 1, "refused": 2}
        found = ((image, image.prediction) for image in chosen)
        ordered = sorted(found, key=lambda pair: (order[pair[1].decision], pair[1].confidence or 0))
        return [image for image, _ in ordered]

    def csv(self) -> str:
        """Return the table as ``hematovision classify`` writes it."""
        stream = io.BytesIO()
        table = csv_table(stream, prediction_schema(self.model.classes))
        for image in self.images:
            table.write(image.prediction.values())
        table.finish()
        return stream.getvalue().decode("utf-8")


def model_ref(classifier: Classifier, name: str) -> ModelRef:
    """Return a model's name, hash and classes for the records."""
    return ModelRef(
        name,
        classifier.bundle.manifest.files[ONNX],
        classifier.classes,
        classifier.thresholds.max_novelty,
    )


def classify_batch(
    classifier: Classifier,
    uploads: Sequence[Upload],
    store: ReviewStore,
    *,
    name: str,
    limits: Limits | None = None,
    progress: Progress = no_progress,
) -> Batch:
    """Classify images, and those in zip archives, and record every prediction.

    `name` is the model's name in errors and records. All predictions of the returned batch have
    been recorded. Raises `ModelError` if the model fails. Raises `ReviewError` if the records
    cannot be written.
    """
    model = model_ref(classifier, name)
    batch = Batch(store.start_batch(model), model)
    retention, limits = store.retention(), limits or Limits()
    total = expected(uploads, limits)
    results = predict_uploads(classifier, receive(uploads, limits), total=total, progress=progress)
    for group in _groups(results):
        _record(batch, group, store, retention)
    return batch


def _record(
    batch: Batch,
    group: Sequence[ImageResult[Prediction]],
    store: ReviewStore,
    retention: Retention,
) -> None:
    """Record predictions in one transaction, and add them to the batch."""
    found = [BatchImage(one.prediction, _sha256(one), batch.put(_content(one))) for one in group]
    readable = [image for image, one in zip(found, group, strict=True) if one.error is None]
    known = store.known({image.sha256 for image in readable}, batch.model)
    new = [_new_prediction(batch, image, retention) for image in readable]
    ids = iter(store.record(batch.number, new))
    for image, one in zip(found, group, strict=True):
        if one.error is not None:
            batch.images.append(image)
            continue
        recorded = replace(image, prediction_id=next(ids), known=known.get(image.sha256))
        batch.images.append(recorded)
        if image.prediction.decision == "review" and retention.images != "none":
            known.setdefault(image.sha256, Known(is_waiting=True))  # may be repeated in the group


def _content(result: ImageResult[Prediction]) -> bytes:
    return result.source if isinstance(result.source, bytes) else b""


def _sha256(result: ImageResult[Prediction]) -> str:
    return sha256_bytes(result.source) if isinstance(result.source, bytes) else ""


def _groups(
    results: Iterable[ImageResult[Prediction]],
) -> Iterator[list[ImageResult[Prediction]]]:
    """Group results by transaction, limiting the number of predictions and bytes."""
    group: list[ImageResult[Prediction]] = []
    size = 0
    for one in results:
        group.append(one)
        size += len(_content(one))
        if len(group) == _AT_ONCE or size > _BYTES_AT_ONCE:
            yield group
            group, size = [], 0
    if group:
        yield group


def _new_prediction(batch: Batch, image: BatchImage, retention: Retention) -> NewPrediction:
    wanted = retention.images == "all" or (
        retention.images == "review" and image.prediction.decision == "review"
    )
    # Encoded from the pixels, because file metadata may name a patient.
    png = images.encode_png(batch.pixels(image)) if wanted else None
    return NewPrediction(image.prediction.path, image.sha256, image.prediction, png)
