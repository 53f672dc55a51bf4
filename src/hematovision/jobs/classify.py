"""The job of classifying: image files and folders in, a table and a summary out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from hematovision.errors import ImageError
from hematovision.images import find_images
from hematovision.jobs.overlays import Overlays
from hematovision.jobs.tables import Table, open_table
from hematovision.model.classifier import Classifier
from hematovision.model.prediction import Prediction
from hematovision.progress import Progress, no_progress

__all__ = ["DEFAULT_MODEL", "ClassifySummary", "classify"]

DEFAULT_MODEL = "rbc-wbc-platelets"

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
    """

    n: int
    counts: Mapping[str, int]
    review: int
    refused: tuple[ImageError, ...]
    explained: int = 0


def classify(
    paths: Iterable[str | Path],
    *,
    model: str | Path = DEFAULT_MODEL,
    out: Path | None = None,
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
        Where to write the table; ``.csv``, ``.jsonl`` or ``.parquet``. It appears when all is done.
    also : callable, optional
        Given the classifier, returns a further table that takes each row as soon as it is there.
    explain : Path, optional
        A new folder to fill with overlays, one PNG for each answered image: where the model looked.
        Folders below the one that all images have in common are kept.
    progress : Progress, optional

    Raises
    ------
    ModelNotFoundError, BundleError
        If the model cannot be used, or cannot explain itself and is asked to.
    DatasetError
        If a folder has no image in it.
    OutputError
        If the table or an overlay cannot be written, or the folder of overlays is not empty.
    """
    classifier = Classifier.load(model)
    if explain is not None:
        classifier.check_explains()
    files = _files(map(Path, paths))
    overlays = None if explain is None else Overlays(explain, files)
    with ExitStack() as stack:
        tables = [also(classifier)] if also else []
        if out is not None:
            tables.append(stack.enter_context(open_table(out, classifier.classes)))
        tally = _Tally(classifier.classes)
        for done, prediction in enumerate(_answers(classifier, files, overlays), 1):
            for table in tables:
                table.write(prediction)
            tally.add(prediction)
            progress(done, len(files), "Classifying")
    return tally.summary(overlays.written if overlays else 0)


def _answers(
    classifier: Classifier, files: Iterable[Path], overlays: Overlays | None
) -> Iterator[Prediction]:
    """Give the answers, each after its overlay, if any, is written."""
    if overlays is None:
        yield from classifier.stream(files)
        return
    for explained in classifier.explain(files):
        overlays.write(explained)
        yield explained.prediction


def _files(paths: Iterable[Path]) -> list[Path]:
    """List the images of folders, and every other path as it is: reading it says what is wrong."""
    files = dict[Path, None]()
    for path in paths:
        files.update(dict.fromkeys(find_images([path]) if path.is_dir() else [path]))
    return list(files)


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

    def summary(self, explained: int) -> ClassifySummary:
        return ClassifySummary(
            n=self._decisions.total(),
            counts={label: self._labels[label] for label in self._classes},
            review=self._decisions["review"],
            refused=tuple(self._refused),
            explained=explained,
        )
