"""The report on adapting a detector: what changed, and the results on held-out fields."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hematovision.figures import BLUE, GREY, ORANGE, Drawing
from hematovision.files import write_text
from hematovision.plurals import counted
from hematovision.reporting.card import NOT_FOR_DIAGNOSIS
from hematovision.reporting.report import ReportFacts, render_page
from hematovision.reporting.wording import NOT_A_DEVICE, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "BoxSize", "ClassChange", "ClassScores", "DetectorChanges", "changes_figure",
    "detector_card", "write_detector_report",
]  # fmt: skip


@dataclass(frozen=True)
class ClassScores:
    """The scores of one class on held-out fields, by centre distance, and its values."""

    f1: float
    precision: float | None  # None if no cell was found
    recall: float | None  # None if none is annotated
    count_error: float  # mean over the fields of |found - annotated|
    count_bias: float  # mean over the fields of found - annotated
    threshold: float  # least confidence; after adapting, that of the final detector
    calibration: tuple[float, float]  # confidence = sigmoid(a * logit + b)


@dataclass(frozen=True)
class ClassChange:
    """What changed for one class."""

    annotated: int  # cells
    before: ClassScores
    after: ClassScores
    new_threshold: bool
    new_calibration: bool


@dataclass(frozen=True)
class BoxSize:
    """The correction of the boxes' size, by which the analysis measures the scale."""

    factor: float  # 1 if it was kept
    # mean difference of annotated and detected red-cell diameters, as a share, on held-out fields;
    # None if it is not known
    error_before: float | None
    error_after: float | None
    fields: int  # with enough annotated red cells


@dataclass(frozen=True)
class DetectorChanges:
    """What adapting a detector changed."""

    n: int  # fields
    folds: int
    classes: dict[str, ClassChange]  # those that the lab annotates
    box_size: BoxSize

    @property
    def unchanged(self) -> bool:
        """Whether every value was kept."""
        kept = not any(one.new_threshold or one.new_calibration for one in self.classes.values())
        return kept and self.box_size.factor == 1

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``adaptation.json``."""
        return {"task": "detection", **asdict(self)}


def write_detector_report(folder: Path, changes: DetectorChanges, facts: ReportFacts) -> Path:
    """Write ``report.html`` into `folder`, and return its path.

    Raises `MissingExtraError` if Jinja2 is not installed. Raises `OutputError` if the file can't be
    written.
    """
    page = render_page("detector_adaptation", facts, facts.labs, c=changes)
    return write_text(folder / "report.html", page)


def changes_figure(changes: DetectorChanges) -> Drawing:
    """Plot F1 on held-out fields before and after, by class."""
    rows = range(len(changes.classes))
    before = [one.before.f1 for one in changes.classes.values()]
    after = [one.after.f1 for one in changes.classes.values()]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.hlines(rows, before, after, colors=GREY, linewidth=1.5)
        axes.plot(before, rows, "o", color=ORANGE, markersize=9, fillstyle="none", label="before")
        axes.plot(after, rows, "D", color=BLUE, markersize=6, label="after")
        axes.set_yticks(rows, list(changes.classes))
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set(xlabel="F1 by centre distance", xlim=(-0.02, 1.02))
        axes.set_title(f"Held-out fields, {counted(changes.n, 'field')}")
        axes.grid(axis="x")
        figure.legend(ncols=2, fontsize=9, loc="outside lower center")

    return Drawing((4.8, 1.5 + 0.45 * len(rows)), draw)


def detector_card(
    name: str, source: str, changes: DetectorChanges, notes: Sequence[str], card: str
) -> str:
    """Return the model card of an adapted detector, followed by the original's `card`."""
    rows = [
        f"| {label} | {one.annotated:,} | {percent(one.before.f1)} | {percent(one.after.f1)} "
        f"| {one.after.threshold:.3f} |"
        for label, one in changes.classes.items()
    ]
    lines = [
        f"# {name}",
        f"> {NOT_A_DEVICE} {NOT_FOR_DIAGNOSIS}",
        (
            f"This is the detector {source}, adapted to {counted(changes.n, 'annotated field')} of "
            "another lab. The network is the same; its boxes are scaled by "
            f"{changes.box_size.factor:.3f}."
        ),
        "## Held-out fields, F1 by centre distance",
        "\n".join(
            [
                "| class | annotated | before | after | threshold |",
                "| --- | --- | --- | --- | --- |",
                *rows,
            ]
        ),
        "## Limitations",
        "\n".join(f"- {note}" for note in notes),
    ]
    if card:
        lines += ["## The detector it was adapted from", re.sub(r"(?m)^#", "###", card.strip())]
    return "\n\n".join(lines) + "\n"
