"""Turn a trained detector into a bundle: calibration and thresholds from the validation fields.

    python -m recipes.field_detector.bundle --data DATA --work runs/recipes [--without LAB]

Writes WORK/detector/<labs>-<seed>/bundle/, and without `--without` also the packaged detector. The
fields are at their annotated scale, and a little off it, as the analysis finds it. Every lab counts
the same; a class is fitted only in labs where every cell of it has a box.
"""

from __future__ import annotations

import argparse
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.optimize import minimize

from hematovision.evaluation.detection.matching import match_centres
from hematovision.files import sha256_bytes
from hematovision.model.bundle import ONNX, read_bundle, seal_self_test, write_bundle
from hematovision.model.detector import Detector
from hematovision.model.manifest import BackboneRef, Detection, Manifest
from hematovision.model.registry import DEFAULT_DETECTOR
from hematovision.model.thresholds import Thresholds
from hematovision.model.weights import bundled_weights_path
from hematovision.taxonomy import RBC_WBC_PLATELETS
from recipes.field_detector.batches import RED_CELL_PX, STRIDE
from recipes.field_detector.fields import (
    CLASSES,
    SETS,
    STEPS,
    STORED_PX,
    Field,
    annotated,
    folder_of,
)
from recipes.sets import LABS

__all__ = ["Candidate", "fit", "validation_fields"]

CARD = Path(__file__).with_name("MODEL_CARD.md")
_LEAST = 0.03  # heat of the candidates that calibration and thresholds are fitted to
_SCALES = (0.85, 1.0, 1.15)
_COMPLETE = {"bccd": (1, 2), "raabin": (0, 1), "txl-pbc": (0, 1, 2), "draaslan": (0, 1)}
"""Classes of which every cell has a box, by set."""
_PLATEAU = 0.5
"""Where the threshold lies between the lowest and the highest with an F1 within 0.005 of the
best."""

_MIN_CONFIDENCE = 0.7
_LEAST_LIKELY = 0.4  # A cell less likely than this is not counted, wherever the plateau is.


class Candidate(NamedTuple):
    """A peak of heat in a validation field."""

    set: str
    label: int
    logit: float
    right: bool  # whether it matches an annotated cell of its class


class Validation(NamedTuple):
    """The peaks found in all validation fields, and the number of annotated cells."""

    candidates: list[Candidate]
    cells: dict[tuple[str, int], int]  # by set and class


