"""``python -m website.figures``: render the images of the home page and the tutorial.

They show synthetic cells, and what ``analyze --overlays`` writes for a synthetic field. Run it
again after a change of the models, the overlays or the synthetic cells.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

from hematovision import AnalyzeOptions, analyze
from hematovision.synthetic import render_cell, render_field

__all__ = ["counted_field", "example_cells", "main"]

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
SEED = 8
FIELD_SIZE = (720, 960)
LAB = "synthetic-a"
KINDS = ("rbc", "platelet", "neutrophil", "lymphocyte", "eosinophil", "monocyte")
CELL = 160
GAP = 8


def counted_field(width: int = 960) -> Image.Image:
    """Render a field, analyse it, and give its overlay.

    Parameters
    ----------
    width
        Width of the image in pixels.

    Returns
    -------
    PIL.Image.Image
        The field with all cells outlined.
    """
    field = render_field(SEED, FIELD_SIZE, LAB)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "field.png"
        Image.fromarray(field.image).save(path)
        analyze(path, Path(folder) / "results", AnalyzeOptions(overlays=True))
        (overlay,) = (Path(folder) / "results" / "overlays").iterdir()
        image = Image.open(io.BytesIO(overlay.read_bytes())).convert("RGB")
    return image.resize(
        (width, round(width * image.height / image.width)), Image.Resampling.LANCZOS
    )


def example_cells() -> Image.Image:
    """Render one cell of several kinds, side by side.

    Returns
    -------
    PIL.Image.Image
        One row of cells of 160 x 160 pixels, with white gaps.
    """
    row = Image.new("RGB", (len(KINDS) * (CELL + GAP) - GAP, CELL), "white")
    for index, kind in enumerate(KINDS):
        cell = Image.fromarray(render_cell(kind, SEED + index, lab=LAB, size=CELL))
        row.paste(cell, (index * (CELL + GAP), 0))
    return row


def main() -> None:
    """Write both images to ``docs/images``."""
    counted_field().save(IMAGES / "counted-field.jpg", quality=85, optimize=True)
    example_cells().save(IMAGES / "synthetic-cells.jpg", quality=85, optimize=True)
    sys.stdout.write(f"Images: {IMAGES}\n")


if __name__ == "__main__":
    main()
