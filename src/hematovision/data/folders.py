"""Datasets as class folders, with or without a folder per split.

.. code-block:: text

    <root>/{Train,Valid,Test}/<class>/*.png      or      <root>/<class>/*.png
    <root>/<class>/{Train,Valid,Test}/*.png

Splits and classes may have any of their usual names (``training``, ``val``, ``red blood cells``),
and may be wrapped in a single folder (``<root>/Blood cells/Train/...``). Folders inside a class
folder are groups, such as patients: their images stay in one split, also across classes.
``cells.csv`` and ``split.csv`` next to the splits or classes contain additional columns, with file
names from `escape_name`; rows whose image is missing are ignored. Links to folders are followed.
Hidden folders, ``__MACOSX`` and files without an image suffix are ignored.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from hematovision.data.cells import CELLS_FILE, Cell, read_cells
from hematovision.data.classes import choose_classes
from hematovision.data.groups import source_of
from hematovision.data.samples import Dataset, Sample, Split
from hematovision.data.splits import SPLIT_FILE
from hematovision.data.textfiles import read_table
from hematovision.errors import DatasetError
from hematovision.images import is_image_name, iter_images, unsupported_format
from hematovision.paths import escape_name
from hematovision.progress import Progress, no_progress, notify
from hematovision.taxonomy import TAXONOMIES, Taxonomy, normalise

__all__ = ["OnUnlistable", "class_folders", "find_split", "read_dataset"]

_SPLIT_SPELLINGS: Mapping[Split, tuple[str, ...]] = {
    "train": ("train", "training", "trn", "tr", "trainset", "trainingset", "traindata",
              "trainingdata"),
    "valid": ("valid", "val", "validation", "validate", "dev", "validset", "valset",
              "validationset", "devset", "validdata", "valdata", "validationdata"),
    "test": ("test", "testing", "tst", "eval", "evaluation", "holdout", "testset", "testingset",
             "testdata", "testingdata"),
}  # fmt: skip

_LEFT_OUT = (".", "__MACOSX")

OnUnlistable: TypeAlias = Callable[[Path, str], None]
"""Called with a folder that can't be listed, and the reason."""

_LAYOUT = (
    "Expected ROOT/Train/CLASS/*.png, and the same under Valid and Test (one or both may be "
    "missing), or ROOT/CLASS/*.png, from which splits are made."
)


def find_split(spelling: str) -> Split | None:
    """Return the split that a folder or file name means, or None.

    >>> find_split("Validation")
    'valid'
    """
    name = normalise(spelling)
    return next((split for split, names in _SPLIT_SPELLINGS.items() if name in names), None)


def read_dataset(
    root: str | Path,
    taxonomy: Taxonomy | str | None = None,
    *,
    splits: str | Path | None = None,
    progress: Progress = no_progress,
    on_unlistable: OnUnlistable | None = None,
) -> Dataset:
    """Read the images and labels of a dataset; no image is opened.

    Parameters
    ----------
    root : str or Path
        The folder; the module's docstring describes the layouts.
    taxonomy : Taxonomy or str, optional
        The classes: a taxonomy, its name, or ``"folders"`` to keep the folder names. By default the
        folder names, unless they are all spellings of RBC, WBC and Platelets or the eight of PBC;
        see `choose_classes`. A class may have no images.
    splits : str or Path, optional
        A ``split.csv`` to use instead of the dataset's own, such as that of a run folder.
    progress : Progress
        Receives a note on the choice of classes.
    on_unlistable : callable, optional
        Called with each folder that can't be listed, which is then left out, and the reason. By
        default such a folder is an error.

    Returns
    -------
    Dataset
        Samples sorted by path. The root is the folder that contains the splits or classes. A
        sample's group is the first available of: ``split.csv``, ``cells.csv`` (by default
        ``lab/field``), the folder inside its class folder, the source of an augmented copy
        (``NAME.rf.HASH``), its relative path. Its split is the first available of: ``split.csv``,
        its folder, ``cells.csv``.

    Raises
    ------
    DatasetError
        If there is no such folder, it has no images in class folders, a folder can't be listed, or
        a folder with images is in no split while others are.
    TaxonomyError
        If a folder is not a class of the requested taxonomy, or only one class would be left.
    AnnotationError
        If ``cells.csv`` or ``split.csv`` can't be read.

    Examples
    --------
    >>> import hematovision
    >>> hematovision.read_dataset("cells")
    Dataset('cells', 30 images: 10 RBC, 10 WBC, 10 Platelets; train, valid, test)
    """
    base = _unwrap(_existing(Path(root)))
    found = sorted(_find(base, on_unlistable or _fail), key=lambda image: image.relative)
    if not found:
        raise DatasetError(
            f"No images in class folders under {base}, which contains {_names(_folders(base))}."
            f"{_unread(base)} {_LAYOUT}"
        )
    spellings = Counter(image.spelling for image in found)
    choice = choose_classes(spellings, taxonomy, where=str(base))
    notify(progress, choice.sentence)
    taxonomy = choice.taxonomy
    labels = {spelling: taxonomy.resolve(spelling) for spelling in spellings}
    cells = _cells(base)
    listed = _splits(Path(splits or base / SPLIT_FILE))
    samples = []
    for image in found:
        sample = _sample(base, image, labels[image.spelling], cells.get(image.relative))
        split, group = listed.get(image.relative, (None, ""))
        samples.append(replace(sample, split=split or sample.split, group=group or sample.group))
    return Dataset(base, taxonomy, tuple(samples))


