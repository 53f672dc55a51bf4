"""Train the three-class head further, on a finished backbone: nucleated red cells are RBC.

The backbone is trained without PBC's erythroblasts, whose nuclei resemble those of white cells. Its
features know them from the task of eight classes, so the head alone is enough: it is trained on the
features of the recipe's augmented cells, erythroblasts among them, from where the recipe left it.
`recipes/bundled_models` and `benchmarks/cross_lab.py` call this.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from hematovision.data.samples import Dataset
from hematovision.model.backbone import Backbone
from hematovision.model.head import Head
from recipes.hematology_backbone.examples import Batches
from recipes.hematology_backbone.made import Made
from recipes.hematology_backbone.recipe import AUGMENTATION, FRAMING, make_tasks

__all__ = ["trained_head", "with_nucleated"]

_BATCHES, _SIZE = 320, 32
"""Batches of augmented cells, and cells in each."""

_EPOCHS, _STEP = 20, 64
_RATE, _SMOOTHING = 3e-4, 0.05


def with_nucleated(
    made: Made,
    sets: Mapping[str, Dataset],
    data: Path,
    work: Path,
    *,
    without: str | None = None,
    seed: int = 0,
) -> Made:
    """Return a backbone with a three-class head that takes nucleated red cells for RBC.

    Parameters
    ----------
    made : Made
        The backbone, and the heads that were trained with it. It is not changed.
    sets : mapping of str to Dataset
        As `recipes.sets.prepare` gives them; their training splits are used.
    data, work : Path
        The folder of real images, and that of the synthetic fields.
    without : str, optional
        The laboratory that was left out. Without pbc there are no erythroblasts: the head is kept.
    seed : int
    """
    if without == "pbc":
        return made
    task = make_tasks(sets, data, work, without, nucleated=True)["cells"]
    batches = Batches((task,), _SIZE, seed, FRAMING, AUGMENTATION)
    backbone = Backbone(made.weights)
    features, labels = [], []
    for number in range(_BATCHES):
        batch = batches[number]
        features.append(backbone.features(batch.pixels))
        labels.append(batch.labels)
    head = trained_head(made.heads["cells"], np.concatenate(features), np.concatenate(labels), seed)
    return Made(made.weights, {**made.heads, "cells": head})


def trained_head(
    head: Head, features: NDArray[np.float32], labels: NDArray[np.int64], seed: int = 0
) -> Head:
    """Train a head of two layers further.

    `features` (N, 1280) and `labels` (N,) are of augmented cells. Every image is used 20 times;
    Adam, rate 3e-4, batches of 64, smoothed labels.
    """
    order = torch.Generator().manual_seed(seed)
    arrays = [torch.tensor(array).requires_grad_() for pair in head.layers for array in pair]
    optimiser = torch.optim.Adam(arrays, lr=_RATE)
    rows, truth = torch.tensor(features), torch.tensor(labels)
    for _ in range(_EPOCHS):
        for chosen in torch.randperm(len(rows), generator=order).split(_STEP):
            hidden = torch.relu(rows[chosen] @ arrays[0] + arrays[1])
            logits = hidden @ arrays[2] + arrays[3]
            loss = functional.cross_entropy(logits, truth[chosen], label_smoothing=_SMOOTHING)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    first, second = ((arrays[i].detach().numpy(), arrays[i + 1].detach().numpy()) for i in (0, 2))
    return Head((first, second))
