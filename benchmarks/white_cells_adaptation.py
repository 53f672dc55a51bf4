"""Adapt the kinds of white cells to a laboratory the model was not trained on.

    python -m benchmarks.white_cells_adaptation --data DATA --work runs/recipes
                                                [--leave LAB ...] [--quick]

The models are those of `benchmarks/white_cells_across_labs.py`, seed 0, without the laboratory.
Each is adapted with the product's own code to 30 cells without labels, and to 30 and 100 labelled
cells; it is tested on the cells of all slides, fields or images that were not sampled from.
Raabin's basophils come from four dates, so they are sampled from, and not tested.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.adaptation import Row, adaptation_rows, table
from hematovision.model.backbone import Backbone
from hematovision.training.adapting import FeatureModel
from recipes.white_cells.cells import LABS, TASK, Cells, prepare
from recipes.white_cells.trust import KINDS, VALID, Model, Trust, of_kinds, see, trust_without

DRAWS = 3
"""Samples of cells to adapt to."""


def main() -> None:
    """Adapt to each laboratory and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of real images")
    parser.add_argument("--work", type=Path, required=True, help="for cells and models")
    parser.add_argument("--leave", nargs="+", choices=LABS, default=list(LABS))
    parser.add_argument("--quick", action="store_true", help="as in the other benchmark")
    args = parser.parse_args()
    cells = prepare(args.data, args.work)
    rows = {lab: adapted(cells, args.work, lab, quick=args.quick) for lab in args.leave}
    print(table(rows))


def adapted(cells: Mapping[str, Cells], work: Path, lab: str, *, quick: bool = False) -> list[Row]:
    """Return the metrics of a model without a lab, as it is and adapted to the lab's cells."""
    model = Model(cells, work, (lab,), 0)
    seen = see(of_kinds(cells[lab], KINDS), Backbone(model.made.weights))
    known = known_model(model, trust_without(cells, work, lab, quick=quick))
    groups = [str(group) for group in seen.groups]
    draws = (
        adaptation_rows(known, seen.features, seen.labels, groups, draw) for draw in range(DRAWS)
    )
    return [row for of_draw in draws for row in of_draw]


def known_model(model: Model, trust: Trust) -> FeatureModel:
    """Return a model as `adapt` finds it in a bundle."""
    head = trust.calibration.fold(model.made.heads[TASK])
    frequent = np.bincount(model.predicted(VALID).labels, minlength=head.n_classes) + 1.0
    return FeatureModel(head, model.novelty, trust.thresholds, frequent)


if __name__ == "__main__":
    main()
