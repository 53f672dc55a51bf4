"""Write the report of a bundled model from the metrics in its folder.

    python -m recipes.bundled_models.reports MODEL...

Run folders of the recipe have a report with the misclassified images. Their licences don't allow
shipping them, so the packaged report has none, and the card states it.
"""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from hematovision.evaluation import read_metrics
from hematovision.files import write_text
from hematovision.model.bundle import Bundle, read_bundle, seal
from hematovision.model.registry import find_model
from hematovision.reporting.card import WHERE_ERRORS_ARE
from hematovision.reporting.report import ReportFacts, write_report
from hematovision.training.recipe import Epoch

__all__ = ["PACKAGED", "add_report"]

PACKAGED = (
    "`report.html` in this folder has all metrics. The misclassified images are not part of the "
    "package."
)


def add_report(folder: Path) -> Bundle:
    """Write ``report.html`` into the folder of a bundled model, and update the hashes.

    Parameters
    ----------
    folder : Path
        A bundle with ``metrics.json``, ``history.csv`` and ``MODEL_CARD.md``.
    """
    bundle = read_bundle(folder)
    manifest = bundle.manifest
    facts = ReportFacts(
        title=f"{bundle.name}: test split",
        model=bundle.name,
        dataset=", ".join(manifest.data["labs"]),
        split="test",
        created=datetime.fromisoformat(manifest.created),
        split_sizes=manifest.data["splits"],
        details={
            "Weights": manifest.backbone.name,
            "Seed": str(manifest.seed),
            "Versions": ", ".join(f"{name} {found}" for name, found in manifest.versions.items()),
        },
        labs=tuple(manifest.data["labs"]),
        notes=("The misclassified images are not part of the package.",),
    )
    write_report(folder, read_metrics(folder / "metrics.json"), facts, history=_history(folder))
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    write_text(folder / "MODEL_CARD.md", card.replace(WHERE_ERRORS_ARE, PACKAGED))
    return seal(folder)


def _history(folder: Path) -> Sequence[Epoch]:
    with (folder / "history.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return [{name: float(value or math.nan) for name, value in row.items()} for row in rows]


if __name__ == "__main__":
    for model in sys.argv[1:]:
        add_report(find_model(model))
