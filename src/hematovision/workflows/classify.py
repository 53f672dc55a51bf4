"""``classify``: predict images into a table, and write overlays."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePath
from typing import TypeAlias, TypeVar

from hematovision import images
from hematovision.errors import ImageError, OutputError
from hematovision.fields.opening import load
from hematovision.files import sha256_bytes
from hematovision.model.classifier import Classifier
from hematovision.model.explain import draw_overlay
from hematovision.model.inference import ImageResult, Item, Predictor, infer
from hematovision.model.prediction import Prediction
from hematovision.model.registry import DEFAULT_MODEL
from hematovision.plurals import counted
from hematovision.progress import Progress, no_progress
from hematovision.rows import ERROR, Row, Schema, Value
from hematovision.stages import stage
from hematovision.tables.sinks import Table, check_table, open_table
from hematovision.tables.store import RunImages, RunItem, Store, can_resume, open_store, store_path
from hematovision.workflows.outputs import claimed_folder

__all__ = [
    "ClassifySummary", "Overlays", "classify", "open_overlays", "overlay_names", "predict_table",
]  # fmt: skip

_LOG = logging.getLogger(__name__)

_ROWS_PER_STEP = 10_000
"""Rows written between two progress updates, in well under a second."""

_LONGEST_STEM = 200
"""In bytes; file systems allow 255, including a hash, a number and the suffix."""

_Row = TypeVar("_Row", bound=Row)
_Values: TypeAlias = Mapping[str, Value]


@dataclass(frozen=True)
class ClassifySummary:
    """Counts over the images of a run.

    Parameters
    ----------
    n : int
        Number of images.
    counts : mapping of str to int
        Predictions per class, in the model's order, including those sent for review.
    review : int
        Number of predictions sent for review.
    refused : tuple of ImageError
        Files that could not be read, in order.
    explained : int
        Number of overlays written.
    before : int
        How many of the images an earlier run had classified.

    Examples
    --------
    >>> import hematovision
    >>> hematovision.classify(["cells/Test", "cell.png"])
    ClassifySummary(7 images: 2 RBC, 3 WBC, 2 Platelets)
    """

    n: int
    counts: Mapping[str, int]
    review: int
    refused: tuple[ImageError, ...]
    explained: int = 0
    before: int = 0

    def __repr__(self) -> str:
        found = ", ".join(f"{n:,} {label}" for label, n in self.counts.items())
        review = f"; {self.review:,} to review" if self.review else ""
        refused = f"; {len(self.refused):,} refused" if self.refused else ""
        return f"ClassifySummary({counted(self.n, 'image')}: {found}{review}{refused})"


def classify(
    paths: str | Path | Iterable[str | Path],
    *,
    model: str | Path = DEFAULT_MODEL,
    out: str | Path | None = None,
    resume: bool = False,
    also: Callable[[Classifier], Table] | None = None,
    explain: str | Path | None = None,
    progress: Progress = no_progress,
) -> ClassifySummary:
    """Classify image files into a table with one row each, in constant memory.

    Parameters
    ----------
    paths : path or iterable of paths
        Files and folders; folders are searched at any depth. A missing or unreadable file is
        listed in the summary; the rest are processed normally.
    model : str or Path
        A bundled model's name or a run folder.
    out : str or Path, optional
        The table to write: ``.csv``, ``.jsonl`` or ``.parquet``. It is written after the last
        image; until then the rows are in a store next to it (`store.store_path`).
    resume : bool
        Whether to continue an interrupted run. Changed, new and previously unreadable images are
        processed; for the rest, the stored rows are used. The table is the same as that of an
        uninterrupted run, and the store is kept for later runs. Without `resume` the run starts
        over, and deletes the store once the table is written.
    also : callable, optional
        Takes the classifier and returns a second table. Each row is written to it as soon as it is
        computed; rows of an earlier run are not repeated.
    explain : str or Path, optional
        A new folder for Grad-CAM overlays, one PNG per classified image, outside all folders of
        `paths`. Subfolders of the images' common folder are kept. Cannot be resumed.
    progress : Progress, optional
        Called as ``progress(done, total, step, unit)``.

    Raises
    ------
    ModelNotFoundError, BundleError
        If the model cannot be used, or has no explanation maps and `explain` is given.
    DatasetError
        If a folder contains no images.
    OutputError
        If the table or an overlay cannot be written, the overlay folder is not empty, or another
        process writes the same table or folder. With `resume`, also if there is nothing to resume,
        the store is damaged or of another model, or `explain` is given.

    Examples
    --------
    >>> import hematovision
    >>> summary = hematovision.classify("cells/Test", out="predictions.csv")
    >>> summary.counts["WBC"], summary.review
    (2, 0)
    """
    out, explain = (None if given is None else Path(given) for given in (out, explain))
    if out is not None:
        check_table(out)
    if resume:
        _check_resumable(out, explain)
    inputs = images.as_paths(paths, "hematovision.load().predict(images)")
    classifier = load(model)
    if explain is not None:
        classifier.check_explains()
    counts = _Counts(classifier.classes)
    with (
        closing(RunImages(images.iter_images(inputs))) as found,
        open_overlays(
            explain, [item.path for item in found] if explain else (), inputs
        ) as overlays,
    ):
        second = also(classifier) if also else None

        def each(result: ImageResult[Prediction]) -> None:
            if overlays is not None:
                overlays.write(result)
            if second is not None:
                second.write(result.prediction.values())

        before = predict_table(
            classifier,
            found,
            out=out,
            resume=resume,
            explain=explain is not None,
            each=each,
            count=counts.add,
            progress=progress,
        )
        return counts.summary(overlays.written if overlays else 0, before)


def predict_table(
    predictor: Predictor[_Row],
    images: RunImages,
    *,
    out: Path | None,
    resume: bool,
    explain: bool,
    each: Callable[[ImageResult[_Row]], None],
    count: Callable[[_Values], None],
    progress: Progress,
) -> int:
    """Predict the rows of images and write them as a table, with a resumable store.

    `each` is called with the result of every image as soon as its rows are stored, `count` with the
    values of every row of the table, in order. With `explain` results have explanation maps. For
    `resume` see `classify`. Returns the number of images that were done before.
    """

    def predict(given: Iterable[RunItem], total: int) -> Iterator[list[dict[str, Value]]]:
        items = (Item(str(item.path), item.path) for item in given)
        with closing(infer(predictor, items, explain=explain)) as results:
            for done, result in enumerate(results, 1):
                yield [row.values() for row in result.rows]
                each(result)
                progress(done, total, "Classifying", "images")

    if out is None:
        for values in chain.from_iterable(predict(images, len(images))):
            count(values)
        return 0
    with open_store(out, predictor.identity, predictor.schema, images, resume=resume) as store:
        with stage(_LOG, "Classifying %s", counted(store.left, "image")):
            for rows in predict(store.todo(), store.left):
                store.add(rows)
        if store.changed or not out.exists():
            _write_table(out, store, predictor.schema, len(images), count, progress)
        else:
            for values in store.rows():
                count(values)
        return store.before


def _check_resumable(out: Path | None, explain: Path | None) -> None:
    if out is None:
        raise OutputError("Only a table can be resumed. Pass --out, or omit --resume.")
    if explain is not None:
        raise OutputError(
            "Overlays cannot be resumed: an interrupted run may have left some incomplete. Finish "
            "the table without --explain, then run with --explain FOLDER alone."
        )
    if out.exists() and not can_resume(out):
        raise OutputError(
            f"The table {out} is finished and was not written with --resume: there is no "
            f"{store_path(out)}. Run without --resume to write it again, or choose another --out."
        )


def _write_table(
    out: Path,
    store: Store,
    schema: Schema,
    total: int,
    count: Callable[[_Values], None],
    progress: Progress,
) -> None:
    writing = stage(_LOG, "Writing the rows of %s into %s", counted(total, "image"), out)
    with store.finishing(), writing, open_table(out, schema) as table:
        for n, values in enumerate(store.rows(), 1):
            count(values)
            table.write(values)
            if n % _ROWS_PER_STEP == 0:
                progress(n, total, "Writing the table", "rows")


class _Counts:
    """Counts the rows of a table of predictions, by label and decision."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        self._labels = Counter[str](dict.fromkeys(classes, 0))
        self._review = 0
        self._refused: list[ImageError] = []

    def add(self, values: _Values) -> None:
        """Count one row."""
        self._review += values["decision"] == "review"
        if values[ERROR]:
            self._refused.append(ImageError(str(values["path"]), str(values[ERROR])))
        else:
            self._labels[str(values["label"])] += 1

    def summary(self, explained: int = 0, before: int = 0) -> ClassifySummary:
        """Return the counts."""
        return ClassifySummary(
            n=self._labels.total() + len(self._refused),
            counts=dict(self._labels),
            review=self._review,
            refused=tuple(self._refused),
            explained=explained,
            before=before,
        )


