"""The folder in which the examples of the documentation run: synthetic cells, fields, boxes."""

import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from hematovision import images
from hematovision.images.crops import crop
from hematovision.paths import csv_text
from hematovision.synthetic import render_cell, render_field
from hematovision.synthetic.fields import Field
from hematovision.taxonomy import RBC_WBC_PLATELETS

LAB = "synthetic-a"
SPLITS = {"Test": 2, "Valid": 2, "Train": 6}

# The default model accepts these.
NEUTROPHILS = (1, 4, 5, 7, 8, 9, 10, 13, 15, 15)
PLATELETS = (0, 1, 3, 4, 5, 6, 7, 9, 10, 11)


def write_examples(folder: Path) -> Path:
    """Write a cell, a field, class folders, fields, annotated fields and a copy of a public set."""
    images.write(folder / "cell.png", render_cell("neutrophil", 1, lab=LAB))
    _write_cells(folder / "cells")
    fields = [render_field(seed, lab=LAB) for seed in (2, 5)]
    images.write(folder / "field.png", fields[0].image)
    for name, field in zip("ab", fields, strict=True):
        images.write(folder / "fields" / f"{name}.png", field.image)
    _write_annotated(folder / "annotated", fields)
    lab = [render_field(seed, (300, 400), lab=LAB) for seed in range(5)]
    _write_annotated(folder / "lab", lab)
    (folder / "mirror").mkdir()
    with zipfile.ZipFile(folder / "mirror" / "set.zip", "w") as archive:
        archive.write(folder / "cell.png", "set/cell.png")
    return folder


def _write_cells(root: Path) -> None:
    red = render_field(5, lab=LAB)
    boxes = [c.box for c in red.cells if c.kind == "rbc" and not (c.touches_border or c.overlapped)]
    cells = {
        "RBC": [crop(red.image, box)[0] for box in boxes[:10]],
        "WBC": [render_cell("neutrophil", seed, lab=LAB) for seed in NEUTROPHILS],
        "Platelets": [render_cell("platelet", seed, lab=LAB, size=120) for seed in PLATELETS],
    }
    cells["WBC"][-1] = np.ascontiguousarray(cells["WBC"][-1][::-1])
    for label, rendered in cells.items():
        taken = iter(rendered)
        for split, n in SPLITS.items():
            for i in range(n):
                images.write(root / split / label / f"cell{i}.png", next(taken))


def _write_annotated(folder: Path, fields: list[Field]) -> None:
    rows: list[tuple[object, ...]] = [("image", "xmin", "ymin", "xmax", "ymax", "class")]
    for number, field in enumerate(fields):
        name = f"field{number}.png"
        images.write(folder / name, field.image)
        rows += [(name, *c.box, RBC_WBC_PLATELETS.resolve(c.kind)) for c in field.cells]
    (folder / "annotations.csv").write_text(csv_text(rows))


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def mirror_of(folder: Path) -> Iterator[str]:
    """Serve a folder on the loopback interface; yield the address of its archive."""
    handler = partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/set.zip"
        finally:
            server.shutdown()
            thread.join()
