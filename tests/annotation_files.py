"""JSON files of annotations, and the boxes that were read from them."""

import json
from pathlib import Path


def write_json(path: Path, value: object) -> Path:
    """Write a file, and its folder if that is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def boxes(found) -> list[tuple]:
    """Label, subtype and box of each cell in the only field."""
    (field,) = found.fields
    return [(box.label, box.subtype, box.box) for box in field.boxes]
