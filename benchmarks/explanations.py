"""Evaluate attention maps: how often the maximum of the map lies in the box of the cell.

    python benchmarks/explanations.py [--data DATA] [--cells FILE] [--model pbc8]

The model classifies all images of `txl/pbc` with a white cell (360 x 363 pixels, some red cells
around it). Prints, in Markdown:

- how often the maximum of Grad-CAM lies in the box of a white cell (in any box, if an image has
  several), with Wilson's 95% interval, and the fraction of the map inside the boxes;
- the same for a random point and the centre of the image. The centre is always in a box, because
  PBC's images are centred on their cell, so images are also evaluated after a random shift, with
  the missing margin mirrored;
- the same for other maps and interpolations, by which `explain.LEAN` was chosen on the training
  split;
- the same after shuffling the weights within each kernel of the head, and Spearman's rank
  correlation of the maps before and after (the sanity check of Adebayo et al. 2018).

`--cells` is the ``cells.csv`` of `txl/pbc` as the recipes import it (`recipes/sets.py`). The model
may have been trained on images of its training and validation splits, never on the test split.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.options import images_option
from hematovision import images
from hematovision.intervals import wilson
from hematovision.model.bundle import ONNX
from hematovision.model.classifier import Classifier
from hematovision.model.explain import LEAN, grad_cam, logit_slopes, upsample
from hematovision.model.graph import read_classifier_graph
from hematovision.model.head import Head
from hematovision.model.weights import bundled_weights

SIDE = 224
SEEDS = 10
BATCH = 32

Grow = Callable[[NDArray[np.float32], int, int], NDArray[np.float32]]
"""From a map (M, M), height and width to a smooth one of that size."""


@dataclass(frozen=True)
class Attention:
    """Attention maps of images, with their boxes and splits.

    Boxes are arrays (n, 4) of fractions: left, top, right, bottom. `maps` are those of the product:
    Grad-CAM, averaged over the image and its rotation by 180 degrees.
    """

    boxes: list[NDArray[np.float64]]
    splits: NDArray[np.str_]
    feature_maps: NDArray[np.float32]
    predicted: NDArray[np.int64]
    maps: NDArray[np.float32]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    images_option(parser)
    parser.add_argument("--cells", type=Path, default=Path("runs/recipes/sets/txl-pbc/cells.csv"))
    parser.add_argument("--model", default="pbc8")
    arguments = parser.parse_args()
    if arguments.data is None or not arguments.cells.exists():
        print("Skipped: give the real images by --data, and their boxes by --cells.")
        return
    classifier = Classifier.load(arguments.model)
    head = read_head(classifier)
    fields = read_cells(arguments.data / "txl" / "pbc", arguments.cells)
    whole = look(classifier, head, fields, move=False)
    shifted = look(classifier, head, fields, move=True)
    several = sum(len(boxes) > 1 for boxes in whole.boxes)
    print(
        f"Model {arguments.model}; {len(fields)} images with a white cell, {several} of them with "
        "several (any box counts).\n"
    )
    report_hits(whole, shifted)
    report_variants(head, whole, shifted)
    report_shuffled(head, whole)


def read_head(classifier: Classifier) -> Head:
    """Return the head's arrays."""
    bundle = classifier.bundle
    external = bundled_weights() if bundle.external_weights() else None
    return read_classifier_graph(bundle.read(ONNX), external).head


def read_cells(root: Path, cells: Path) -> list[tuple[Path, str, NDArray[np.float64]]]:
    """List the images with a white cell: file, split, and their boxes in pixels."""
    found: dict[str, list[dict[str, str]]] = {}
    with cells.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if row["class"] == "WBC":
                found.setdefault(row["source"], []).append(row)
    sides = ("xmin", "ymin", "xmax", "ymax")
    return [
        (root / source, rows[0]["split"], np.array([[float(r[s]) for s in sides] for r in rows]))
        for source, rows in sorted(found.items())
    ]


