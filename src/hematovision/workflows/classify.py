"""The job of classifying: image files and folders in, a table and a summary out."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from hematovision.errors import ImageError, OutputError
from hematovision.images import list_images
from hematovision.images.path_list import PathList
from hematovision.model.classifier import Classifier
from hematovision.model.inference import Item, infer
from hematovision.model.prediction import Prediction
from hematovision.model.registry import DEFAULT_MODEL
from hematovision.progress import Progress, no_progress
from hematovision.rows import Schema
from hematovision.tables.journal import Head, journal_path, open_journal
from hematovision.tables.resuming import Answered
from hematovision.tables.sinks import Table, check_table, open_table
from hematovision.workflows.overlays import Overlays, open_overlays

__all__ = ["ClassifySummary", "classify"]

_TOLD_ROWS = 10_000  # so many are written in well under a second

Sink: TypeAlias = Callable[[Classifier], Table]


@dataclass(frozen=True)
class ClassifySummary:
    """What a run over many images led to.

    Parameters
    ----------
    n : int
        Files looked at.
    counts : mapping of str to int
        Answers of each class, in the model's order; reviewed ones count too.
    review : int
        Answers that a person should look at.
    refused : tuple of ImageError
        Files that could not be read, in order.
    explained : int
        Overlays written.
    before : int
        Files among them whose answer an earlier run had given.
    """

    n: int
    counts: Mapping[str, int]
    review: int
    refused: tuple[ImageError, ...]
    explained: int = 0
    before: int = 0


def classify(
    paths: Iterable[str | Path],
    *,
    model: str | Path = DEFAULT_MODEL,
    out: Path | None = None,
    resume: bool = False,
    also: Sink | None = None,
    explain: Path | None = None,
    progress: Progress = no_progress,
) -> ClassifySummary:
    """Answer for image files, one row each, in memory that does not grow with their number.

    Parameters
    ----------
    paths : iterable of paths
        Files and folders; folders are searched at any depth. A file that cannot be used, a missing
        one included, is refused, and the work goes on.
    model : str or Path
        A bundled model's name or a run folder.
    out : Path, optional
        Where to write the table; ``.csv``, ``.jsonl`` or ``.parquet``. It appears when all is done;
        until then the answers are in a journal beside it (`journal.journal_path`).
    resume : bool
        Go on where an interrupted run stopped: the table is the one of a whole run, sooner. Images
        with an answer in the journal are not read again unless they have changed; refused ones
        are. The journal then stays, so that a later run does only what is new. Otherwise all begins
        anew, and the journal goes when the table is there.
    also : callable, optional
        Given the classifier, returns a further table that takes each row as soon as it is there;
        rows of an earlier run are not.
    explain : Path, optional
        A new folder to fill with overlays, one PNG for each answered image: where the model looked.
        It may not lie in a folder that is searched for images. Folders below the one that all
        images have in common are kept. Cannot be resumed.
    progress : Progress, optional

    Raises
    ------
    ModelNotFoundError, BundleError
        If the model cannot be used, or cannot explain itself and is asked to.
    DatasetError
        If a folder has no image in it.
    OutputError
        If the table or an overlay cannot be written, or the folder of overlays is not empty; if
        another process fills the same table or folder; to resume, if there is nothing to resume
        from, the journal is damaged or of another model, or overlays are asked for too.
    """
    if out is not None:
        check_table(out)
    if resume:
        _check_resumable(out, explain)
    classifier = Classifier.load(model)
    if explain is not None:
        classifier.check_explains()
    inputs = list(map(Path, paths))
    files = list_images(inputs)
    with open_overlays(explain, files, inputs) as overlays:
        listener = also(classifier) if also else None
        if out is not None:
            return _to_table(classifier, files, out, overlays, listener, progress, resume=resume)
        tally = _Tally(classifier.classes)
        answers = _answers(classifier, files, overlays)
        for prediction in _told(answers, len(files), listener, progress):
            tally.add(prediction)
        return tally.summary(overlays.written if overlays else 0)


def _to_table(
    classifier: Classifier,
    files: PathList,
    out: Path,
    overlays: Overlays | None,
    listener: Table | None,
    progress: Progress,
    *,
    resume: bool,
) -> ClassifySummary:
    tally = _Tally(classifier.classes)
    with open_journal(out, Head.of(classifier), resume=resume) as journal:
        answered = Answered(journal, files, classifier.classes)
        answers = _answers(classifier, answered.todo(), overlays)
        for prediction in _told(answers, answered.left, listener, progress):
            answered.add(prediction)
        # Closed while the journal is open, also where the table cannot be written.
        with closing(answered.predictions()) as predictions:
            counted = tally.counted(predictions)
            if answered.changed or not out.exists():
                _write_table(out, counted, classifier.schema, len(files), progress)
                answered.finish()
            else:
                deque(counted, maxlen=0)
        if not resume:
            journal.remove()
    return tally.summary(overlays.written if overlays else 0, before=answered.before)


def _check_resumable(out: Path | None, explain: Path | None) -> None:
    if out is None:
        raise OutputError("Only a table can be resumed. Name it with --out, or leave out --resume.")
    if explain is not None:
        raise OutputError(
            "Overlays cannot be resumed: there is no telling which of them are whole. Finish the "
            "table without --explain, and run with --explain FOLDER alone."
        )
    if out.exists() and not journal_path(out).exists():
        raise OutputError(
            f"The table {out} is finished, and was not made with --resume: there is no "
            f"{journal_path(out)} that says which model it is of. Run without --resume to make it "
            "anew, or choose another --out."
        )


def _told(
    answers: Iterable[Prediction], total: int, listener: Table | None, progress: Progress
) -> Iterator[Prediction]:
    """Pass answers on, then tell who listens that they are there."""
    for done, prediction in enumerate(answers, 1):
        yield prediction
        if listener is not None:
            listener.write(prediction.values())
        progress(done, total, "Classifying")


def _write_table(
    out: Path,
    answers: Iterable[Prediction],
    schema: Schema,
    total: int,
    progress: Progress,
) -> None:
    with open_table(out, schema) as table:
        for row, prediction in enumerate(answers, 1):
            table.write(prediction.values())
            if row % _TOLD_ROWS == 0:
                progress(row, total, "Writing the table")


def _answers(
    classifier: Classifier, files: Iterable[Path], overlays: Overlays | None
) -> Iterator[Prediction]:
    """Give the answers, each after its overlay, if any, is written."""
    items = (Item(str(path), path) for path in files)
    for result in infer(classifier, items, explain=overlays is not None):
        if overlays is not None:
            overlays.write(result)
        yield result.prediction


class _Tally:
    """Counts predictions as they pass."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        self._classes = classes
        self._labels = Counter[str]()
        self._decisions = Counter[str]()
        self._refused: list[ImageError] = []

    def add(self, prediction: Prediction) -> None:
        self._decisions[prediction.decision] += 1
        if prediction.label is None:
            self._refused.append(ImageError(prediction.path, prediction.error or ""))
        else:
            self._labels[prediction.label] += 1

    def counted(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """Pass predictions on, and count them."""
        for prediction in predictions:
            self.add(prediction)
            yield prediction

    def summary(self, explained: int, before: int = 0) -> ClassifySummary:
        return ClassifySummary(
            n=self._decisions.total(),
            counts={label: self._labels[label] for label in self._classes},
            review=self._decisions["review"],
            refused=tuple(self._refused),
            explained=explained,
            before=before,
        )
