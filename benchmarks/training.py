"""Training time: the classic recipe as people write it against `hematovision train`.

    python -m benchmarks.training (--data DATA | --crops FOLDER) [--rounds 1] [--repeats 3]
                                  [--classic-epochs N] [--json FILE] [--fill]

The images are the cells of BCCD's fields, cut out as `hematovision data import` does. Whole
processes run in turn on the same files, from the start of Python to the written model:

- the classic recipe (`benchmarks/classic_recipe.py`): ImageDataGenerator, frozen MobileNetV2 with
  the same weights, `model.fit` in batches of 32, then `evaluate` and `predict` on the test split;
- `hematovision train` with an empty feature cache, and, --repeats times as often, with a full one.
  It does more: a quarter more rows of rare classes, calibration, novelty, a report.

In the first row both train for 15 epochs and neither stops early, which is checked; in the second
both stop after 5 epochs without a lower validation loss. The classic recipe takes many minutes for
each. With --classic-epochs N, it is run for N epochs only, and its 15 are extrapolated by the
median of its epochs after the first, since each does the same work; the table states this, and
the second row is left out, because the last epoch of that run is not known.

Needs the group ``dev``; run nothing else at the same time.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.machine import describe, markdown_table, run_measured
from benchmarks.options import images_option, publish, results_options
from hematovision.data.importing import import_dataset
from hematovision.model.weights import bundled_weights
from hematovision.training.keras_model import backbone_model

NAME = "training"
EPOCHS = 15
PATIENCE = 5
CLASSIC = Path(__file__).with_name("classic_recipe.py")


class Run(NamedTuple):
    """Seconds of a whole process, the epochs it trained for, and its accuracy on the test split."""

    seconds: float
    epochs: int
    accuracy: float


class Row(NamedTuple):
    """The runs of one way to stop."""

    name: str
    classic: list[Run]
    cold: list[Run]
    warm: list[Run]


def main() -> None:
    """Measure, print a table, and write what is asked for."""
    args = arguments()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    shortened = args.classic_epochs < EPOCHS
    rows = [Row(f"{EPOCHS} epochs, none stops early", [], [], [])]
    if not shortened:
        rows.append(Row(f"stopped early, patience {PATIENCE}", [], [], []))
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        crops = args.crops or work / "bccd"
        if not args.crops:
            import_dataset(args.data / "bccd", crops, format="voc")
        backbone = work / "backbone.weights.h5"
        backbone_model(bundled_weights()).save_weights(backbone)
        for number in range(args.rounds):
            for place, row in enumerate(rows):
                patience = None if place == 0 else PATIENCE
                folder = work / f"{number}-{place}"
                row.classic.append(
                    classic(crops, backbone, folder / "classic", args.classic_epochs, patience)
                )
                ours(crops, folder, patience or EPOCHS, args.repeats, row)
    show(rows, args, shortened=shortened)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    images_option(parser)
    parser.add_argument("--crops", type=Path, help="cells with Train, Valid and Test, cut out")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3, help="warm runs in a round")
    parser.add_argument("--classic-epochs", type=int, default=EPOCHS, metavar="N")
    results_options(parser)
    args = parser.parse_args()
    if args.data is None and args.crops is None:
        raise SystemExit("Real images are not at hand: give --data, --crops, or HEMATOVISION_DATA.")
    if not 2 <= args.classic_epochs <= EPOCHS:
        raise SystemExit(f"--classic-epochs must be 2 to {EPOCHS}; got {args.classic_epochs}.")
    return args


def classic(crops: Path, weights: Path, out: Path, epochs: int, patience: int | None) -> Run:
    """Run the classic recipe; epochs that were left out are counted as the median of the others."""
    words = [sys.executable, CLASSIC, crops, "--weights", weights, "--out", out]
    stop = [] if patience is None else ["--patience", patience]
    measured = run_measured([*words, "--epochs", epochs, *stop])
    figures = json.loads((out / "figures.json").read_text(encoding="utf-8"))
    trained: list[float] = figures["seconds"]
    if patience is None and len(trained) != epochs:
        raise RuntimeError(f"The classic recipe trained for {len(trained)} of {epochs} epochs.")
    left_out = EPOCHS - epochs
    seconds = measured.seconds + left_out * statistics.median(trained[1:])
    log(f"classic: {measured.seconds:.1f} s, of which {len(trained)} epochs {sum(trained):.1f} s")
    return Run(seconds, len(trained), figures["accuracy"])


def ours(crops: Path, folder: Path, patience: int, repeats: int, row: Row) -> None:
    """Run `hematovision train` once with an empty cache, then with a full one."""
    os.environ["HEMATOVISION_CACHE"] = str(folder / "cache")
    row.cold.append(train(crops, folder / "cold", patience))
    row.warm.extend(train(crops, folder / f"warm-{i}", patience) for i in range(repeats))


def train(crops: Path, out: Path, patience: int) -> Run:
    """Run `hematovision train`."""
    words = [sys.executable, "-m", "hematovision", "train", crops, "--out", out]
    seconds = run_measured([*words, "--epochs", EPOCHS, "--patience", patience]).seconds
    with (out / "history.csv").open(encoding="utf-8", newline="") as stream:
        epochs = len(list(csv.DictReader(stream)))
    if patience >= EPOCHS > epochs:
        raise RuntimeError(f"`hematovision train` stopped after {epochs} of {EPOCHS} epochs.")
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    log(f"hematovision train, {out.name}: {seconds:.1f} s, {epochs} epochs")
    return Run(seconds, epochs, metrics["accuracy"])


def show(rows: list[Row], args: argparse.Namespace, *, shortened: bool) -> None:
    """Print the table, and write what is asked for."""
    columns = [
        "training",
        "classic recipe, s",
        "cold cache, s",
        "speed-up",
        "warm cache, s",
        "speed-up",
    ]
    text = markdown_table(
        [*columns, "test accuracy, classic and HematoVision"], list(map(cells, rows))
    )
    notes = f"{describe()}. Rounds: {args.rounds}, warm runs in each: {args.repeats}; medians."
    if shortened:
        notes += (
            f" The classic recipe was run for {args.classic_epochs} epochs: its time for {EPOCHS} "
            "is EXTRAPOLATED by the median of its epochs after the first, its accuracy is that "
            f"after {args.classic_epochs}."
        )
    table = f"{text}\n\n{notes}"
    print(table)
    publish(args, NAME, table, {"extrapolated": shortened, "rows": list(map(figures, rows))})


def cells(row: Row) -> list[str]:
    """Return a row of the table."""
    slow, cold, warm = (middle(runs) for runs in (row.classic, row.cold, row.warm))
    accuracies = (statistics.median(r.accuracy for r in runs) for runs in (row.classic, row.warm))
    return [
        f"{row.name} ({counted(row.classic)} and {counted(row.warm)} epochs run)",
        f"{slow:.0f}",
        f"{cold:.1f}",
        f"{slow / cold:.0f} x",
        f"{warm:.1f}",
        f"{slow / warm:.0f} x",
        " and ".join(f"{100 * accuracy:.1f}%" for accuracy in accuracies),
    ]


def figures(row: Row) -> dict[str, Any]:
    """Return a row for the JSON file."""
    runs = {"classic": row.classic, "cold": row.cold, "warm": row.warm}
    slow = middle(row.classic)
    return {
        "name": row.name,
        **{name: [run._asdict() for run in some] for name, some in runs.items()},
        "times_cold": slow / middle(row.cold),
        "times_warm": slow / middle(row.warm),
    }


def middle(runs: list[Run]) -> float:
    """Return the median seconds of runs."""
    return statistics.median(run.seconds for run in runs)


def counted(runs: list[Run]) -> str:
    """Return the numbers of epochs that runs took, each once."""
    return ", ".join(map(str, sorted({run.epochs for run in runs})))


def log(line: str) -> None:
    """Write a line of progress to stderr."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
