"""Folders of annotated fields of discs, and a pipeline that finds discs."""

from pathlib import Path

import numpy as np

import discs
from hematovision import images
from hematovision.workflows.detection.finding import Pipeline

NAMES = ("RBC", "WBC", "Platelets")
SIZE = WIDTH, HEIGHT = 320, 240
DIAMETER = 40.0


def discs_field(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels, boxes and labels of a field: rows of discs; those of the first column are halved."""
    rng = np.random.default_rng(seed)
    image = np.broadcast_to(discs.BACKGROUND, (HEIGHT, WIDTH, 3)).copy()
    boxes, labels = [], []
    for row in range(3):
        for column in range(4):
            label = int(rng.choice(3, p=[0.7, 0.15, 0.15])) if column else 0
            radius = DIAMETER / 2 * discs.WIDTHS[label]
            x, y = column * 85.0, 40.0 + row * 80 + rng.uniform(-2, 2)
            discs._paint(image, x, y, radius, discs.COLOURS[label])
            boxes.append([max(0.0, x - radius), y - radius, x + radius, y + radius])
            labels.append(label)
    return np.rint(image).astype(np.uint8), np.array(boxes), np.array(labels)


def write_fields(root: Path, count: int = 4, *, splits: bool = False, leave_out=()) -> Path:
    """Write fields as images with YOLO files; boxes of the classes `leave_out` are missing."""
    for number in range(count):
        image, boxes, labels = discs_field(number)
        split = ("train", "test")[number % 2] if splits else ""
        images.write(root / "images" / split / f"f{number}.png", image)
        lines = [
            f"{label} {(x0 + x1) / 2 / WIDTH} {(y0 + y1) / 2 / HEIGHT} {(x1 - x0) / WIDTH} "
            f"{(y1 - y0) / HEIGHT}\n"
            for label, (x0, y0, x1, y1) in zip(labels, boxes, strict=True)
            if NAMES[label] not in leave_out
        ]
        (root / "labels" / split).mkdir(parents=True, exist_ok=True)
        (root / "labels" / split / f"f{number}.txt").write_text("".join(lines))
    return root


def disc_pipeline() -> Pipeline:
    return Pipeline(discs.DiscFinder(), discs.DiscFinder())
