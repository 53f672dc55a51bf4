"""What can be wrong with a dataset, as findings that a person can act on.

.. code-block:: text

    kind                        severity  what it means
    unlistable                  error     a folder that cannot be listed; its images are left out
    unsupported                 warning   an image of a format that is not read, left out
    outside-classes             note      an image in no class folder, left out
    unreadable                  error     a file that no command of this package can use
    exact-duplicates-across     error     one picture in two splits: the test set was trained on
    near-duplicates-across      error     the same, rotated, mirrored, cropped or re-compressed
    group-across                error     one field or patient in two splits
    label-conflict              error     one picture under two classes
    exact-duplicates-within     warning   one picture twice in a split: it counts twice
    near-duplicates-within      warning   the same, changed a little; a note if both are of one
                                          group, which no split separates
    missing-class               warning   a split without a class: nothing is trained or measured
    small-class                 warning   a class with fewer than 20 images
    class-imbalance             note      the largest class has over 10 times the smallest's images
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from hematovision.data.samples import Dataset, Sample
from hematovision.errors import ImageError
from hematovision.files import sha256_file
from hematovision.paths import escape_name

__all__ = [
    "ADVICE",
    "MAX_RATIO",
    "MIN_IMAGES",
    "SEVERITIES",
    "Finding",
    "Severity",
    "balance_findings",
    "duplicate_findings",
    "group_findings",
    "unlistable_findings",
    "unplaced_findings",
    "unreadable_findings",
    "unsupported_findings",
]

Severity: TypeAlias = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")

MIN_IMAGES = 20
"""Images a class needs before anything can be said of it: 20 correct ones of 20 still leave a 95 %
interval that begins at 84 % (Wilson)."""

MAX_RATIO = 10.0
"""Largest to smallest class of the whole dataset. Blood itself is far more uneven (red cells to
white, about 700 to 1) and training weighs the classes, so that beyond it there is a note, not a
warning: look at balanced accuracy, not at accuracy."""

_LEAK = "The test set would not be unseen; keep {} in one split only."

ADVICE: Mapping[str, str] = {
    "unlistable": "Their images are left out; make them readable, or move them elsewhere.",
    "unsupported": "Images in other formats are left out; convert them to PNG or TIFF.",
    "outside-classes": "They are left out; move each into the folder of its class.",
    "unreadable": "Replace them, or remove them.",
    "exact-duplicates-across": _LEAK.format("each image"),
    "near-duplicates-across": _LEAK.format("each image"),
    "group-across": _LEAK.format("each group") + " A split made by HematoVision does.",
    "label-conflict": "At most one class can be right; look at the image and remove the others.",
    "exact-duplicates-within": "Each copy counts as an image; keep one, or put all into one group.",
    "near-duplicates-within": "Each copy counts as an image; keep one, or put all into one group.",
    "missing-class": "Move some images of the class there, or remove the splits to have new ones.",
    "small-class": (
        f"With fewer than {MIN_IMAGES} images neither training nor the metrics are reliable. "
        "Add images, or leave the class out."
    ),
}
"""What to do about a kind of finding, where the same is to be done about each."""

SHOWN = 5
"""Files that a message names; `Finding.files` has all."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about a dataset that a person should know.

    Parameters
    ----------
    kind : str
        One of the kinds listed at the top of this module.
    severity : {"error", "warning", "note"}
    message : str
        What was found and what to do about it; names at most `SHOWN` files.
    files : tuple of str
        All files concerned, relative to the dataset, with forward slashes.
    detail : str
        What tells this finding from others of its kind, for a list of them.
    """

    kind: str
    severity: Severity
    message: str
    files: tuple[str, ...] = ()
    detail: str = ""


def unlistable_findings(dataset: Dataset, folders: Iterable[tuple[Path, str]]) -> Iterator[Finding]:
    """Report each folder that cannot be listed, with the system's reason."""
    for folder, reason in folders:
        name = _path_name(dataset, folder)
        text = f"{name}: {reason}"
        message = f"{text}. Its images are left out; make it readable, or move it elsewhere."
        yield Finding("unlistable", "error", message, (name,), text)


def unsupported_findings(dataset: Dataset, files: Iterable[tuple[Path, str]]) -> Iterator[Finding]:
    """Report each image of a format that is not read, by the format's name."""
    for file, format_name in files:
        name = _path_name(dataset, file)
        text = f"{name}: {format_name}"
        message = f"{text}, which is not supported. It is left out; convert it to PNG or TIFF."
        yield Finding("unsupported", "warning", message, (name,), text)


def unplaced_findings(dataset: Dataset, files: Iterable[Path]) -> Iterator[Finding]:
    """Report each image that lies in no class folder."""
    for file in files:
        name = _path_name(dataset, file)
        message = f"{name} lies in no class folder. It is left out; move it into one."
        yield Finding("outside-classes", "note", message, (name,), name)


