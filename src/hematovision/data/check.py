"""Checking a dataset for problems before training.

.. code-block:: text

    kind                        severity  meaning
    unlistable                  error     a folder that can't be listed; its images are left out
    unsupported                 warning   an image in an unsupported format, left out
    outside-classes             note      an image in no class folder, left out
    unreadable                  error     a file that can't be decoded
    exact-duplicates-across     error     one image in two splits: test images are trained on
    near-duplicates-across      error     the same, rotated, mirrored, cropped or re-compressed
    group-across                error     one field or patient in two splits
    label-conflict              error     one image in two classes
    exact-duplicates-within     warning   one image twice in a split: it counts twice
    near-duplicates-within      warning   the same, slightly changed; a note if both are in one
                                          group, which stays in one split
    missing-class               warning   a split without a class: it is not trained or measured
    small-class                 warning   a class with fewer than 20 images
    class-imbalance             note      the largest class has over 10 times the smallest's images
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from hematovision.data.duplicates import (
    Fingerprints,
    clusters,
    exact_duplicates,
    fingerprint_all,
    near_duplicates,
)
from hematovision.data.folders import find_split
from hematovision.data.samples import Dataset, Sample
from hematovision.errors import ImageError
from hematovision.files import sha256_file
from hematovision.images import is_image_name, iter_images, unsupported_format
from hematovision.paths import escape_name
from hematovision.plurals import counted
from hematovision.progress import Progress, no_progress
from hematovision.taxonomy import Taxonomy

__all__ = [
    "ADVICE", "MAX_RATIO", "MIN_IMAGES", "CheckReport", "Finding", "Severity", "balance_findings",
    "check_dataset", "find_unsupported_files",
]  # fmt: skip

Severity: TypeAlias = Literal["error", "warning", "note"]
_SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
_How: TypeAlias = Literal["exact", "near"]

MIN_IMAGES = 20
"""Minimum images per class: even 20 of 20 correct leave a 95% interval from 84% (Wilson)."""

MAX_RATIO = 10.0
"""Maximum ratio of the largest to the smallest class without a note. It is not a warning because
training weights the classes, and blood has about 700 red cells per white cell."""

_SHOWN = 5  # files named in a message; `Finding.files` has all

_LEAK = "The test set would not be independent; keep {} in one split only."
_COPIES = "Each copy counts as an image; keep one, or put all into one group."

ADVICE: Mapping[str, str] = {
    "unlistable": "Their images are left out; make them readable, or move them elsewhere.",
    "unsupported": "Images in other formats are left out; convert them to PNG or TIFF.",
    "outside-classes": "They are left out; move each into the folder of its class.",
    "unreadable": "Replace them, or remove them.",
    "exact-duplicates-across": _LEAK.format("each image"),
    "near-duplicates-across": _LEAK.format("each image"),
    "group-across": _LEAK.format("each group") + " A split made by HematoVision does.",
    "label-conflict": "At most one class can be right; inspect the image and remove the others.",
    "exact-duplicates-within": _COPIES,
    "near-duplicates-within": _COPIES,
    "missing-class": "Move some images of the class there, or remove the splits to have new ones.",
    "small-class": (
        f"With fewer than {MIN_IMAGES} images neither training nor the metrics are reliable. "
        "Add images, or leave the class out."
    ),
}
"""The remedy for each kind of finding that can occur more than once."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem of a dataset."""

    kind: str  # listed at the top of this module
    severity: Severity
    message: str  # the problem and its remedy, with the first few files
    files: tuple[str, ...] = ()  # all affected files, relative to the dataset
    detail: str = ""  # the problem without its remedy, for a list of one kind


@dataclass(frozen=True)
class CheckReport:
    """The result of `check_dataset`."""

    files: int  # images checked
    findings: tuple[Finding, ...]  # errors first, then warnings, then notes
    # Images per split and class; "no part" has those in no split; "all" comes last.
    counts: Mapping[str, Mapping[str, int]]
    taxonomy: Taxonomy | None = None

    @property
    def ok(self) -> bool:
        """Whether there is neither an error nor a warning."""
        return all(finding.severity == "note" for finding in self.findings)

    @property
    def kinds(self) -> dict[str, int]:
        """The number of findings of each kind, in the order of `findings`."""
        return dict(Counter(finding.kind for finding in self.findings))

    def to_json(self) -> dict[str, object]:
        """Return the report as JSON-serialisable values, with complete lists of files."""
        return {
            "files": self.files,
            "ok": self.ok,
            "taxonomy": None if self.taxonomy is None else self.taxonomy.to_json(),
            "kinds": self.kinds,
            "counts": {split: dict(classes) for split, classes in self.counts.items()},
            "findings": [
                {**asdict(finding), "files": list(finding.files)} for finding in self.findings
            ],
        }


