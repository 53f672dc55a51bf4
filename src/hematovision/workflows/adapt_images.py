"""The images that a model is adapted to: found, looked at, and refused where they cannot serve."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.data.folders import read_dataset
from hematovision.data.samples import Dataset
from hematovision.errors import DatasetError, ImageError, TaxonomyError
from hematovision.extras import needs_extra
from hematovision.files import sha256_bytes
from hematovision.images import find_images
from hematovision.paths import csv_row, escape_name, name_bytes, shown
from hematovision.progress import Progress, no_progress
from hematovision.reporting import GALLERY
from hematovision.reporting.adaptation import ChangedExample
from hematovision.taxonomy import Taxonomy

with needs_extra("train", "Adapting a model"):
    from hematovision.model.backbone import Backbone
    from hematovision.model.prediction import RawPredictions
    from hematovision.training.feature_cache import open_cache
    from hematovision.training.features import N_VIEWS, View, extract

__all__ = [
    "LEAST_GROUPS",
    "LEAST_LABELLED",
    "LEAST_OF_CLASS",
    "LEAST_UNLABELLED",
    "Seen",
    "changed_examples",
    "check_labelled",
    "find_labelled",
    "find_unlabelled",
    "look",
    "look_around",
    "predictions_table",
]

LEAST_UNLABELLED = 20
LEAST_LABELLED = 10
LEAST_OF_CLASS = 3
LEAST_GROUPS = 3
"""Fewer images, or from fewer fields, tell more about themselves than about their laboratory."""

_MOST_UNREADABLE = 0.5
_MOST_ROWS = 1600  # Of 200 images from 8 sides: what still takes seconds.


@dataclass(frozen=True)
class Seen:
    """The readable ones of some image files, as a backbone sees them.

    Parameters
    ----------
    kept : ndarray of int, shape (N,)
        Their positions among the files.
    features : ndarray of float32, shape (N, 1280)
    colours : ndarray of float32, shape (N, 3)
        Mean red, green and blue, 0 to 255.
    digests : tuple of str
        SHA-256 of each file.
    refused : tuple of ImageError
        The others.
    """

    kept: NDArray[np.int64]
    features: NDArray[np.float32]
    colours: NDArray[np.float32]
    digests: tuple[str, ...]
    refused: tuple[ImageError, ...]

    def fingerprint(self, labels: Sequence[str] = ()) -> str:
        """Return the SHA-256 over content and label of every image, whatever they are called."""
        known = labels or [""] * len(self.digests)
        lines = sorted(f"{label} {d}" for label, d in zip(known, self.digests, strict=True))
        return sha256_bytes(name_bytes("\n".join(lines)))


def find_labelled(
    folder: Path, taxonomy: Taxonomy, progress: Progress = no_progress
) -> Dataset | None:
    """Return the images in the class folders of `folder`; None if it has no folders.

    `progress` is told which classes the folders stand for.

    Raises
    ------
    DatasetError
        If there is no such folder, or images lie both in folders and beside them.
    TaxonomyError
        If a folder is no class of the model, or several are one.
    """
    inner = _folders(folder)
    if set(inner) == {""}:
        return None
    if "" in inner:
        raise DatasetError(
            f"{folder} has {inner['']} images beside the folders {_names(inner)}. Put each into "
            "the folder of its class, or all into one folder without others if they have no "
            "labels; --unlabelled takes them all as unlabelled."
        )
    try:
        return read_dataset(folder, taxonomy, progress=progress)
    except TaxonomyError as error:
        raise TaxonomyError(f"{error} If the images have no labels, use --unlabelled.") from error


def _folders(folder: Path) -> Counter[str]:
    """Count images by the folder they lie in, "" for those right in `folder`."""
    if not folder.is_dir():
        problem = "is a file" if folder.exists() else "does not exist"
        raise DatasetError(
            f"The folder {folder} {problem}. Give one with images of the laboratory, in class "
            "folders if their classes are known."
        )
    return Counter(
        path.parent.name if path.parent != folder else "" for path in find_images([folder])
    )


def _names(counts: Counter[str]) -> str:
    return ", ".join(f"{name} ({n})" for name, n in sorted(counts.items()) if name)


def find_unlabelled(folder: Path) -> list[Path]:
    """Return the images in `folder`, at any depth.

    Raises
    ------
    DatasetError
        If there is no such folder, or no image in it.
    """
    _folders(folder)
    return find_images([folder])


def look(paths: Sequence[Path], backbone: Backbone, progress: Progress) -> Seen:
    """Look at image files through a backbone; features are cached.

    Raises
    ------
    DatasetError
        If more than half of them cannot be read.
    """
    with open_cache(backbone.sha256) as cache:
        found = extract([View(path) for path in paths], backbone, cache, progress)
    if len(found.refused) > _MOST_UNREADABLE * len(paths):
        raise DatasetError(
            f"{len(found.refused)} of {len(paths)} images cannot be read, more than half; what is "
            f"left may not be what was meant. The first: {found.refused[0]}. Check the folder."
        )
    return Seen(found.kept, found.values, found.mean_colours, found.digests, found.refused)


def look_around(
    paths: Sequence[Path], backbone: Backbone, progress: Progress
) -> NDArray[np.float32]:
    """Look at readable image files from several sides; fewer where there are many images.

    Returns
    -------
    ndarray of float32, shape (N, V, 1280)
        V at most 8; the first is the image itself.
    """
    sides = max(1, min(N_VIEWS, _MOST_ROWS // len(paths)))
    views = [View(path, side) for path in paths for side in range(sides)]
    with open_cache(backbone.sha256) as cache:
        found = extract(views, backbone, cache, progress)
    return found.values.reshape(len(paths), sides, -1)


def check_labelled(data: Dataset) -> None:
    """Refuse labelled images that are too few to learn from, and to judge by.

    Raises
    ------
    DatasetError
        If there are fewer than `LEAST_LABELLED` images, than two classes with `LEAST_OF_CLASS` of
        them, or than `LEAST_GROUPS` groups.
    """
    counts = {label: n for label, n in data.counts().items() if n}
    enough = [label for label, n in counts.items() if n >= LEAST_OF_CLASS]
    groups = len({sample.group for sample in data})
    if len(data) < LEAST_LABELLED or len(enough) < 2 or groups < LEAST_GROUPS:
        shown = ", ".join(f"{label} {n}" for label, n in counts.items()) or "none"
        raise DatasetError(
            f"{data.root} has {len(data)} readable labelled images of {groups} fields or patients "
            f"to adapt to ({shown}); at least {LEAST_LABELLED} are needed, of at least two classes "
            f"with {LEAST_OF_CLASS} each and of {LEAST_GROUPS} fields or patients, and 30 to 100 "
            "are better. Label some more, or put them into one folder and use --unlabelled."
        )


def predictions_table(
    files: Sequence[str], classes: Sequence[str], before: RawPredictions, after: RawPredictions
) -> str:
    """Return ``answers.csv``: for each image its answers, by the old and by the adapted model."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    kinds = ("before", "after")
    writer.writerow(
        (
            "path",
            *(f"{what}_{kind}" for kind in kinds for what in ("label", "confidence", "novelty")),
        )
    )
    for i, file in enumerate(files):
        cells: list[str] = []
        for answers in (before, after):
            row = answers.probabilities[i]
            cells += [classes[row.argmax()], f"{row.max():.6f}", f"{answers.novelty[i]:.6f}"]
        writer.writerow(csv_row((escape_name(file), *cells)))
    return stream.getvalue()


def changed_examples(
    folder: Path,
    files: Sequence[str],
    classes: Sequence[str],
    before: RawPredictions,
    after: RawPredictions,
    max_novelty: float,
) -> list[ChangedExample]:
    """Return the images whose answers changed, the surest new answer first; at most 24.

    An image with a novelty above `max_novelty` after adapting is marked as unlike those known.
    """
    old, new = before.probabilities.argmax(axis=1), after.probabilities.argmax(axis=1)
    confidence = after.probabilities.max(axis=1)
    changed = np.flatnonzero(old != new)
    ranked = changed[np.argsort(-confidence[changed], kind="stable")][:GALLERY]
    return [
        ChangedExample(
            image=images.read(folder / files[i]),
            before=classes[old[i]],
            after=classes[new[i]],
            confidence=float(confidence[i]),
            name=shown(files[i]),
            out_of_distribution=bool(after.novelty[i] > max_novelty),
        )
        for i in ranked
    ]
