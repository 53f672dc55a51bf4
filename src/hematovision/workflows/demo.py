"""``demo``: the full pipeline on synthetic cells, and the cells of one synthetic field."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hematovision.data.synthesize import NOTE_FILE, OLD_NOTE_FILE, write_synthetic_cells
from hematovision.errors import OutputError
from hematovision.evaluation import Metrics
from hematovision.extras import needs_extra, require
from hematovision.images import write
from hematovision.progress import Progress, no_progress
from hematovision.synthetic import render_field
from hematovision.workflows.analyze import AnalyzeOptions, AnalyzeResult, analyze
from hematovision.workflows.outputs import LOCK, held_folder

with needs_extra("train", "The demo"):
    from hematovision.workflows.train import TrainOptions, train

__all__ = ["IMAGES", "DemoResult", "demo"]

_LABELS = {"rbc": "RBC", "platelet": "Platelets"}
_FIELD, _FIELD_SIZE, _FIELD_LAB = 8, (720, 960), "synthetic-a"

IMAGES = 600
"""Number of synthetic cell images; the demo takes about a minute."""


@dataclass(frozen=True)
class DemoResult:
    """The demo's run folder, its report and metrics, an image to classify next, and a field.

    `analysis` is the result for one synthetic field, which has `rendered` cells by class.
    """

    folder: Path
    report: Path
    metrics: Metrics
    example: Path
    analysis: AnalyzeResult
    rendered: Mapping[str, int]


def demo(
    folder: Path, *, images: int = IMAGES, seed: int = 0, progress: Progress = no_progress
) -> DemoResult:
    """Render a dataset, train a model on it, and evaluate the model; analyse a rendered field.

    An earlier demo in `folder` is replaced; any other content is an error. `images` is the number
    of cell images to render. Raises `OutputError` if `folder` contains other files or cannot be
    written. Raises `MissingExtraError` immediately if the extra ``train`` is not installed.
    """
    require("demo")
    with held_folder(folder) as was_interrupted:
        _clear(folder, was_interrupted=was_interrupted)
        cells, run = folder / "synthetic", folder / "run"
        data = write_synthetic_cells(cells, images, seed, progress=progress)
        result = train(cells, run, TrainOptions(seed=seed), progress=progress)
        analysis, rendered = _analyse_field(folder, seed, progress)
    example = data.subset("test").samples[0].path
    return DemoResult(result.folder, result.report, result.metrics, example, analysis, rendered)


def _analyse_field(
    folder: Path, seed: int, progress: Progress
) -> tuple[AnalyzeResult, Mapping[str, int]]:
    """Render a field and analyse it with the bundled models."""
    field = render_field(_FIELD + seed, _FIELD_SIZE, _FIELD_LAB)
    path = write(folder / "fields" / "synthetic.png", field.image)
    analysis = analyze(path, folder / "analysis", AnalyzeOptions(overlays=True), progress=progress)
    return analysis, Counter(_LABELS.get(cell.kind, "WBC") for cell in field.cells)


def _clear(folder: Path, *, was_interrupted: bool) -> None:
    """Remove an earlier demo, recognised by a file next to its synthetic cells."""
    inside = {path.name for path in folder.iterdir()} - {LOCK}
    noted = was_interrupted or (folder / "synthetic" / NOTE_FILE).is_file()
    # folder and file names up to version 0.2
    noted = noted or (folder / "phantoms" / OLD_NOTE_FILE).is_file()
    ours = inside <= {"synthetic", "phantoms", "run", "fields", "analysis"} and noted
    if inside and not ours:
        raise OutputError(
            f"{folder} has files that are not from a demo ({', '.join(sorted(inside)[:3])}); "
            "nothing was changed. Choose another folder with --out."
        )
    for name in inside:
        shutil.rmtree(folder / name)