def unreadable_findings(
    dataset: Dataset, unreadable: Iterable[tuple[int, ImageError]]
) -> Iterator[Finding]:
    """Report each file that cannot be decoded, with the decoder's reason."""
    for position, error in unreadable:
        name = _name(dataset, dataset.samples[position])
        text = f"{name}: {error.reason}"
        yield Finding("unreadable", "error", text, (name,), text)


def duplicate_findings(
    dataset: Dataset, clusters: Iterable[Sequence[int]], how: Literal["exact", "near"]
) -> Iterator[Finding]:
    """Report groups of images that show one picture, and those of them with several classes.

    Parameters
    ----------
    dataset : Dataset
    clusters : iterable of sequence of int
        Positions in the dataset's samples, two or more each.
    how : {"exact", "near"}
        Equal pixels, or the same picture changed a little.
    """
    for cluster in clusters:
        samples = [dataset.samples[position] for position in cluster]
        files = tuple(_name(dataset, sample) for sample in samples)
        yield _duplicates(samples, files, how)
        labels = sorted({sample.label for sample in samples})
        if len(labels) > 1:
            message = (
                f"{_pictures(samples, how)} is labelled {_list(labels)}: {_list(files)}. "
                f"{ADVICE['label-conflict']}"
            )
            detail = f"{_list(labels)}: {_list(files)}"
            yield Finding("label-conflict", "error", message, files, detail)


def group_findings(dataset: Dataset) -> Iterator[Finding]:
    """Report each group (a field, a patient) that has images in more than one part."""
    members: dict[str, list[Sample]] = defaultdict(list)
    for sample in dataset:
        if sample.group and sample.split is not None:
            members[sample.group].append(sample)
    for group, samples in sorted(members.items()):
        parts = _parts(samples)
        if len(parts) > 1:
            files = tuple(_name(dataset, sample) for sample in samples)
            message = (
                f"Group {group!r} has images in {_list(parts)}: {_list(files)}. "
                f"{ADVICE['group-across']}"
            )
            detail = f"{group!r} in {_list(parts)}: {_list(files)}"
            yield Finding("group-across", "error", message, files, detail)


def balance_findings(dataset: Dataset) -> Iterator[Finding]:
    """Report classes that are missing from a part, small, or far smaller than the largest."""
    counts = dataset.counts()
    for label, count in counts.items():
        if count < MIN_IMAGES:
            yield Finding(
                "small-class",
                "warning",
                f"Class {label!r} has {_images(count)}. {ADVICE['small-class']}",
                detail=f"{label!r}: {_images(count)}",
            )
    for split in dataset.splits:
        for label, count in dataset.subset(split).counts().items():
            if count == 0 and counts[label] > 0:
                yield Finding(
                    "missing-class",
                    "warning",
                    f"Split {split!r} has no images of class {label!r}; the dataset has "
                    f"{counts[label]}. {ADVICE['missing-class']}",
                    detail=f"{label!r} in {split}; the dataset has {_images(counts[label])} of it",
                )
    present = {label: count for label, count in counts.items() if count > 0}
    if present and max(present.values()) > MAX_RATIO * min(present.values()):
        large, small = max(present, key=present.__getitem__), min(present, key=present.__getitem__)
        yield Finding(
            "class-imbalance",
            "note",
            f"Class {large!r} has {_images(present[large])}, {small!r} has {present[small]}: more "
            f"than {MAX_RATIO:g} to 1. Training weights the classes; use balanced accuracy, not "
            "accuracy, to evaluate the model.",
        )


def _images(number: int) -> str:
    return "1 image" if number == 1 else f"{number} images"


def _duplicates(
    samples: Sequence[Sample], files: tuple[str, ...], how: Literal["exact", "near"]
) -> Finding:
    parts = _parts(samples)
    picture = _pictures(samples, how)
    if len(parts) > 1:
        kind = f"{how}-duplicates-across"
        message = f"{picture} is in {_list(parts)}: {_list(files)}. {ADVICE[kind]}"
        return Finding(kind, "error", message, files, f"{_list(parts)}: {_list(files)}")
    one_group = len({sample.group for sample in samples}) == 1 and samples[0].group != ""
    quiet = how == "near" and one_group
    kind = f"{how}-duplicates-within"
    message = f"{picture} appears {len(files)} times: {_list(files)}. {ADVICE[kind]}"
    return Finding(kind, "note" if quiet else "warning", message, files, _list(files))


def _pictures(samples: Sequence[Sample], how: Literal["exact", "near"]) -> str:
    if how == "near":
        return "One picture, rotated, mirrored, cropped, re-compressed or taken twice,"
    same_bytes = len({sha256_file(sample.path) for sample in samples}) == 1
    return f"One picture (the same pixels{' and bytes' if same_bytes else ''})"


def _parts(samples: Iterable[Sample]) -> list[str]:
    return sorted({sample.split or "no split" for sample in samples})


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _name(dataset: Dataset, sample: Sample) -> str:
    return _path_name(dataset, sample.path)


def _path_name(dataset: Dataset, path: Path) -> str:
    inside = path.is_relative_to(dataset.root)
    return escape_name((path.relative_to(dataset.root) if inside else path).as_posix())
