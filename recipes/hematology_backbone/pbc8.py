"""Make the weights of the bundled `pbc8`: `hematology`, trained further for one analyser.

    make pbc8-backbone
    python -m recipes.hematology_backbone.pbc8 --data DATA --work runs/recipes

`pbc8` need not generalise: it separates eight classes on the images of one analyser, for which 128
pixels and weights half-way to ImageNet are too little. Re-run the command to resume an interrupted
run. `recipes/bundled_models` makes the bundle.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hematovision.data.samples import Dataset
from hematovision.model.weights import BackboneWeights, bundled_weights
from hematovision.taxonomy import PBC8
from hematovision.training.augment import MILD
from recipes.hematology_backbone.examples import (
    Batches,
    Framing,
    Task,
    cells_of,
    power_weights,
)
from recipes.hematology_backbone.made import (
    HEADS,
    HERE,
    LOG,
    PBC8_LOG,
    Made,
    read_heads,
    rounded,
    write_heads,
)
from recipes.hematology_backbone.recipe import Log
from recipes.hematology_backbone.training import Stage, State, train
from recipes.sets import SOURCES, prepare

STAGE = Stage(
    steps=2500, batch_size=32, side=192, learning_rate=3e-4, averaging=0.995, frozen_blocks=2
)
SIDE = 224
"""Side of the finished network's input in pixels.

Random crops enlarge the cells in training, and a larger input in prediction makes up for it
(Touvron et al. 2019, arXiv:1906.06423).
"""

TASK = "pbc8"


def main() -> None:
    """Run the recipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of real images")
    parser.add_argument("--work", type=Path, required=True, help="for imports and checkpoints")
    args = parser.parse_args()
    made = make_pbc8(prepare(args.data, args.work)["pbc"], args.data, args.work)
    print("made", made.weights.sha256)
    (HERE / PBC8_LOG).write_bytes((args.work / "backbone" / TASK / LOG).read_bytes())


def make_pbc8(dataset: Dataset, data: Path, work: Path) -> Made:
    """Train the backbone and its head, or read them if they have been trained before.

    Parameters
    ----------
    dataset : Dataset
        `pbc` from `recipes.sets.prepare`; its training split is used.
    data, work : Path
        The folder of real images; the folder for checkpoints, log and result.
    """
    folder = work / "backbone" / TASK
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "backbone.weights"
    if done.exists():
        return Made(BackboneWeights.load(done), read_heads(folder / HEADS))
    classes = {name: i for i, name in enumerate(PBC8.classes)}
    examples = cells_of(dataset.root, data / SOURCES["pbc"], classes, "train")
    task = Task(len(classes), examples, power_weights(examples, 0.0))
    state = State.start(bundled_weights(), {TASK: task.n_classes}, seed=0)
    batches = Batches((task,), STAGE.batch_size, 0, Framing(), MILD)
    train(state, batches, (TASK,), STAGE, folder / "stage1.pt", Log(folder / LOG))
    made = Made(rounded(state.weights(SIDE)), state.heads())
    write_heads(folder / HEADS, made.heads)
    made.weights.save(done)
    return made


if __name__ == "__main__":
    main()
