"""An analyzer that finds coloured squares: exact rows for fields made of squares."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.fields.rows import ANALYSIS_SCHEMA, CELL_CLASSES, AnalysisRow, CellRow, FieldRow
from hematovision.fields.summary import ModelUsed
from hematovision.workflows.analyze import Opened

CELL = 16
"""Distance between squares; each is 12 pixels wide."""

COLOURS = {"RBC": (200, 90, 90), "WBC": (90, 60, 160), "Platelets": (160, 120, 200)}
UNSURE = (60, 60, 60)
"""A white cell in review."""


def field(cells: Sequence[str], columns: int = 8) -> NDArray[np.uint8]:
    """Return a field with squares of these classes, line by line; "?" is a cell in review."""
    lines = max(1, -(-len(cells) // columns))
    image = np.full((lines * CELL, columns * CELL, 3), 240, np.uint8)
    for number, name in enumerate(cells):
        y, x = (CELL * at + 2 for at in divmod(number, columns))
        if name:
            image[y : y + 12, x : x + 12] = COLOURS.get(name, UNSURE)
    return image


def write_field(path: Path, cells: Sequence[str], columns: int = 8) -> Path:
    return images.write(path, field(cells, columns))


@dataclass(frozen=True)
class SquareFinder:
    """Finds the squares of `field`; squares in the first column do not count."""

    identity: Mapping[str, str | float] = None  # type: ignore[assignment]
    schema = ANALYSIS_SCHEMA
    classes = CELL_CLASSES
    threads = 2
    explains = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "identity", self.identity or {"detector": "d0" * 32})

    def read(self, source: str | Path | bytes | NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
        return source if isinstance(source, np.ndarray) else images.read(source, name=name)

    def predict_rows(self, pixels: NDArray[np.uint8], name: str, *, explain: bool = False):
        height, width = pixels.shape[:2]
        cells = [
            cell
            for y in range(0, height, CELL)
            for x in range(0, width, CELL)
            if (cell := self._cell(name, pixels[y + 8, x + 8], x, y)) is not None
        ]
        counted = [cell.label for cell in cells if cell.counted]
        row = FieldRow(
            name,
            width=width,
            height=height,
            rbc_diameter_px=12.0 if "RBC" in counted else None,
            scale_source="red cells" if "RBC" in counted else "none",
            rbc=counted.count("RBC"),
            wbc=counted.count("WBC"),
            platelets=counted.count("Platelets"),
            review=sum(cell.decision == "review" for cell in cells if cell.counted),
            focus=1.0,
            overlap=0.0,
            saturation=0.0,
            flags="" if "RBC" in counted else "no red cells found",
        )
        return [AnalysisRow(row), *map(AnalysisRow, cells)], None

    def _cell(self, name: str, colour: NDArray[np.uint8], x: int, y: int) -> CellRow | None:
        for label, own in {**COLOURS, "?": UNSURE}.items():
            if np.abs(colour.astype(int) - own).max() < 20:
                found = CellRow(
                    name, x + 2.0, y + 2.0, x + 14.0, y + 14.0,
                    label=label, confidence=0.9, decision="accepted", reason="", subtype="",
                    subtype_confidence=None, p_RBC=0.05, p_WBC=0.9, p_Platelets=0.05,
                    on_edge=x == 0, counted=x > 0,
                )  # fmt: skip
                if label == "?":
                    return replace(found, label="WBC", decision="review", reason="low confidence")
                if label == "WBC":
                    return replace(found, subtype="lymphocyte", subtype_confidence=0.8)
                return found
        return None

    def unreadable(self, name: str, reason: str) -> AnalysisRow:
        return AnalysisRow(FieldRow.unreadable(name, reason))


def opened_finder(finder: SquareFinder | None = None) -> Opened:
    """Return an open `SquareFinder`, which knows one kind of white cell."""
    one = finder or SquareFinder()
    return Opened(
        one,
        ModelUsed("squares", "d0" * 32),
        ModelUsed("kinds", "c0" * 32),
        ("lymphocyte", "neutrophil"),
    )


def outputs(folder: Path) -> dict[str, bytes]:
    """Return all files of an analysis but its store, without the time of the run."""
    return {
        path.relative_to(folder).as_posix(): re.sub(
            rb'"created": "[^"]*"|[0-9]{4}-[0-9]{2}-[0-9]{2}[^<]*', b"", path.read_bytes()
        )
        if path.suffix in (".json", ".html")
        else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith("analysis")
    }