def class_folders(root: Path) -> Counter[str]:
    """Return the names of a dataset's class folders with their numbers of images.

    Raises
    ------
    DatasetError
        See `read_dataset`.
    """
    return Counter(image.spelling for image in _find(_unwrap(_existing(root)), _fail))


@dataclass(frozen=True, slots=True)
class _Found:
    """An image in a class folder."""

    path: Path
    relative: str
    spelling: str
    split: Split | None
    folder: str  # between the class folder and the image, if any


def _existing(root: Path) -> Path:
    if not root.is_dir():
        problem = "is a file" if root.exists() else "does not exist"
        raise DatasetError(f"The dataset {root} {problem}; expected a folder. {_LAYOUT}")
    return root


def _fail(folder: Path, reason: str) -> None:
    raise DatasetError(
        f"Cannot read the folder {folder}: {reason}. Make it readable, or move it elsewhere."
    )


def _folders(folder: Path, unlistable: OnUnlistable = _fail) -> list[Path]:
    """Return the folders in a folder, sorted, without hidden ones and ``__MACOSX``."""
    found = []
    try:
        inner = sorted(folder.iterdir())
    except OSError as error:
        unlistable(folder, error.strerror or str(error))
        return []
    for path in inner:
        try:
            if not path.name.startswith(_LEFT_OUT) and path.is_dir():
                found.append(path)
        except OSError as error:  # a link into a folder without permission
            unlistable(path, error.strerror or str(error))
    return found


def _unwrap(root: Path) -> Path:
    """Descend through folders that contain only one other folder of splits or classes."""
    folders = _folders(root)
    while len(folders) == 1 and _is_wrapper(folders[0]):
        root, folders = folders[0], _folders(folders[0])
    return root


def _is_wrapper(folder: Path) -> bool:
    known = any(taxonomy.find(folder.name) for taxonomy in TAXONOMIES.values())
    return not known and find_split(folder.name) is None and bool(_folders(folder))


def _find(base: Path, unlistable: OnUnlistable) -> Iterator[_Found]:
    folders = _folders(base, unlistable)
    splits = {folder: split for folder in folders if (split := find_split(folder.name))}
    if not splits:
        found = [i for folder in folders for i in _find_class(base, folder, None, unlistable)]
        yield from _split_inside(base, found)
        return
    for folder in folders:
        if folder in splits:
            for class_folder in _folders(folder, unlistable):
                yield from _find_class(base, class_folder, splits[folder], unlistable)
        elif next(_find_class(base, folder, None, unlistable), None):
            raise DatasetError(
                f"{base} has the splits {_names(list(splits))}, but also the folder "
                f"{folder.name!r} with images, which belongs to none of them. Move it into one of "
                "the splits, or out of the dataset."
            )


