"""Made-up annotated fields with the cells that a detector might find in them."""

import numpy as np

from hematovision.evaluation.detection import EvaluatedField, FoundCells

CLASSES = ("RBC", "WBC", "Platelets")


def box(x: float, y: float, side: float = 10.0) -> list[float]:
    return [x - side / 2, y - side / 2, x + side / 2, y + side / 2]


def field(
    annotated: list[tuple[float, float, int]],
    found: list[tuple[float, float, int, float]],
    name: str = "a",
    **facts,
) -> EvaluatedField:
    """A field of cells 10 pixels wide: (x, y, class) and (x, y, class, confidence)."""
    cells = FoundCells.of(
        [box(x, y) for x, y, *_ in found],
        [label for _, _, label, _ in found],
        [confidence for *_, confidence in found],
        kept=[confidence >= 0.5 for *_, confidence in found],
    )
    boxes = np.array([box(x, y) for x, y, _ in annotated]).reshape(-1, 4)
    labels = np.array([label for *_, label in annotated], np.int64)
    return EvaluatedField(
        name, boxes, labels, cells, **{"annotated": frozenset({0, 1, 2}), **facts}
    )


def random_fields(n: int, seed: int = 0, *, ties: bool = False) -> list[EvaluatedField]:
    """Fields of overlapping cells, found imprecisely, some twice, some not, some wrongly."""
    rng = np.random.default_rng(seed)
    return [_random_field(rng, i, ties) for i in range(n)]


def _random_field(rng: np.random.Generator, number: int, ties: bool) -> EvaluatedField:
    cells, false = rng.integers(0, 25), rng.integers(0, 6)
    corner, sides = rng.uniform(0, 200, (cells, 2)), rng.uniform(15, 45, (cells, 2))
    boxes = np.hstack([corner, corner + sides])
    labels = rng.integers(0, 3, cells)
    seen = np.flatnonzero(rng.random(cells) < 0.85)
    corner = rng.uniform(0, 200, (false, 2))
    twice = seen[:2]
    found = np.vstack([
        boxes[seen] + rng.normal(0, 2, (len(seen), 4)),
        np.hstack([corner, corner + 30]),
        boxes[twice] + 1,
    ])  # fmt: skip
    found_labels = np.concatenate([labels[seen], rng.integers(0, 3, false), labels[twice]])
    confidence = rng.random(len(found))
    confidence = confidence.round(1) if ties else confidence
    cells = FoundCells.of(found, found_labels, confidence, kept=confidence > 0.2)
    return EvaluatedField(f"f{number}", boxes, labels, cells, frozenset({0, 1, 2}))