@contextmanager
def open_overlays(
    folder: Path | None, paths: Sequence[Path], inputs: Iterable[Path] = ()
) -> Iterator[Overlays | None]:
    """Open a folder for overlays, for this process alone; without one, yield None.

    `folder` is new or empty, and outside all folders of `inputs`, in which the images were found.
    `paths` are the images in the order in which they are classified. Raises `OutputError` if the
    folder is not empty, cannot be created, is used by another process, or is in one of `inputs`:
    the next run would classify the overlays.
    """
    if folder is None:
        yield None
        return
    with claimed_folder(folder, option="--explain", inputs=inputs):
        yield Overlays(folder, paths)


class Overlays:
    """Writes one overlay after the other; see `open_overlays`.

    `paths` are the images in the order in which they are classified; `written` is the number of
    overlays so far.
    """

    def __init__(self, folder: Path, paths: Sequence[Path]) -> None:
        self.written = 0
        self._folder = folder
        self._names = iter(overlay_names(paths))

    def write(self, result: ImageResult[Prediction]) -> None:
        """Write the overlay of the next image, unless it could not be read.

        Raises `OutputError` if it cannot be written.
        """
        name = next(self._names)
        if result.attention is None:
            return
        try:
            image = images.read(result.prediction.path)
            overlay = draw_overlay(image, result.attention, result.prediction.caption)
        except (ImageError, MemoryError):  # readable a moment ago; its row stays
            return
        images.write(self._folder / name, overlay)
        self.written += 1


