"""Train the shipped field score, and put it into the bundled models.

    make field-score
    python -m recipes.whole_fields.recipe --data DATA --work runs/recipes

`--without LAB` leaves a laboratory out; then nothing is written but below WORK. `--evaluate` only
prints how many images each limit gets wrong. See README.md.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from hematovision.data.samples import Dataset, Split
from hematovision.model.field_score import FieldScore
from hematovision.model.weights import bundled_weights_path
from recipes.sets import LABS, prepare
from recipes.whole_fields.examples import Views, examples_of, views

__all__ = ["Network", "fit_field_score", "read_field_score", "write_field_score"]

CHANNELS = (24, 40, 64)
STEPS, BATCH, RATE, DECAY = 4000, 64, 4e-3, 2e-2
JITTER = 0.07  # of the stain, in optical density
SMOOTHING = 0.01
USUAL = 0.7
FREQUENCY = {
    "field bccd": 1.0,
    "field raabin": 1.6,
    "field draaslan": 0.8,
    "field krd": 1.0,
    "field synthetic": 0.8,
    "cell pbc": 2.4,
    "cell synthetic": 1.0,
    "no cell": 0.4,
}
"""How often a group is sampled, relative to the others; `USUAL` if it is not listed."""

LOG = "log.csv"
HERE = Path(__file__).resolve().parent


def main() -> None:
    """Run the recipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of real images")
    parser.add_argument("--work", type=Path, required=True, help="for imports and views")
    parser.add_argument("--without", choices=(*LABS, "krd"), help="leave out one laboratory")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    sets = prepare(args.data, args.work)
    train = _views(sets, args.data, args.work, "train")
    if args.without is not None:
        train = _without(train, args.without)
    folder = args.work / "whole_fields" / (args.without or "all")
    folder.mkdir(parents=True, exist_ok=True)
    score = fit_field_score(train, folder / LOG, steps=args.steps, seed=args.seed)
    write_field_score(folder / "field_score.npz", score)
    for split in ("valid", "test"):
        _report(score, _views(sets, args.data, args.work, split), split)
    if args.without is None and args.steps == STEPS:
        write_field_score(bundled_weights_path().parent / "field_score.npz", score)
        (HERE / LOG).write_bytes((folder / LOG).read_bytes())


class Network(nn.Sequential):
    """The network in training, with batch normalisation, which `field_score` folds away."""

    def __init__(self, side: int) -> None:
        layers: list[nn.Module] = []
        for before, after in zip((3, *CHANNELS[:-1]), CHANNELS, strict=True):
            convolution = nn.Conv2d(before, after, 3, 2, 1, bias=False)
            layers += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
            side = (side + 1) // 2
        super().__init__(*layers, nn.Flatten(), nn.Linear(CHANNELS[-1] * side**2, 1))

    def field_score(self) -> FieldScore:
        """Return the weights without batch normalisation."""
        pairs = []
        for number in range(len(CHANNELS)):
            convolution, norm = self[3 * number], self[3 * number + 1]
            assert isinstance(convolution, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            kernel = convolution.weight * scale[:, None, None, None]
            pairs.append((_array(kernel), _array(norm.bias - norm.running_mean * scale)))
        dense = self[-1]
        assert isinstance(dense, nn.Linear)
        return FieldScore(tuple(pairs), _array(dense.weight.T), _array(dense.bias))


def _array(values: torch.Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(values.detach().numpy(), np.float32)


def fit_field_score(train: Views, log: Path, *, steps: int = STEPS, seed: int = 0) -> FieldScore:
    """Train the network on `train`; the loss is logged every 500 batches."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    pixels = torch.from_numpy(train.pixels).permute(0, 3, 1, 2).contiguous()
    groups = sorted(set(train.groups.tolist()))
    members = [np.flatnonzero(train.groups == group) for group in groups]
    chance = np.array([FREQUENCY.get(group, USUAL) for group in groups])
    network = Network(pixels.shape[-1])
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, steps, pct_start=0.1)
    noise = torch.randn(4 * BATCH, *pixels.shape[1:]) * 3
    rows = []
    for step in range(1, steps + 1):
        sampled = rng.choice(len(groups), BATCH, p=chance / chance.sum())
        chosen = np.array([members[k][rng.integers(len(members[k]))] for k in sampled])
        images = _augmented(pixels[chosen].float(), noise, rng)
        truth = torch.from_numpy(train.is_field[chosen].astype(np.float32))
        logits = network(images / 127.5 - 1)[:, 0]
        loss = functional.binary_cross_entropy_with_logits(
            logits, truth * (1 - 2 * SMOOTHING) + SMOOTHING
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 500 == 0:
            rows.append((step, round(float(loss.detach()), 4)))
            print(*rows[-1], flush=True)
    with log.open("w", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([("batches", "loss"), *rows])
    network.eval()
    return network.field_score()


def _augmented(images: torch.Tensor, noise: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Turn a batch; change stain in optical density, exposure, and noise."""
    images = images.flip(2) if rng.random() < 0.5 else images
    images = images.flip(3) if rng.random() < 0.5 else images
    images = images.transpose(2, 3) if rng.random() < 0.5 else images
    n = len(images)
    density = _normal(rng, 2 * JITTER, (n, 1, 1, 1)) + _normal(rng, JITTER, (n, 3, 1, 1))
    exposure = _exponential(_normal(rng, JITTER / 2, (n, 3, 1, 1)))
    stained = torch.exp(torch.log((images / 255).clamp(min=0.01)) * _exponential(density))
    start = int(rng.integers(len(noise) - n))
    amount = torch.from_numpy(rng.random((n, 1, 1, 1)).astype(np.float32))
    return (stained * 255 * exposure + noise[start : start + n] * amount).clamp(0, 255)


def _normal(rng: np.random.Generator, spread: float, shape: tuple[int, ...]) -> NDArray[np.float64]:
    return rng.normal(0, spread, shape)


def _exponential(values: NDArray[np.float64]) -> torch.Tensor:
    return torch.from_numpy(np.exp(values).astype(np.float32))


def _without(train: Views, lab: str) -> Views:
    kept = train.labs != lab
    return Views(*(column[kept] for column in train))


def _views(sets: Mapping[str, Dataset], data: Path, work: Path, split: Split) -> Views:
    """Make the views of a split, or read them if they have been made before."""
    path = work / "whole_fields" / f"{split}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        found = views(examples_of(sets, data, split, augmented=split == "train"))
        np.savez(path, **found._asdict())
    with np.load(path) as arrays:
        return Views(**{name: arrays[name] for name in Views._fields})


def _report(score: FieldScore, found: Views, split: str) -> None:
    """Print how many images each limit gets wrong, by group."""
    scores = score.score_views(found.pixels)
    for limit in (0.3, 0.5, 0.7):
        wrong = (scores > limit) != found.is_field
        counts = {
            group: f"{wrong[found.groups == group].sum()}/{(found.groups == group).sum()}"
            for group in sorted(set(found.groups.tolist()))
        }
        print(split, limit, counts)


def write_field_score(path: Path, score: FieldScore) -> None:
    """Write the weights into one NumPy file."""
    np.savez(path, **score.arrays())  # type: ignore[arg-type]


def read_field_score(path: Path) -> FieldScore:
    """Read the file of `write_field_score`."""
    with np.load(path, allow_pickle=False) as arrays:
        return FieldScore.from_arrays({name: arrays[name] for name in arrays.files})


if __name__ == "__main__":
    main()
