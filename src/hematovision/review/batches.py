"""A batch of images as somebody brings it: answered, recorded, and looked at for a while."""

from __future__ import annotations

import csv
import io
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.model.bundle import ONNX
from hematovision.model.classifier import Classifier
from hematovision.model.prediction import Prediction, prediction_schema
from hematovision.paths import csv_row
from hematovision.progress import Progress, no_progress
from hematovision.review.records import Known, ModelRef, NewPrediction, Retention
from hematovision.review.store import ReviewStore
from hematovision.uploads.receiving import ClassifiedUpload, Limits, answer, expected, receive

__all__ = ["Batch", "Row", "classify_batch", "model_ref"]

_AT_ONCE = 50  # Answers of one transaction: those that a crash could lose, and nobody was told of.
_BYTES_AT_ONCE = 2**25  # Of their files.


@dataclass(frozen=True)
class Row:
    """One image of a batch.

    Parameters
    ----------
    prediction : Prediction
        Its ``path`` is the name under which the image came.
    sha256 : str
        Of the bytes that came.
    place : tuple of int
        Where the batch keeps its bytes.
    answer : int or None
        Its number in the records; None where the image was refused.
    known : Known or None
        Where the same image waits for a person already, or was decided: it is not queued again.
    """

    prediction: Prediction
    sha256: str
    place: tuple[int, int]
    answer: int | None = None
    known: Known | None = None


class Batch:
    """Images that came together, and what a model says about them.

    The images lie in a file without a name, which goes when the batch goes: memory does not grow
    with them, and nothing is left behind.

    Parameters
    ----------
    number : int
        Of the batch in the records.
    model : ModelRef
    """

    def __init__(self, number: int, model: ModelRef) -> None:
        self.number, self.model = number, model
        self.rows: list[Row] = []
        self._images: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the batch

    def close(self) -> None:
        """Forget the images."""
        self._images.close()

    def __del__(self) -> None:
        self.close()

    def put(self, content: bytes) -> tuple[int, int]:
        """Keep the bytes of an image, and return their place."""
        start = self._images.seek(0, io.SEEK_END)
        self._images.write(content)
        return start, len(content)

    def content(self, row: Row) -> bytes:
        """Return the bytes of an image as they came."""
        start, length = row.place
        self._images.seek(start)
        return self._images.read(length)

    def pixels(self, row: Row) -> NDArray[np.uint8]:
        """Return an image as uint8 (H, W, 3); not of a refused one."""
        return images.read(self.content(row))

    @property
    def answered(self) -> list[Row]:
        """The images that could be read."""
        return [row for row in self.rows if row.answer is not None]

    @property
    def refused(self) -> list[Row]:
        """The images that could not."""
        return [row for row in self.rows if row.answer is None]

    def counts(self) -> dict[str, Counter[str]]:
        """Return how many predictions each headline has, by decision: ``accepted``, ``review``.

        Every class of the model is there; `NOT_RECOGNISED` where such images are.
        """
        found: dict[str, Counter[str]] = {name: Counter() for name in self.model.classes}
        for row in self.answered:
            counts = found.setdefault(row.prediction.headline, Counter())
            counts[row.prediction.decision] += 1
        return found

    def chosen(
        self, decisions: Sequence[str] = (), labels: Sequence[str] = (), name: str = ""
    ) -> list[Row]:
        """Return the rows with one of the decisions and one of the classes; none given means all.

        With `name` in the file's name, whatever its case. Least certain first, so that what wants a
        look is seen first; refused ones last.
        """
        rows = [
            row
            for row in self.rows
            if (not decisions or row.prediction.decision in decisions)
            and (not labels or row.prediction.label in labels)
            and name.casefold() in row.prediction.path.casefold()
        ]
        order = {"review": 0, "accepted": 1, "refused": 2}
        return sorted(
            rows, key=lambda r: (order[r.prediction.decision], r.prediction.confidence or 0.0)
        )

    def csv(self) -> str:
        """Return the table as ``hematovision classify`` writes it."""
        stream = io.StringIO(newline="")
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(prediction_schema(self.model.classes).names)
        writer.writerows(csv_row(row.prediction.values().values()) for row in self.rows)
        return stream.getvalue()


def model_ref(classifier: Classifier, name: str) -> ModelRef:
    """Return how the records call a model: its name here, its hash, its classes."""
    return ModelRef(
        name,
        classifier.bundle.manifest.files[ONNX],
        classifier.classes,
        classifier.thresholds.max_novelty,
    )


def classify_batch(
    classifier: Classifier,
    uploads: Sequence[tuple[str, bytes | BinaryIO]],
    store: ReviewStore,
    *,
    name: str,
    limits: Limits | None = None,
    progress: Progress = no_progress,
) -> Batch:
    """Answer for images, and for those in zip archives; keep every answer in the records.

    Parameters
    ----------
    classifier : Classifier
    uploads : sequence of (str, bytes or binary file)
        Names for people, and contents.
    store : ReviewStore
    name : str
        What the model is called here.
    limits : Limits, optional
    progress : Progress
        Told after every image.

    Returns
    -------
    Batch
        When it is there, its answers are on disk.

    Raises
    ------
    ModelError
        If the model fails.
    ReviewError
        If the records cannot be written.
    """
    model = model_ref(classifier, name)
    batch = Batch(store.start_batch(model), model)
    retention, limits = store.retention(), limits or Limits()
    total = expected(uploads, limits)
    answers = answer(classifier, receive(uploads, limits), total=total, progress=progress)
    for some in _groups(answers):
        kept = [one for one in some if one.prediction.decision != "refused"]
        known = store.known({one.sha256 for one in kept}, model)
        numbers = iter(store.record(batch.number, [_new_answer(one, retention) for one in kept]))
        for one in some:
            row = Row(one.prediction, one.sha256, batch.put(one.content))
            if one.prediction.decision != "refused":
                row = replace(row, answer=next(numbers), known=known.get(one.sha256))
            batch.rows.append(row)
            if one.prediction.decision == "review" and retention.images != "none":
                # The same image further on in this group.
                known.setdefault(one.sha256, Known(is_waiting=True))
    return batch


def _groups(items: Iterable[ClassifiedUpload]) -> Iterator[list[ClassifiedUpload]]:
    """Group answers for one transaction each: few, and with few bytes in memory."""
    some: list[ClassifiedUpload] = []
    for one in items:
        some.append(one)
        if len(some) == _AT_ONCE or sum(len(each.content) for each in some) > _BYTES_AT_ONCE:
            yield some
            some = []
    if some:
        yield some


def _new_answer(one: ClassifiedUpload, retention: Retention) -> NewPrediction:
    wanted = retention.images == "all" or (
        retention.images == "review" and one.prediction.decision == "review"
    )
    # Encoded anew: a file's metadata may name a patient, its pixels do not.
    picture = images.encode_png(images.read(one.content)) if wanted else None
    return NewPrediction(one.prediction.path, one.sha256, one.prediction, picture)
