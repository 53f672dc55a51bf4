"""``summary.json``: the counts of a sample, the models and settings, and caveats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias

from hematovision import __version__
from hematovision.fields.counts import (
    FEWEST_RED,
    FEWEST_WHITE,
    UNCLASSIFIED,
    Counts,
    Differential,
)
from hematovision.plurals import counted

__all__ = ["PER_NL", "PER_PL", "SCHEMA_VERSION", "ModelUsed", "Setting", "Summary"]

SCHEMA_VERSION = 1

Setting: TypeAlias = str | float | int | bool | None

PER_NL, PER_PL = "×\u00a010⁹/L", "×\u00a010¹²/L"  # noqa: RUF001 - signs, not letters
"""Units of counts by an analyser: cells in a nanolitre and in a picolitre."""

_DIGITS = 9  # significant ones of numbers in JSON


@dataclass(frozen=True)
class ModelUsed:
    """A model that an analysis used."""

    name: str
    sha256: str  # of its ONNX file


@dataclass(frozen=True)
class Summary:
    """The result of an analysis of one sample."""

    sample: str  # its name
    detector: ModelUsed
    classifier: ModelUsed | None  # of white cells
    counts: Counts
    # by name, such as ``edges``
    settings: Mapping[str, Setting] = field(default_factory=dict)
    created: datetime = field(default_factory=lambda: datetime.now(UTC))  # now by default
    version: str = __version__

    @property
    def notes(self) -> tuple[str, ...]:
        """Caveats about these counts."""
        return tuple(note for note in (*_field_notes(self), *_cell_notes(self)) if note)

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``summary.json``; its keys are stable.

        Fractions and their limits are in [0, 1]; numbers have 9 significant digits. What is not
        known is null.
        """
        counts = asdict(self.counts)
        fields = {"n": self.counts.fields.n, "read": self.counts.fields.read} | counts.pop("fields")
        excluded = {
            "unreadable": [
                {"image": image, "error": error} for image, error in fields.pop("unreadable_images")
            ],
            "by_edge_rule": counts.pop("not_counted"),
        }
        content: dict[str, Any] = _plain(
            {
                "schema_version": SCHEMA_VERSION,
                "sample": self.sample,
                "created": self.created.isoformat(timespec="seconds"),
                "version": self.version,
                "detector": asdict(self.detector),
                "classifier": asdict(self.classifier) if self.classifier else None,
                "settings": self.settings,
                "fields": fields,
                **counts,
                "excluded": excluded,
                "notes": self.notes,
            }
        )
        return content


def _plain(value: Any) -> Any:
    """Convert tuples to lists, and round numbers."""
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _field_notes(summary: Summary) -> tuple[str, ...]:
    fields = summary.counts.fields
    if not fields.n:
        return ("There are no fields.",)
    unscaled = fields.scale_sources.get("none", 0)
    return (
        f"{counted(fields.unreadable, 'field')} of {fields.n:,} could not be read."
        if fields.unreadable
        else "",
        f"Quality: {counted(fields.flagged, 'field')} of {fields.read:,} flagged. Cells in flagged "
        "fields are counted, but some may be missed or misclassified."
        if fields.flagged
        else "",
        f"No scale was found in {counted(unscaled, 'field')}, so cells there may be missed."
        if unscaled
        else "",
    )


def _cell_notes(summary: Summary) -> tuple[str, ...]:
    counts = summary.counts
    if not counts.fields.read:
        return ()
    if not any(label.n for label in counts.cells.values()):
        return ("No cells were found.",)
    red = counts.platelets.red_cells
    return (
        *_differential_notes(counts.differential, has_classifier=summary.classifier is not None),
        f"Platelets per 1,000 red cells are uncertain: {counted(red, 'red cell')} counted, fewer "
        f"than {FEWEST_RED:,}."
        if red < FEWEST_RED
        else "",
    )


def _differential_notes(found: Differential, *, has_classifier: bool) -> tuple[str, ...]:
    unclassified = found.classes[UNCLASSIFIED].n
    if not found.n:
        nucleated = found.nucleated_red_cells.n
        others = f", but {counted(nucleated, 'nucleated red cell')}" if nucleated else ""
        return (f"No white cells were found{others}.",)
    if not has_classifier:
        return ("White cells were not classified: no classifier was used.",)
    return (
        f"Only {counted(found.n, 'white cell')}: percentages need at least {FEWEST_WHITE}."
        if found.n < FEWEST_WHITE
        else "",
        _unclassified_note(unclassified, found.n),
        f"The white-cell count was corrected from {found.wbc_count:g} to {found.wbc_corrected:.3g} "
        f"{PER_NL} for nucleated red cells: check these cells. Analysers that count them "
        "separately need no correction."
        if found.wbc_corrected is not None
        else "",
    )


def _unclassified_note(unclassified: int, n: int) -> str:
    if not unclassified:
        return ""
    until = "Until a person decides, the percentages of all other classes are too low."
    text = f"Unclassified white cells: {unclassified:,} of {n:,}, for review."
    return text if n < FEWEST_WHITE else f"{text} {until}"
