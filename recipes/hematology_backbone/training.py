"""The training loop of the backbone: several tasks at once, averaged weights, resumable."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from hematovision.model.architecture import FEATURES
from hematovision.model.head import Head
from hematovision.model.weights import BackboneWeights
from recipes.hematology_backbone.examples import Batch, Batches
from recipes.hematology_backbone.network import MobileNetV2, scaled

__all__ = ["HIDDEN", "Stage", "State", "Training", "train"]

Report = Callable[[int, float, float], None]
"""Called with the number of batches done, the mean loss since the last call, and images/s."""

HIDDEN = 128
"""Width of the heads' hidden layer."""

_EVERY = 50  # Batches between two reports, and two checkpoints.
_HEADS_FASTER = 2.0  # The heads start from random weights.
_WARM_UP = 0.1  # Share of the steps in which the learning rate rises.


@dataclass(frozen=True)
class Stage:
    """One stage of the training.

    Parameters
    ----------
    steps, batch_size : int
        Batches, and images in each.
    side : int
        Width and height of the network's input in pixels.
    learning_rate : float
        Peak of a schedule that rises over the first tenth and falls to zero with the cosine
        (Loshchilov and Hutter 2017, arXiv:1608.03983).
    averaging : float
        Decay of the exponential moving average of weights and BatchNorm statistics, which is the
        result of a stage (Polyak and Juditsky 1992).
    label_smoothing : float
        As in Szegedy et al. 2016, arXiv:1512.00567.
    frozen_norm : bool
        Whether BatchNorm keeps its statistics; its scale and offset are trained anyway.
    frozen_blocks : int
        The first layer and so many blocks keep their weights.
    """

    steps: int
    batch_size: int
    side: int
    learning_rate: float
    averaging: float = 0.99
    label_smoothing: float = 0.05
    frozen_norm: bool = True
    frozen_blocks: int = 0


@dataclass
class State:
    """Backbone and heads in training, and their moving averages."""

    net: nn.ModuleDict
    average: nn.ModuleDict

    @classmethod
    def start(cls, weights: BackboneWeights, classes: Mapping[str, int], seed: int) -> State:
        """Start from `weights` with fresh heads, one a task, with so many classes.

        They are the two dense layers of every model. Trained on augmented cells, they are better
        than a head that is trained afterwards on the plain cells.
        """
        torch.manual_seed(seed)
        backbone = MobileNetV2(weights)
        heads = {
            name: nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, count))
            for name, count in classes.items()
        }
        net = nn.ModuleDict({"backbone": backbone, **heads})
        return cls(net, copy.deepcopy(net))

    def weights(self, side: int) -> BackboneWeights:
        """Return the averaged backbone, to see images at `side` pixels."""
        backbone = self.average["backbone"]
        assert isinstance(backbone, MobileNetV2)
        return backbone.weights(side)

    def heads(self) -> dict[str, Head]:
        """Return the averaged heads by the names of their tasks; they are not calibrated."""
        heads = {}
        for name, module in self.average.items():
            if name != "backbone":
                dense = [layer for layer in module.children() if isinstance(layer, nn.Linear)]
                arrays = [(d.weight.detach().numpy().T, d.bias.detach().numpy()) for d in dense]
                heads[name] = Head(tuple(arrays))
        return heads


