"""Fields and box files for the readers of annotations."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hematovision import images


def ramp(height: int, width: int, blue: int = 0) -> np.ndarray:
    """A field whose pixels hold their row (red) and column (green)."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.full_like(rows, blue)], axis=-1).astype(np.uint8)


@pytest.fixture
def draw() -> Callable[..., Path]:
    """Write fields of 60 x 80 pixels, the n-th with the blue value n."""

    def draw_fields(folder: Path, *names: str, size: tuple[int, int] = (60, 80)) -> Path:
        for blue, name in enumerate(names):
            images.write(folder / name, ramp(*size, blue))
        return folder

    return draw_fields


@pytest.fixture
def voc(tmp_path: Path, draw) -> Path:
    """A VOC folder of 10 fields with three red cells and one white cell each."""
    source = tmp_path / "smear"
    draw(source / "JPEGImages", *(f"f{i}.png" for i in range(10)))
    boxes = [("RBC", 10, 10, 20, 20), ("rbc", 30, 10, 50, 20), ("Red blood cell", 0, 40, 9, 50)]
    boxes.append(("WBC", 40, 30, 70, 55))
    for i in range(10):
        write_xml(source / "Annotations" / f"f{i}.xml", boxes)
    return source


def write_xml(path: Path, boxes, filename: str = "elsewhere.jpg") -> None:
    objects = "\n".join(
        f"<object><name>{name}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin>"
        f"<xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
        for name, a, b, c, d in boxes
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"<annotation>\n<filename>{filename}</filename>\n{objects}\n</annotation>",
        encoding="utf-8",
    )


@pytest.fixture
def xml() -> Callable[..., None]:
    """Write one VOC file."""
    return write_xml