def _split_inside(base: Path, found: list[_Found]) -> list[_Found]:
    """Read the splits of ``<root>/<class>/Train/*.png``; reject datasets among the classes.

    Each image must then be in a split's folder inside its class folder. A train folder with
    subfolders is itself a dataset, such as one of several in an archive; its parent is not a class.
    """
    for image in found:
        parents = image.folder.split("/")
        level = next((i for i, name in enumerate(parents) if find_split(name) == "train"), -1)
        if 0 <= level < len(parents) - 1:
            inner = "/".join((escape_name(image.spelling), *parents[:level]))
            raise DatasetError(
                f"{base / inner} has its own splits, such as {parents[level]!r}, with folders "
                "inside: it is probably a dataset, not a class. Use that folder as the dataset, "
                "or arrange the images as ROOT/Train/CLASS/*.png."
            )
    splits = [find_split(image.folder.partition("/")[0]) for image in found]
    if "train" not in splits or None in splits:
        return found
    return [
        replace(image, split=split, folder=image.folder.partition("/")[2])
        for image, split in zip(found, splits, strict=True)
    ]


def _find_class(
    base: Path, class_folder: Path, split: Split | None, unlistable: OnUnlistable
) -> Iterator[_Found]:
    def fail(error: OSError) -> None:
        unlistable(Path(error.filename), error.strerror or str(error))

    visited = set[str]()  # a link may point to a parent folder
    # os.walk is several times faster than Path.rglob on folders with many thousand files.
    for folder, inner, files in os.walk(class_folder, onerror=fail, followlinks=True):
        real = os.path.realpath(folder)
        inner[:] = [name for name in inner if not name.startswith(_LEFT_OUT)]
        if real in visited:
            inner.clear()
            continue
        visited.add(real)
        place = Path(folder)
        relative = escape_name(place.relative_to(base).as_posix())
        nested = escape_name(place.relative_to(class_folder).as_posix())
        for name in files:
            if is_image_name(name) and not name.startswith("."):
                yield _Found(
                    path=place / name,
                    relative=f"{relative}/{escape_name(name)}",
                    spelling=class_folder.name,
                    split=split,
                    folder="" if nested == "." else nested,
                )


def _sample(base: Path, image: _Found, label: str, cell: Cell | None) -> Sample:
    sample = Sample(image.path, label, image.split, image.folder or _own_group(image))
    if cell is None:
        return sample
    group = cell.group or (f"{cell.lab or base.name}/{cell.field}" if cell.field else sample.group)
    return replace(sample, split=image.split or cell.split, group=group, lab=cell.lab, box=cell.box)


def _own_group(image: _Found) -> str:
    """Return the default group of an image; augmented copies share their source's group."""
    source = source_of(image.relative)
    if source is None:
        return image.relative
    folders = source.split("/")
    splits = [i for i, name in enumerate(folders[:2]) if image.split and find_split(name)]
    return "/".join(name for i, name in enumerate(folders) if i not in splits[:1])


def _cells(base: Path) -> Mapping[str, Cell]:
    path = base / CELLS_FILE
    return {cell.file: cell for cell in read_cells(path)} if path.is_file() else {}


def _splits(path: Path) -> Mapping[str, tuple[Split | None, str]]:
    """Read ``split.csv``: the split and group of each file; either may be empty."""
    if not path.is_file():
        return {}
    table = read_table(path, ("file", "split"))
    splits: defaultdict[str, tuple[Split | None, str]] = defaultdict(lambda: (None, ""))
    for row in table.rows:
        split = find_split(row["split"])
        if (split is None and row["split"]) or row["file"] in splits:
            problem = (
                f"the file {row['file']!r} is listed twice"
                if row["file"] in splits
                else f"split must be train, valid, test or empty. Received: {row['split']!r}"
            )
            raise row.error(problem)
        splits[row["file"]] = (split, row.values.get("group", ""))
    return splits


def _unread(base: Path) -> str:
    """Report images in unsupported formats below a folder without supported images."""
    try:
        found = [path for path in iter_images([base]) if unsupported_format(path)]
    except DatasetError:
        return ""
    if not found:
        return ""
    first = escape_name(found[0].name)
    return (
        f" There are {len(found)} in an unsupported format, such as {first} "
        f"({unsupported_format(found[0])}); convert them to PNG or TIFF."
    )


def _names(folders: list[Path]) -> str:
    more = f" and {len(folders) - 10} more" if len(folders) > 10 else ""
    return ", ".join(repr(folder.name) for folder in folders[:10]) + more or "no folders"
