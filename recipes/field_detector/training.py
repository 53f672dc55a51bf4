"""The training loop of the detector: averaged weights, checkpoints, resume."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from recipes.field_detector.batches import Batch, Batches
from recipes.field_detector.network import Detector

__all__ = ["Stage", "Training", "train"]

Report = Callable[[int, dict[str, float], float], None]
"""Called with the number of batches done, mean losses since the last call, and crops per second."""

_EVERY = 50  # Batches between two reports.
_KEPT_EVERY = 100  # Batches between two checkpoints.


@dataclass(frozen=True)
class Stage:
    """Settings of the training.

    `heads_rate` and `backbone_rate` are peaks of a schedule that rises over `warm_up` batches and
    falls to zero with the cosine (Loshchilov and Hutter 2017, arXiv:1608.03983). `averaging` is the
    decay of the moving average of weights, which is the result.
    """

    steps: int
    batch_size: int = 14
    side: int = 192
    heads_rate: float = 1.5e-3
    backbone_rate: float = 4e-4
    warm_up: int = 100
    averaging: float = 0.996
    decay: float = 1e-4
    box_weight: float = 1.5


class Training:
    """The detector, its moving average and its optimiser."""

    def __init__(self, detector: Detector, stage: Stage, device: str) -> None:
        self.net, self.average = detector.to(device), copy.deepcopy(detector).to(device)
        self.stage, self.device, self.done = stage, device, 0
        backbone = list(detector.backbone.parameters())
        own = {id(p) for p in backbone}
        heads = [p for p in detector.parameters() if id(p) not in own]
        groups = [
            {"params": backbone, "peak": stage.backbone_rate},
            {"params": heads, "peak": stage.heads_rate},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=stage.heads_rate, weight_decay=stage.decay)

    def step(self, batch: Batch) -> dict[str, float]:
        """Train on one batch; return its losses."""
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * self._schedule()
        self.net.train()
        for module in self.net.backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()  # The backbone keeps its statistics.
        images, heat, weight, distances, body = (torch.from_numpy(a).to(self.device) for a in batch)
        values = (images.permute(0, 3, 1, 2).float() / 127.5 - 1.0).contiguous(
            memory_format=torch.channels_last
        )
        logits, sides = self.net(values)
        centre = centre_loss(logits, heat, weight)
        box = box_loss(sides, distances, body)
        loss = centre + self.stage.box_weight * box
        if not torch.isfinite(loss):
            raise SystemExit(f"The loss of batch {self.done} is not a number. Lower the rates.")
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 10.0)
        self.optimiser.step()
        self._update_average()
        self.done += 1
        return {"centre": float(centre.detach()), "box": float(box.detach())}

    def save(self, path: Path) -> None:
        """Write a checkpoint atomically."""
        values: dict[str, Any] = {
            "done": self.done,
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        part = path.with_suffix(".part")
        torch.save(values, part)
        part.replace(path)

    def load(self, path: Path) -> None:
        """Continue from a checkpoint, if there is one."""
        if not path.exists():
            return
        values = torch.load(path, map_location=self.device, weights_only=True)
        self.net.load_state_dict(values["net"])
        self.average.load_state_dict(values["average"])
        self.optimiser.load_state_dict(values["optimiser"])
        self.done = int(values["done"])

    def _schedule(self) -> float:
        rising = min(1.0, (self.done + 1) / self.stage.warm_up)
        return rising * 0.5 * (1.0 + math.cos(math.pi * self.done / self.stage.steps))

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.stage.averaging, (self.done + 1) / (self.done + 10))
        now = self.net.state_dict().values()
        for mean, value in zip(self.average.state_dict().values(), now, strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(value, 1.0 - decay)
            else:
                mean.copy_(value)


def centre_loss(logits: torch.Tensor, heat: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return the penalty-reduced focal loss of Law and Deng 2018 (arXiv:1808.01244), weighted."""
    p = logits.sigmoid().clamp(1e-4, 1.0 - 1e-4)
    centres = heat >= 0.999
    hit = -((1.0 - p) ** 2) * p.log()
    miss = -((1.0 - heat) ** 4) * p**2 * (1.0 - p).log()
    total = (torch.where(centres, hit, miss) * weight).sum()
    return total / (centres & (weight > 0)).sum().clamp(min=1)


def box_loss(sides: torch.Tensor, distances: torch.Tensor, body: torch.Tensor) -> torch.Tensor:
    """Return 1 - generalised IoU (Rezatofighi et al. 2019, arXiv:1902.09630) plus smooth L1.

    Both boxes contain the place, so intersection, union and hull follow from the distances.
    """
    inside = body > 0
    found, true = sides.permute(0, 2, 3, 1)[inside], distances.permute(0, 2, 3, 1)[inside]
    weight = body[inside]

    def area(x: torch.Tensor) -> torch.Tensor:
        return (x[:, 0] + x[:, 2]) * (x[:, 1] + x[:, 3])

    shared, hull = area(torch.minimum(found, true)), area(torch.maximum(found, true))
    union = area(found) + area(true) - shared
    giou = shared / union - (hull - union) / hull
    smooth = functional.smooth_l1_loss(found, true, reduction="none", beta=1.0).mean(dim=1) / 8.0
    return ((1.0 - giou + smooth) * weight).sum() / weight.sum().clamp(min=1e-6)


def train(training: Training, batches: Batches, until: int, kept: Path, report: Report) -> None:
    """Train until `until` batches are done; continue from `kept` if it exists."""
    began, first, losses = time.perf_counter(), training.done, []
    for batch in _batches(batches, first, until):
        losses.append(training.step(batch))
        if training.done % _EVERY == 0 or training.done == until:
            rate = (
                (training.done - first) * training.stage.batch_size / (time.perf_counter() - began)
            )
            mean = {name: sum(one[name] for one in losses) / len(losses) for name in losses[0]}
            report(training.done, mean, rate)
            losses.clear()
        if training.done % _KEPT_EVERY == 0 or training.done == until:
            training.save(kept)


def _batches(batches: Batches, first: int, last: int) -> Iterator[Batch]:
    """Prepare batches in a separate process, so that the network does not wait for them."""
    loader = torch.utils.data.DataLoader(
        batches,  # type: ignore[arg-type]
        batch_size=None,
        sampler=range(first, last),
        num_workers=12 if torch.cuda.is_available() else 1,
        prefetch_factor=4,
        collate_fn=_unchanged,
    )
    yield from loader


def _unchanged(batch: Batch) -> Batch:
    return batch