def check_dataset(
    dataset: Dataset,
    progress: Progress = no_progress,
    *,
    unlistable: Sequence[tuple[Path, str]] = (),
) -> CheckReport:
    """Find unreadable files, duplicates, leaks between splits, label conflicts and imbalance.

    Every image is decoded once; 10,000 images of 360 x 363 pixels take about two minutes on two
    cores. `unlistable` are the folders that `read_dataset` could not list, with reasons.
    """
    prints = fingerprint_all([sample.path for sample in dataset], progress)
    exact, near = _duplicate_positions(prints, progress)
    findings = [
        *_file_findings(dataset, unlistable, prints.unreadable),
        *_duplicate_findings(dataset, exact, "exact"),
        *_duplicate_findings(dataset, near, "near"),
        *_group_findings(dataset),
        *balance_findings(dataset),
    ]
    findings.sort(key=lambda finding: _SEVERITIES.index(finding.severity))
    return CheckReport(len(dataset), tuple(findings), _counts(dataset), dataset.taxonomy)


def find_unsupported_files(dataset: Dataset) -> list[tuple[Path, str]]:
    """Return the image files of unsupported formats below a dataset's root, with their formats.

    Formats are recognised by suffix; folders that can't be listed are ignored.
    """
    if not any(sample.path.is_relative_to(dataset.root) for sample in dataset):
        return []
    paths = iter_images([dataset.root])
    return [(path, name) for path in paths if (name := unsupported_format(path))]


def _find_unplaced_files(dataset: Dataset) -> list[Path]:
    """Return the images in the folder of the dataset or of a split, but in no class folder."""
    folders = [dataset.root, *(path for path in dataset.root.glob("*") if find_split(path.name))]
    found: list[Path] = []
    for folder in folders:
        try:
            found += sorted(path for path in folder.iterdir() if is_image_name(path))
        except OSError:  # a file, or a folder that can't be listed (reported elsewhere)
            continue
    known = {sample.path for sample in dataset}
    return [p for p in found if p not in known and p.is_file() and not p.name.startswith(".")]