def overlay_names(paths: Sequence[Path], suffix: str = ".png") -> list[PurePath]:
    """Return the name of each image's overlay, unique on every file system.

    Subfolders of the images' common folder are kept. If the common folder is the root of the file
    system, only the name of the image's own folder is kept. A name that equals an earlier one,
    ignoring case, gets a number. Long names are truncated and get a hash.

    Names are relative, and end in `suffix`.
    """
    full = [Path(os.path.abspath(path)) for path in paths]  # noqa: PTH100, don't resolve links
    common = _common_folder(full)
    taken = set[str]()
    names: list[PurePath] = []
    for path in full:
        place = path.relative_to(common or path.parent.parent)
        stem = _short(place.stem)
        name, number = place.with_name(f"{stem}{suffix}"), 2
        while str(name).casefold() in taken:
            name, number = place.with_name(f"{stem}-{number}{suffix}"), number + 1
        taken.add(str(name).casefold())
        names.append(name)
    return names


def _common_folder(paths: Sequence[Path]) -> Path | None:
    """Return the common folder of all paths; None if there is none or it is the root."""
    try:
        common = Path(os.path.commonpath([path.parent for path in paths]))
    except ValueError:  # on two Windows drives
        return None
    return None if common == Path(common.anchor) else common


def _short(stem: str) -> str:
    """Truncate a long name and append its hash."""
    cut = stem
    while len(os.fsencode(cut)) > _LONGEST_STEM:
        cut = cut[:-1]
    return stem if cut == stem else f"{cut}~{sha256_bytes(os.fsencode(stem))[:8]}"