def main() -> None:
    """Run the recipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of real images")
    parser.add_argument("--work", type=Path, required=True, help="where the recipe trained")
    labs = parser.add_mutually_exclusive_group()
    labs.add_argument("--without", choices=tuple(LABS), help="the laboratory left out")
    labs.add_argument("--only", choices=SETS, help="the set it was trained on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS)
    args = parser.parse_args()
    run = folder_of(args.work, args.without, args.seed, args.steps, args.only)
    fields = validation_fields(args.data, args.work, args.without, args.only)
    folder = run / "bundle"
    shutil.rmtree(folder, ignore_errors=True)
    graph = (run / "detector.onnx").read_bytes()
    manifest = _manifest(graph, fields, args)
    detector = Detector(write_bundle(folder, manifest, {ONNX: graph}))
    complete = {args.only: (0, 1, 2)} if args.only else _COMPLETE
    fitted = fit(find(detector, fields, complete))
    print(fitted)
    manifest = replace(read_bundle(folder).manifest, detection=fitted)
    log = {"history.csv": (run / "log.csv").read_bytes(), "MODEL_CARD.md": CARD.read_bytes()}
    seal_self_test(write_bundle(folder, manifest, {ONNX: graph, **log}))
    if args.without is None and args.only is None:
        shipped = bundled_weights_path().parent / DEFAULT_DETECTOR
        shutil.rmtree(shipped, ignore_errors=True)
        seal_self_test(write_bundle(shipped, manifest, {ONNX: graph, **log}))


def validation_fields(
    data: Path, work: Path, without: str | None, only: str | None = None
) -> dict[str, list[Field]]:
    """Return the validation fields of the sets in the training, at `STORED_PX`."""
    names = [only] if only else [n for n in SETS if without is None or n not in LABS[without]]
    return {name: annotated(name, data, work, ("valid",))[0] for name in names}


def find(
    detector: Detector,
    fields: dict[str, list[Field]],
    complete: Mapping[str, tuple[int, ...]] = _COMPLETE,
) -> Validation:
    """Match the detector's peaks in each field, at three scales, to the annotated cells.

    `complete` has the classes of which every cell has a box, by set.
    """
    candidates: list[Candidate] = []
    cells: dict[tuple[str, int], int] = {}
    for name, chosen in fields.items():
        for label in complete[name]:
            total = sum(int((field.labels == label).sum()) for field in chosen)
            cells[name, label] = total * len(_SCALES)
        for field in chosen:
            candidates += _matched(detector, name, field, complete[name])
    return Validation(candidates, cells)


def _matched(
    detector: Detector, name: str, field: Field, labels: tuple[int, ...]
) -> Iterator[Candidate]:
    for scale in _SCALES:
        factor = scale * RED_CELL_PX / STORED_PX
        size = [max(8, round(side * factor)) for side in field.pixels.shape[1::-1]]
        pixels = np.asarray(
            Image.fromarray(field.pixels).resize((size[0], size[1]), Image.Resampling.BOX)
        )
        found = detector.detect(pixels)
        for label in labels:
            own = found[found.labels == label]
            true = (field.boxes[field.labels == label] * factor).astype(np.float64)
            score = own.confidence.astype(np.float64)
            matches = match_centres(own.boxes.astype(np.float64), score, true)
            for value, match in zip(score, matches, strict=True):
                logit = math.log(value / max(1.0 - value, 1e-9))
                yield Candidate(name, label, logit, bool(match >= 0))


def fit(found: Validation) -> Detection:
    """Return calibration (logistic regression) and thresholds (best mean F1 of the labs)."""
    calibration, thresholds = {}, {}
    for label, name in enumerate(CLASSES):
        own = [c for c in found.candidates if c.label == label]
        a, b = _logistic(own)
        calibration[name] = (round(a, 4), round(b, 4))
        totals = {s: n for (s, k), n in found.cells.items() if k == label and n}
        limit = _threshold(own, totals)
        thresholds[name] = round(max(_sigmoid(a * limit + b), _LEAST_LIKELY), 4)
        for one, total in totals.items():
            kept = [c.right for c in own if c.set == one and c.logit >= limit]
            print(f"{name} {one}: F1 {2 * sum(kept) / (len(kept) + total):.3f} of {total}")
    return Detection(thresholds, calibration, RED_CELL_PX, STRIDE)


def _logistic(candidates: Sequence[Candidate]) -> tuple[float, float]:
    logits = np.array([c.logit for c in candidates])
    right = np.array([c.right for c in candidates], float)
    weights = _lab_weights(candidates)

    def loss(pair: NDArray[np.float64]) -> float:
        z = pair[0] * logits + pair[1]
        return float((weights * (np.logaddexp(0.0, z) - right * z)).sum())

    a, b = minimize(loss, np.array([1.0, 0.0]), method="Nelder-Mead").x
    return max(float(a), 0.05), float(b)


def _lab_weights(candidates: Sequence[Candidate]) -> NDArray[np.float64]:
    names = [c.set for c in candidates]
    return np.array([1.0 / names.count(name) for name in names])


def _threshold(candidates: Sequence[Candidate], cells: dict[str, int]) -> float:
    """Return a logit with nearly the best mean F1 of the sets; see `_PLATEAU`."""
    limits = np.unique(np.round([c.logit for c in candidates], 2))
    scores = np.zeros(len(limits))
    for name, total in cells.items():
        own = sorted((c for c in candidates if c.set == name), key=lambda c: -c.logit)
        logits = np.array([c.logit for c in own])
        right = np.cumsum([c.right for c in own])
        kept = np.searchsorted(-logits, -limits, side="right")
        hits = np.where(kept > 0, right[np.maximum(kept, 1) - 1] if len(own) else 0, 0)
        scores += 2 * hits / (kept + total) / len(cells)
    good = limits[scores >= scores.max() - 0.005]
    return float(good.min() + _PLATEAU * (good.max() - good.min()))


def _sigmoid(z: float) -> float:
    return 1.0 / (1.0 + math.exp(-z))


def _manifest(graph: bytes, fields: dict[str, list[Field]], args: argparse.Namespace) -> Manifest:
    sizes = {name: len(chosen) for name, chosen in fields.items()}
    plain = Detection(dict.fromkeys(CLASSES, _LEAST), dict.fromkeys(CLASSES, (1.0, 0.0)))
    name = (
        DEFAULT_DETECTOR if args.without is None else f"{DEFAULT_DETECTOR}-without-{args.without}"
    )
    start = "hematology" if args.without is None else "imagenet"
    return Manifest(
        name=name,
        taxonomy=RBC_WBC_PLATELETS,
        thresholds=Thresholds(_MIN_CONFIDENCE, math.inf),
        backbone=BackboneRef(f"{start}, trained further", sha256_bytes(graph)),
        data={
            "validation_fields": sizes,
            "without": args.without or "none",
            "only": args.only or "",
        },
        seed=args.seed,
        options={"recipe": "recipes/field_detector", "steps": args.steps},
        detection=plain,
    )


if __name__ == "__main__":
    main()