def train(
    state: State, batches: Batches, names: Sequence[str], stage: Stage, kept: Path, report: Report
) -> None:
    """Train `state` for one stage.

    Parameters
    ----------
    state : State
        Changed in place; at the end it is the average.
    batches : Batches
        Its tasks in the order of `names`.
    names : sequence of str
        The tasks' heads in `state`.
    stage : Stage
    kept : Path
        The checkpoint file: if it exists, training resumes from it.
    report : callable
        Called every 50 batches.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    state.net.to(device)
    state.average.to(device)
    training = Training(state, names, stage)
    first = training.load(kept, device)
    began, losses = time.perf_counter(), []
    for step, batch in _numbered(batches, first, stage.steps):
        losses.append(training.step(step, batch, device))
        done = step + 1
        if done % _EVERY == 0 or done == stage.steps:
            rate = (done - first) * stage.batch_size / (time.perf_counter() - began)
            report(done, sum(losses) / len(losses), rate)
            losses.clear()
            training.save(kept, done)
    state.net.load_state_dict(state.average.state_dict())
    state.net.to("cpu")
    state.average.to("cpu")


def _numbered(batches: Batches, first: int, last: int) -> Iterator[tuple[int, Batch]]:
    """Prepare batches in a separate process, so that the network does not wait for them."""
    loader = torch.utils.data.DataLoader(
        batches,  # type: ignore[arg-type]
        batch_size=None,
        sampler=range(first, last),
        num_workers=12 if torch.cuda.is_available() else 1,
        prefetch_factor=4,
        collate_fn=_unchanged,
    )
    yield from zip(range(first, last), loader, strict=True)


def _unchanged(batch: Batch) -> Batch:
    return batch


def _targets(labels: torch.Tensor, n_classes: int, smoothing: float) -> torch.Tensor:
    """Return smoothed probabilities (N, C); all alike for images of no class, label -1."""
    known = (labels >= 0).float()[:, None] * (1.0 - smoothing)
    certain = functional.one_hot(labels.clamp(min=0), n_classes).float()
    return known * certain + (1.0 - known) / n_classes


class Training:
    """Optimiser, schedule and average of one stage."""

    def __init__(self, state: State, names: Sequence[str], stage: Stage) -> None:
        self.state, self.names, self.stage = state, names, stage
        backbone = state.net["backbone"]
        assert isinstance(backbone, MobileNetV2)
        if stage.frozen_blocks:
            backbone.freeze(stage.frozen_blocks)
        moving = [p for p in backbone.parameters() if p.requires_grad]
        groups = [
            {"params": moving, "speed": 1.0},
            {
                "params": [p for n in names for p in state.net[n].parameters()],
                "speed": _HEADS_FASTER,
            },
        ]
        self.optimiser = torch.optim.Adam(groups, lr=stage.learning_rate)

    def step(self, number: int, batch: Batch, device: str) -> float:
        """Train on one batch and return its loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = group["speed"] * self._rate(number)
        self.state.net.train()
        if self.stage.frozen_norm:
            for module in self.state.net.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        loss = self._loss(batch, device)
        if not torch.isfinite(loss):
            raise SystemExit(f"The loss of batch {number} is not a number. Lower the rate.")
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self._average(number)
        return float(loss.detach())

    def save(self, path: Path, done: int) -> None:
        """Write a checkpoint atomically."""
        values: dict[str, Any] = {
            "done": done,
            "net": self.state.net.state_dict(),
            "average": self.state.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        temporary = path.with_suffix(".new")
        torch.save(values, temporary)
        temporary.replace(path)

    def load(self, path: Path, device: str) -> int:
        """Resume from a checkpoint, if there is one, and return the number of batches done."""
        if not path.exists():
            return 0
        values = torch.load(path, map_location=device, weights_only=True)
        self.state.net.load_state_dict(values["net"])
        self.state.average.load_state_dict(values["average"])
        self.optimiser.load_state_dict(values["optimiser"])
        return int(values["done"])

    def _loss(self, batch: Batch, device: str) -> torch.Tensor:
        pixels = torch.as_tensor(batch.pixels).to(device)
        features = self.state.net["backbone"](scaled(pixels, self.stage.side))
        labels = torch.as_tensor(batch.labels).to(device)
        tasks = torch.as_tensor(batch.tasks).to(device)
        total = features.new_zeros(())
        for number, name in enumerate(self.names):
            mine = tasks == number
            if mine.any():
                logits = self.state.net[name](features[mine])
                goal = _targets(labels[mine], logits.shape[1], self.stage.label_smoothing)
                loss = functional.cross_entropy(logits, goal, reduction="sum")
                total = total + loss / len(labels)
        return total

    def _rate(self, number: int) -> float:
        share = number / self.stage.steps
        rising = min(1.0, (number + 1) / (_WARM_UP * self.stage.steps))
        return self.stage.learning_rate * rising * 0.5 * (1.0 + math.cos(math.pi * share))

    @torch.no_grad()
    def _average(self, number: int) -> None:
        # Early averages decay faster, to forget the initial weights.
        decay = min(self.stage.averaging, (number + 1) / (number + 10))
        now = self.state.net.state_dict().values()
        for mean, value in zip(self.state.average.state_dict().values(), now, strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(value, 1.0 - decay)
            else:
                mean.copy_(value)
