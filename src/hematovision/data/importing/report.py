"""What an import did, for people and for ``import.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from hematovision.images.boxes import MIN_SIDE, Box
from hematovision.images.crops import BORDER, CONTEXT
from hematovision.paths import valid_text
from hematovision.taxonomy import Taxonomy

__all__ = ["REPORT_FILE", "ImportReport", "LeftOut"]

REPORT_FILE = "import.json"

_RULE = (
    "square around the centre of the box clipped to its field; side = context x longer side of "
    "the box, rounded; outside the field its border pixels are repeated; boxes within `border` "
    "pixel of the field's border are flagged touches_border; degenerate boxes are left out"
)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A box that did not become a cell image.

    Parameters
    ----------
    field : str
        The field's name.
    label : str
        The class in the box file's spelling.
    box : Box or None
        In pixels of the field.
    where : str
        File and line of the box.
    reason : str
        What is wrong with it.
    """

    field: str
    label: str
    box: Box | None
    where: str
    reason: str


@dataclass(frozen=True)
class ImportReport:
    """What an import did.

    Parameters
    ----------
    dest : Path
        The dataset that was written.
    source : Path
        What it was made from.
    format : str
        ``voc``, ``yolo``, ``csv``, ``coco`` or ``folders``.
    lab : str
        Written into ``cells.csv``.
    taxonomy : Taxonomy
        The classes.
    counts : mapping
        Cell images by part (``train``, ``valid``, ``test``; ``all`` where there are no parts) and
        class.
    fields : int
        Fields that gave at least one cell image; 0 where whole images were copied.
    touching : int
        Cell images whose box touches the field's border.
    left_out : tuple of LeftOut
        Boxes that gave no cell image, with reasons.
    problems : tuple of str
        What else was wrong, each naming its file.
    notes : tuple of str
        What was done that someone may not expect: which split was kept or made, boxes scaled or
        turned, polygons replaced by boxes.
    options : mapping
        What was asked for: split, groups, annotations, seed...
    """

    dest: Path
    source: Path
    format: str
    lab: str
    taxonomy: Taxonomy
    counts: Mapping[str, Mapping[str, int]]
    fields: int
    touching: int
    left_out: tuple[LeftOut, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    options: Mapping[str, object]

    @property
    def total(self) -> int:
        """The number of cell images written."""
        return sum(sum(part.values()) for part in self.counts.values())

    @property
    def by_class(self) -> dict[str, int]:
        """The number of cell images of each class, over all parts."""
        return {
            label: sum(part[label] for part in self.counts.values())
            for label in self.taxonomy.classes
        }

    @property
    def ok(self) -> bool:
        """Whether nothing was left out and nothing was wrong."""
        return not (self.left_out or self.problems)

    def to_json(self) -> str:
        """Return the text of ``import.json``: everything above, and the crop rule."""
        value = {
            "format": self.format,
            "source": str(self.source),
            "lab": self.lab,
            "options": dict(self.options),
            "taxonomy": self.taxonomy.to_json(),
            "total": self.total,
            "counts": {part: dict(counts) for part, counts in self.counts.items()},
            "fields": self.fields,
            "touches_border": self.touching,
            "left_out": [asdict(box) for box in self.left_out],
            "problems": list(self.problems),
            "notes": list(self.notes),
        }
        if self.fields:
            sizes = {"context": CONTEXT, "border": BORDER, "min_side": MIN_SIDE}
            value["crop_rule"] = {"rule": _RULE, **sizes}
        return json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: object) -> object:
    """Return `value` with what JSON can't hold written as text.

    A box may hold NaN or infinity, a file name bytes that are not UTF-8.
    """
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not -1e308 < value < 1e308:
        return str(value)
    return valid_text(value) if isinstance(value, str) else value
