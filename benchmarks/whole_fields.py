"""Count the whole fields that `classify` accepts, and the single cells it takes for fields.

    python -m benchmarks.whole_fields --data DATA --work runs/recipes [--model NAME ...]

For each bundled model, printed in Markdown, on every image of each set and on those that the field
score was not trained on (`recipes.whole_fields`; of PBC and Munich all are): images accepted with
the field score and without it, and images that only the field score sends to review.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hematovision.model.classifier import Classifier
from hematovision.model.thresholds import SEVERAL_CELLS
from hematovision.synthetic import KINDS, render_cell, render_field
from hematovision.taxonomy import RBC_WBC_PLATELETS
from recipes.sets import CELL_SETS, SOURCES, prepare
from recipes.whole_fields.examples import field_files

MODELS = (RBC_WBC_PLATELETS.name, "pbc8")
FIELDS = {name: SOURCES.get(name, Path("krd")) for name in ("bccd", "raabin", "draaslan", "krd")}
_FOLDER = {"bccd": "JPEGImages"}
_SYNTHETIC = range(2000, 2200)  # seeds that the training did not use


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", nargs="+", default=MODELS)
    args = parser.parse_args()
    sets = prepare(args.data, args.work.resolve())
    unseen = field_files(sets, args.data, "test")
    groups: dict[str, Sequence[Path]] = {}
    for name, folder in FIELDS.items():
        images = args.data / folder / _FOLDER.get(name, "images")
        groups[f"fields of {name}"] = sorted(images.iterdir())
        groups[f"fields of {name}, not trained on"] = unseen[name]
    groups["single cells, pbc/val"] = sorted((args.data / "pbc" / "val").rglob("*.jpg"))
    groups["single cells, munich"] = sorted((args.data / "munich").rglob("*.*"))
    groups["single cells, raabin"] = sorted((args.data / "raabin").rglob("*.jpg"))[::5]
    for name in CELL_SETS:
        groups[f"crops of {name}, test"] = [s.path for s in sets[name].subset("test")]
    for model in args.model:
        classifier = Classifier.load(model)
        print(f"\n## {model}, limit {classifier.thresholds.max_field:.3f}\n")
        print("| images | n | accepted | without the score | sent to review by it alone |")
        print("|---|---|---|---|---|")
        paths = sorted({path for group in groups.values() for path in group})
        found = classifier.stream(paths)
        decided = {path: (p.decision, p.reason) for path, p in zip(paths, found, strict=True)}
        for group, members in groups.items():
            _row(group, [decided[path] for path in members])
        for group, arrays in _synthetic().items():
            _row(group, [(p.decision, p.reason) for p in classifier.predict(arrays)])


def _synthetic() -> dict[str, list[NDArray[np.uint8]]]:
    return {
        "synthetic fields": [render_field(seed).image for seed in _SYNTHETIC],
        "synthetic cells": [render_cell(KINDS[seed % len(KINDS)], seed) for seed in _SYNTHETIC],
    }


def _row(group: str, decided: Sequence[tuple[str, str]]) -> None:
    accepted = sum(decision == "accepted" for decision, _ in decided)
    alone = sum(reason == SEVERAL_CELLS for _, reason in decided)
    n = len(decided)
    print(f"| {group} | {n:,} | {accepted} ({accepted / n:.1%}) | {accepted + alone} | {alone} |")


if __name__ == "__main__":
    main()
