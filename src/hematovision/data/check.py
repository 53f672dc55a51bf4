"""Looking a dataset over before anything is learnt from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hematovision.data.duplicates import clusters, exact_duplicates, near_duplicates
from hematovision.data.findings import (
    SEVERITIES,
    Finding,
    balance_findings,
    duplicate_findings,
    group_findings,
    unlistable_findings,
    unplaced_findings,
    unreadable_findings,
    unsupported_findings,
)
from hematovision.data.fingerprints import Fingerprints, fingerprint_all
from hematovision.data.samples import SPLITS, Dataset
from hematovision.data.unsupported import find_unplaced_files, find_unsupported_files
from hematovision.extras import require
from hematovision.progress import Progress, no_progress
from hematovision.taxonomy import Taxonomy

__all__ = ["CheckReport", "Finding", "check_dataset"]


@dataclass(frozen=True)
class CheckReport:
    """What `check_dataset` found.

    Parameters
    ----------
    files : int
        Images looked at.
    findings : tuple of Finding
        Errors first, then warnings, then notes.
    counts : mapping of str to mapping of str to int
        Images per split and class; ``"all"`` comes last, ``"no part"`` holds images that are in no
        split.
    taxonomy : Taxonomy or None
        The classes.
    """

    files: int
    findings: tuple[Finding, ...]
    counts: Mapping[str, Mapping[str, int]]
    taxonomy: Taxonomy | None = None

    @property
    def ok(self) -> bool:
        """Whether there is neither an error nor a warning."""
        return all(finding.severity == "note" for finding in self.findings)

    @property
    def kinds(self) -> dict[str, int]:
        """How many findings there are of each kind, in the order of `findings`."""
        return dict(Counter(finding.kind for finding in self.findings))

    def to_json(self) -> dict[str, object]:
        """Return everything as JSON-ready values, with the complete lists of files."""
        return {
            "files": self.files,
            "ok": self.ok,
            "taxonomy": None if self.taxonomy is None else self.taxonomy.to_json(),
            "kinds": self.kinds,
            "counts": {part: dict(classes) for part, classes in self.counts.items()},
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
    """Look for unreadable files, duplicates, leaks between splits, label conflicts and imbalance.

    Every image is decoded once; 10,000 images of 360 x 363 pixels take about two minutes on two
    cores. Nothing is changed. The kinds of findings are listed in `hematovision.data.findings`.

    Parameters
    ----------
    dataset : Dataset
        With or without splits; without them nothing can be in two.
    progress : Progress, optional
    unlistable : sequence of (Path, str), optional
        Folders that `read_dataset` could not list, with the reason: findings, too.

    Returns
    -------
    CheckReport

    Raises
    ------
    MissingExtraError
        If imagehash is not installed.
    """
    require("data check")
    prints = fingerprint_all([sample.path for sample in dataset], progress)
    exact, near = _duplicate_positions(prints, progress)
    findings = [
        *unlistable_findings(dataset, unlistable),
        *unsupported_findings(dataset, find_unsupported_files(dataset)),
        *unplaced_findings(dataset, find_unplaced_files(dataset)),
        *unreadable_findings(dataset, prints.unreadable),
        *duplicate_findings(dataset, exact, "exact"),
        *duplicate_findings(dataset, near, "near"),
        *group_findings(dataset),
        *balance_findings(dataset),
    ]
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return CheckReport(len(dataset), tuple(findings), _counts(dataset), dataset.taxonomy)


def _duplicate_positions(
    prints: Fingerprints, progress: Progress
) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Return clusters of positions in the dataset: with equal pixels, and with the same picture.

    Of equal images one is compared with the rest; whatever resembles it resembles them all.
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
    table = {split: dataset.subset(split).counts() for split in SPLITS if split in dataset.splits}
    unplaced = dataset.with_samples(sample for sample in dataset if sample.split is None)
    return {
        **{str(split): counts for split, counts in table.items()},
        **({"no part": unplaced.counts()} if len(unplaced) else {}),
        "all": dataset.counts(),
    }
