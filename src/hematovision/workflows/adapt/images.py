"""The images that a model is adapted to: found, checked, and their features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hematovision.data.folders import read_dataset
from hematovision.data.samples import Dataset
from hematovision.errors import DatasetError, ImageError, TaxonomyError
from hematovision.extras import needs_extra
from hematovision.files import sha256_bytes
from hematovision.images import find_images
from hematovision.paths import name_bytes
from hematovision.progress import Progress, no_progress
from hematovision.taxonomy import Taxonomy

with needs_extra("train", "Adapting a model"):
    from hematovision.model.backbone import Backbone
    from hematovision.training.feature_cache import open_cache
    from hematovision.training.features import N_VIEWS, View, extract

__all__ = [
    "LEAST_GROUPS", "LEAST_LABELLED", "LEAST_OF_CLASS", "LEAST_UNLABELLED", "LabFeatures",
    "check_labelled", "find_labelled", "find_unlabelled", "read_features", "read_views",
]  # fmt: skip

LEAST_UNLABELLED = 20
LEAST_LABELLED = 10
LEAST_OF_CLASS = 3
LEAST_GROUPS = 3
"""Fewer images, or from fewer fields, do not represent a lab."""

_MOST_UNREADABLE = 0.5
_MOST_ROWS = 1600  # 8 views of 200 images take seconds.


@dataclass(frozen=True)
class LabFeatures:
    """The readable images among some files, with their features."""

    kept: NDArray[np.int64]  # shape (N,): their positions among the files
    features: NDArray[np.float32]  # shape (N, 1280)
    colours: NDArray[np.float32]  # shape (N, 3): mean red, green and blue, 0 to 255
    digests: tuple[str, ...]  # SHA-256 of each file
    refused: tuple[ImageError, ...]  # the unreadable ones

    def fingerprint(self, labels: Sequence[str] = ()) -> str:
        """Return the SHA-256 over content and label of every image, independent of file names."""
        names = labels or [""] * len(self.digests)
        lines = sorted(f"{label} {d}" for label, d in zip(names, self.digests, strict=True))
        return sha256_bytes(name_bytes("\n".join(lines)))


def find_labelled(
    folder: Path, taxonomy: Taxonomy, progress: Progress = no_progress
) -> Dataset | None:
    """Read the class folders in `folder`; return None if it has no folders.

    Raises `DatasetError` if there is no such folder, or images lie both in folders and next to
    them. Raises `TaxonomyError` if a folder is no class of the model, or several are the same
    class.
    """
    inner = _folders(folder)
    if set(inner) == {""}:
        return None
    if "" in inner:
        names = ", ".join(f"{name} ({n})" for name, n in sorted(inner.items()) if name)
        raise DatasetError(
            f"{folder} has {inner['']} images next to the folders {names}. Put each into the "
            "folder of its class, or all into one folder without others if they have no labels; "
            "--unlabelled ignores folder names."
        )
    try:
        return read_dataset(folder, taxonomy, progress=progress)
    except TaxonomyError as error:
        raise TaxonomyError(f"{error} If the images have no labels, use --unlabelled.") from error


def _folders(folder: Path) -> Counter[str]:
    """Count images by the name of their folder, "" for those directly in `folder`."""
    if not folder.is_dir():
        problem = "is a file" if folder.exists() else "does not exist"
        raise DatasetError(
            f"The folder {folder} {problem}. Give a folder of a lab's images, in class folders if "
            "they are labelled."
        )
    return Counter(
        path.parent.name if path.parent != folder else "" for path in find_images([folder])
    )


def find_unlabelled(folder: Path) -> list[Path]:
    """Return the images in `folder`, at any depth.

    Raises `DatasetError` if there is no such folder, or no image in it.
    """
    _folders(folder)
    return find_images([folder])


def read_features(paths: Sequence[Path], backbone: Backbone, progress: Progress) -> LabFeatures:
    """Compute the features of image files, or take them from the cache.

    Raises `DatasetError` if more than half of them cannot be read.
    """
    with open_cache(backbone.sha256, backbone.n_features) as cache:
        found = extract([View(path) for path in paths], backbone, cache, progress)
    if len(found.refused) > _MOST_UNREADABLE * len(paths):
        raise DatasetError(
            f"{len(found.refused)} of {len(paths)} images cannot be read, more than half. The "
            f"first: {found.refused[0]}. Check the folder."
        )
    return LabFeatures(found.kept, found.values, found.mean_colours, found.digests, found.refused)


def read_views(
    paths: Sequence[Path], backbone: Backbone, progress: Progress
) -> NDArray[np.float32]:
    """Compute the features of several views of readable files; fewer views of many files.

    Returns float32 (N, V, 1280), V at most 8; the first is the image itself.
    """
    n_views = max(1, min(N_VIEWS, _MOST_ROWS // len(paths)))
    views = [View(path, index) for path in paths for index in range(n_views)]
    with open_cache(backbone.sha256, backbone.n_features) as cache:
        found = extract(views, backbone, cache, progress)
    return found.values.reshape(len(paths), n_views, -1)


def check_labelled(data: Dataset) -> None:
    """Check that there are enough labelled images to adapt to.

    Raises `DatasetError` if there are fewer than `LEAST_LABELLED` images, than two classes with
    `LEAST_OF_CLASS` of them, or than `LEAST_GROUPS` groups.
    """
    counts = {label: n for label, n in data.counts().items() if n}
    enough = [label for label, n in counts.items() if n >= LEAST_OF_CLASS]
    groups = len({sample.group for sample in data})
    if len(data) < LEAST_LABELLED or len(enough) < 2 or groups < LEAST_GROUPS:
        listed = ", ".join(f"{label} {n}" for label, n in counts.items()) or "none"
        raise DatasetError(
            f"{data.root} has {len(data)} readable labelled images of {groups} fields or patients "
            f"to adapt to ({listed}); at least {LEAST_LABELLED} are needed, of at least two "
            f"classes with {LEAST_OF_CLASS} each and of {LEAST_GROUPS} fields or patients, and 30 "
            "to 100 are better. Label some more, or put them into one folder and use --unlabelled."
        )