def look(
    classifier: Classifier,
    head: Head,
    fields: list[tuple[Path, str, NDArray[np.float64]]],
    *,
    move: bool,
) -> Attention:
    """Run the model on the images, or on shifted ones (seed 0)."""
    generator = np.random.default_rng(0)
    pixels, boxes = [], []
    for path, _, box in fields:
        image = images.read(path)
        size = np.array(image.shape[1::-1] * 2)
        place = np.clip(box / size, 0, 1)
        if move:
            image, place = moved(image, place, generator)
        pixels.append(images.fit(image))
        boxes.append(place)
    batches = [np.stack(pixels[i : i + BATCH]) for i in range(0, len(pixels), BATCH)]
    feature_maps = np.concatenate([classifier.feature_maps(batch) for batch in batches])
    predicted = head.logits(feature_maps.mean(axis=(1, 2))).argmax(axis=1)
    maps = [classifier.attention(batch) for batch in batches]
    splits = np.array([split for _, split, _ in fields])
    return Attention(boxes, splits, feature_maps, predicted, np.concatenate(maps))


def moved(
    image: NDArray[np.uint8], boxes: NDArray[np.float64], generator: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Shift the image so that its largest cell lies anywhere; the missing margin is mirrored."""
    left, top, right, bottom = boxes[np.prod(boxes[:, 2:] - boxes[:, :2], axis=1).argmax()]
    x, y = generator.uniform(right - 1, left), generator.uniform(bottom - 1, top)
    height, width = image.shape[:2]
    wide = np.pad(image, ((height, height), (width, width), (0, 0)), mode="reflect")
    rows, columns = height + round(y * height), width + round(x * width)
    place = np.clip(boxes - [x, y, x, y], 0, 1)
    whole = (place[:, 2:] > place[:, :2]).all(axis=1)
    return wide[rows : rows + height, columns : columns + width], place[whole]


def mask(boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which of 224 x 224 points lie in any of the boxes."""
    middles = (np.arange(SIDE) + 0.5) / SIDE
    left, top, right, bottom = boxes.T[..., None]
    columns = (left <= middles) & (middles < right)
    rows = (top <= middles) & (middles < bottom)
    return np.asarray((rows[:, :, None] & columns[:, None, :]).any(axis=0))


def score(
    maps: NDArray[np.float32], boxes: list[NDArray[np.float64]], grow: Grow = upsample
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return for each image whether its map's maximum lies in a box, and the fraction in the boxes.

    Both are 0 for a map of zeros.
    """
    found, fractions = [], []
    for one, box in zip(maps, boxes, strict=True):
        smooth, cell = grow(one, SIDE, SIDE), mask(box)
        found.append(bool(smooth.max() > 0 and cell.flat[smooth.argmax()]))
        fractions.append(smooth[cell].sum() / max(smooth.sum(), 1e-9))
    return np.array(found), np.array(fractions)


def rate(found: NDArray[np.bool_]) -> str:
    """Return a proportion with its interval."""
    low, high = wilson(int(found.sum()), len(found)) or (0.0, 1.0)
    return f"{found.mean():.1%} ({low:.1%} to {high:.1%}), {(~found).sum()} of {len(found)} missed"


def report_hits(whole: Attention, shifted: Attention) -> None:
    """Print the main table."""
    print(
        "| images | maximum in a white cell's box | fraction of the map | random point | centre |"
    )
    print("|---|---|---|---|---|")
    one = np.array([len(boxes) == 1 for boxes in whole.boxes])
    groups = {"whole, all": one | True, "whole, one white cell": one, "whole, several": ~one}
    groups |= {f"whole, {split} split": whole.splits == split for split in np.unique(whole.splits)}
    rows = [(name, whole, group) for name, group in groups.items()]
    rows += [("shifted, all", shifted, one | True)]
    rows += [("shifted, test split", shifted, shifted.splits == "test")]
    for name, attention, group in rows:
        boxes = [box for box, chosen in zip(attention.boxes, group, strict=True) if chosen]
        area = np.mean([mask(box).mean() for box in boxes])
        middle = np.mean([mask(box)[SIDE // 2, SIDE // 2] for box in boxes])
        found, fraction = score(attention.maps[group], boxes)
        print(f"| {name} | {rate(found)} | {fraction.mean():.0%} | {area:.1%} | {middle:.1%} |")


def report_variants(head: Head, whole: Attention, shifted: Attention) -> None:
    """Print the scores of other maps, on the training split (used to choose) and the others.

    In each cell: how often the maximum is in a box, and the fraction of the map in the boxes.
    """
    print("\n| map | interpolation | whole, train | whole, rest | shifted, train | shifted, rest |")
    print("|---|---|---|---|---|---|")
    bicubic, bilinear = Image.Resampling.BICUBIC, Image.Resampling.BILINEAR
    ways: dict[str, Grow] = {f"bicubic, lean {LEAN}": upsample}
    ways |= {f"bicubic, lean {lean}": leaning(lean, bicubic) for lean in (0.0, 0.484)}
    ways |= {"bilinear, lean 0.0": leaning(0.0, bilinear)}
    for name, draw in MAPS.items():
        for title, grow in ways.items() if name == "Grad-CAM" else list(ways.items())[:1]:
            cells = []
            for attention in (whole, shifted):
                found, fraction = score(draw(head, attention), attention.boxes, grow)
                train = attention.splits == "train"
                cells += [
                    f"{found[g].mean():.1%}, {fraction[g].mean():.1%}" for g in (train, ~train)
                ]
            print(f"| {name} | {title} | {' | '.join(cells)} |")


def leaning(lean: float, way: Image.Resampling) -> Grow:
    """Return a function like `upsample`, with another lean or interpolation."""

    def grow(one: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
        wide = Image.fromarray(np.pad(one, 2, mode="edge"))
        start, end = 2 - lean, 2 - lean + len(one)
        box = (start, start, end, end)
        smooth = np.asarray(wide.resize((width, height), way, box=box), np.float32)
        return np.asarray(np.maximum(smooth, 0), np.float32)

    return grow


def against_second(head: Head, attention: Attention) -> NDArray[np.float32]:
    """Return Grad-CAM of the logit's lead over the second class."""
    features = attention.feature_maps.mean(axis=(1, 2))
    second = head.logits(features).argsort(axis=1)[:, -2]
    slopes = logit_slopes(head, features, attention.predicted) - logit_slopes(
        head, features, second
    )
    evidence = np.einsum("nijk,nk->nij", attention.feature_maps, slopes)
    return np.asarray(np.maximum(evidence, 0), np.float32)


MAPS: dict[str, Callable[[Head, Attention], NDArray[np.float32]]] = {
    "Grad-CAM": lambda head, attention: grad_cam(head, attention.feature_maps, attention.predicted),
    "Grad-CAM of the lead over the second class": against_second,
    "mean of all channels, no class": lambda _, attention: attention.feature_maps.mean(axis=3),
}


def shuffled(head: Head, seed: int) -> Head:
    """Return the head with the weights of each kernel in another order."""
    generator = np.random.default_rng(seed)
    return Head(
        tuple(
            (generator.permutation(kernel.ravel()).reshape(kernel.shape), bias)
            for kernel, bias in head.layers
        )
    )


def ranks(maps: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the ranks within each map, minus their mean; equal values share a rank."""
    flat = maps.reshape(len(maps), -1)
    above = (flat[:, :, None] > flat[:, None, :]).sum(axis=2)
    equal = (flat[:, :, None] == flat[:, None, :]).sum(axis=2)
    place = above + equal / 2
    return np.asarray(place - place.mean(axis=1, keepdims=True))


def spearman(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return Spearman's rank correlation of each pair of maps; 0 if one is constant."""
    a, b = ranks(one), ranks(other)
    norms = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.asarray((a * b).sum(axis=1) / np.maximum(norms, 1e-9))


def report_shuffled(head: Head, whole: Attention) -> None:
    """Print the sanity check: the same class explained with a head of shuffled weights."""
    before = grad_cam(head, whole.feature_maps, whole.predicted)
    correlations, found, blank = [], [], []
    for seed in range(SEEDS):
        after = grad_cam(shuffled(head, seed), whole.feature_maps, whole.predicted)
        correlations.append(spearman(before, after).mean())
        found.append(score(after, whole.boxes)[0].mean())
        blank.append((after.max(axis=(1, 2)) == 0).mean())
    print(f"\nHead shuffled, {SEEDS} seeds, mean and range over the seeds (whole images):")
    for name, values in (
        ("Spearman's correlation with the map before", correlations),
        ("maximum in a white cell's box", found),
        ("maps of zeros", blank),
    ):
        print(f"- {name}: {np.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})")


if __name__ == "__main__":
    main()