def _duplicate_positions(
    prints: Fingerprints, progress: Progress
) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Return clusters of positions in the dataset, first of equal pixels, then near duplicates.

    Of images with equal pixels, only one is compared with the others.
    """
    exact = exact_duplicates(prints)
    same_as = {group[0]: group for group in exact}
    repeated = {row for group in exact for row in group[1:]}
    rows = [row for row in range(len(prints)) if row not in repeated]
    pairs = near_duplicates(prints, progress, rows)
    near = clusters(
        (*same_as.get(pair.first, (pair.first,)), *same_as.get(pair.second, (pair.second,)))
        for pair in pairs
    )
    return _positions(prints, exact), _positions(prints, near)


def _positions(prints: Fingerprints, groups: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    return [tuple(prints.positions[list(group)].tolist()) for group in groups]


def _counts(dataset: Dataset) -> dict[str, dict[str, int]]:
    table = {str(split): dataset.subset(split).counts() for split in dataset.splits}
    without = dataset.with_samples(sample for sample in dataset if sample.split is None)
    if len(without):
        table["no part"] = without.counts()
    return {**table, "all": dataset.counts()}


def _file_findings(
    dataset: Dataset,
    unlistable: Iterable[tuple[Path, str]],
    unreadable: Iterable[tuple[int, ImageError]],
) -> Iterator[Finding]:
    """Report unusable folders and files, and images in no class folder."""
    for folder, reason in unlistable:
        name = _path_name(dataset, folder)
        remedy = "Its images are left out; make it readable, or move it elsewhere."
        text = f"{name}: {reason}"
        yield Finding("unlistable", "error", f"{text}. {remedy}", (name,), text)
    for file, format_name in find_unsupported_files(dataset):
        name = _path_name(dataset, file)
        text = f"{name}: {format_name}"
        message = f"{text}, which is not supported. It is left out; convert it to PNG or TIFF."
        yield Finding("unsupported", "warning", message, (name,), text)
    for file in _find_unplaced_files(dataset):
        name = _path_name(dataset, file)
        message = f"{name} is in no class folder. It is left out; move it into one."
        yield Finding("outside-classes", "note", message, (name,), name)
    for position, error in unreadable:
        name = _path_name(dataset, dataset.samples[position].path)
        text = f"{name}: {error.reason}"
        yield Finding("unreadable", "error", text, (name,), text)


def _duplicate_findings(
    dataset: Dataset, clusters: Iterable[Sequence[int]], how: _How
) -> Iterator[Finding]:
    """Report clusters of identical images, and those with several classes."""
    for cluster in clusters:
        samples = [dataset.samples[position] for position in cluster]
        files = tuple(_path_name(dataset, sample.path) for sample in samples)
        image = _image(samples, how)
        yield _duplicates(samples, files, image, how)
        labels = sorted({sample.label for sample in samples})
        if len(labels) > 1:
            detail = f"{_list(labels)}: {_list(files)}"
            message = f"{image} is labelled {detail}. {ADVICE['label-conflict']}"
            yield Finding("label-conflict", "error", message, files, detail)


def _duplicates(
    samples: Sequence[Sample], files: tuple[str, ...], image: str, how: _How
) -> Finding:
    splits = _splits(samples)
    if len(splits) > 1:
        kind = f"{how}-duplicates-across"
        detail = f"{_list(splits)}: {_list(files)}"
        return Finding(kind, "error", f"{image} is in {detail}. {ADVICE[kind]}", files, detail)
    one_group = len({sample.group for sample in samples}) == 1 and samples[0].group != ""
    quiet = how == "near" and one_group
    kind = f"{how}-duplicates-within"
    message = f"{image} appears {len(files)} times: {_list(files)}. {ADVICE[kind]}"
    return Finding(kind, "note" if quiet else "warning", message, files, _list(files))


def _image(samples: Sequence[Sample], how: _How) -> str:
    if how == "near":
        return "One image, rotated, mirrored, cropped, re-compressed or taken twice,"
    same_bytes = len({sha256_file(sample.path) for sample in samples}) == 1
    return f"One image (the same pixels{' and bytes' if same_bytes else ''})"


def _group_findings(dataset: Dataset) -> Iterator[Finding]:
    """Report each group (a field, a patient) with images in several splits."""
    members: dict[str, list[Sample]] = defaultdict(list)
    for sample in dataset:
        if sample.group and sample.split is not None:
            members[sample.group].append(sample)
    for group, samples in sorted(members.items()):
        splits = _splits(samples)
        if len(splits) > 1:
            files = tuple(_path_name(dataset, sample.path) for sample in samples)
            message = (
                f"Group {group!r} has images in {_list(splits)}: {_list(files)}. "
                f"{ADVICE['group-across']}"
            )
            detail = f"{group!r} in {_list(splits)}: {_list(files)}"
            yield Finding("group-across", "error", message, files, detail)


def balance_findings(dataset: Dataset) -> Iterator[Finding]:
    """Report classes that are missing from a split, small, or far smaller than the largest."""
    counts = dataset.counts()
    for label, count in counts.items():
        if count < MIN_IMAGES:
            detail = f"{label!r}: {counted(count, 'image')}"
            message = f"Class {label!r} has {counted(count, 'image')}. {ADVICE['small-class']}"
            yield Finding("small-class", "warning", message, detail=detail)
    for split in dataset.splits:
        for label, count in dataset.subset(split).counts().items():
            if count == 0 and counts[label] > 0:
                message = (
                    f"Split {split!r} has no images of class {label!r}; the dataset has "
                    f"{counts[label]}. {ADVICE['missing-class']}"
                )
                detail = (
                    f"{label!r} in {split}; the dataset has {counted(counts[label], 'image')} of it"
                )
                yield Finding("missing-class", "warning", message, detail=detail)
    present = {label: count for label, count in counts.items() if count > 0}
    if present and max(present.values()) > MAX_RATIO * min(present.values()):
        large, small = max(present, key=present.__getitem__), min(present, key=present.__getitem__)
        message = (
            f"Class {large!r} has {counted(present[large], 'image')}, {small!r} has "
            f"{present[small]}: more than {MAX_RATIO:g} to 1. Training weights the "
            "classes; use balanced accuracy, not accuracy, to evaluate the model."
        )
        yield Finding("class-imbalance", "note", message)


def _splits(samples: Iterable[Sample]) -> list[str]:
    return sorted({sample.split or "no split" for sample in samples})


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _path_name(dataset: Dataset, path: Path) -> str:
    inside = path.is_relative_to(dataset.root)
    return escape_name((path.relative_to(dataset.root) if inside else path).as_posix())
