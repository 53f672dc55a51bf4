"""Evaluate the field analysis: BCCD's official test, labs left out, sizes, stains, the edge rule.

    python -m benchmarks.fields --data DATA --work runs/recipes --detectors runs/recipes/detector
                                [--part official labs sizes stains edges] [--most N]
                                [--fill] [--json FILE]

- official: the 72 test fields of BCCD with the bundled detector, and, if `--detectors` holds it,
  one trained on BCCD alone with its boxes as complete (`recipe --only bccd`); each against the
  published boxes, and against those completed by `benchmarks/missing_boxes.csv`.
- labs: each laboratory with the detector trained without it (`without-<lab>*` in `--detectors`,
  from `recipes.field_detector.recipe --without` and `.bundle`), on all fields of the laboratory.
  The crop classifier is left out: it has seen all laboratories. The baselines are fitted on
  training fields of the other laboratories.
- sizes, stains: test fields of all laboratories, the whole analysis; counts are compared with those
  of the same field unchanged.
- edges: synthetic fields with exact truth, cut into windows that are counted by the edge rule.

Nothing is fitted or chosen on these fields. `--most` limits the fields per laboratory, evenly
spread.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from benchmarks.machine import markdown_table
from benchmarks.missing_boxes import completed
from benchmarks.options import images_option, parse, publish, results_options
from hematovision.data.cells import read_cells
from hematovision.data.labelled_fields import LabelledField, LabelledFields, read_labelled_fields
from hematovision.evaluation.detection import DetectionMetrics, DetectionScores
from hematovision.evaluation.detection.baselines import MOST_FIELDS, RED, Baselines, training_fields
from hematovision.evaluation.detection.matching import match_centres
from hematovision.evaluation.metrics import plain
from hematovision.fields.analyzer import FieldAnalyzer
from hematovision.fields.edges import EDGE_RULES, EdgeRule, apply_edge_rule
from hematovision.fields.rows import CELL_CLASSES
from hematovision.fields.rows import split as split_rows
from hematovision.fields.scale import SMALLEST
from hematovision.intervals import Interval
from hematovision.model.detector import Detector
from hematovision.model.inference import ahead
from hematovision.model.registry import DEFAULT_DETECTOR
from hematovision.model.session import reading_threads
from hematovision.synthetic import render_field
from hematovision.workflows.detection.finding import (
    FieldOutcome,
    Pipeline,
    annotated_diameter,
    find_cells,
    metrics_of,
)
from recipes.sets import SOURCES, TXL_NAMES, prepare

PARTS = ("official", "labs", "sizes", "stains", "edges")
LABS = {"raabin": "raabin", "bccd": "bccd", "pbc": "txl-pbc", "draaslan": "draaslan"}
"""The set of `recipes.sets` that has the annotated fields of each laboratory."""

FACTORS = (0.25, 0.35, 0.5, 0.71, 1.41, 2.0)
CASTS: Mapping[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "pale": ((0.6, 0.6, 0.6), (1, 1, 1)),
    "dark": ((1.6, 1.6, 1.6), (1, 1, 1)),
    "pink (acid buffer)": ((0.8, 1.25, 1.1), (1, 1, 1)),
    "blue (alkaline buffer)": ((1.3, 1.0, 0.8), (1, 1, 1)),
    "yellow lamp": ((1, 1, 1), (1.0, 0.92, 0.74)),
    "blue lamp": ((1, 1, 1), (0.84, 0.93, 1.0)),
}
"""Factors of the absorbance in red, green and blue, and of the light."""

BLURS = (0.03, 0.06, 0.12)
"""Standard deviations of a Gaussian blur, in red-cell diameters."""

BORDER = 3.0
"""Pixels from the border within which a box touches it."""

WINDOW = (480, 640)
GRID = 3

Pixels = NDArray[np.uint8]


def main() -> None:
    """Run the chosen parts, and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    images_option(parser)
    results_options(parser)
    parser.add_argument("--work", type=Path, required=True, help="the imported sets")
    parser.add_argument("--detectors", type=Path, help="detectors trained without a laboratory")
    parser.add_argument("--detector", default=DEFAULT_DETECTOR, help="for all other parts")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--most", type=int, help="fields per laboratory")
    args = parse(parser)
    if not (args.work / "sets").is_dir():
        prepare(args.data, args.work)
    run: dict[str, Callable[[argparse.Namespace], tuple[str, Any]]] = {
        "official": official,
        "labs": left_out,
        "sizes": sizes,
        "stains": stains,
        "edges": edges,
    }
    results = {}
    for part in args.part:
        table, results[part] = run[part](args)
        print(f"\n{table}\n", flush=True)
        publish(args, f"fields-{part}", table, results)


# ---- BCCD's official test, and laboratories left out


def official(args: argparse.Namespace) -> tuple[str, Any]:
    """Evaluate on BCCD's official test fields."""
    data = read_set(args.data, "bccd")
    baselines = Baselines.fit_split(data, "test")
    chosen = some(data.subset("test"), args.most)
    rows, results = [], {}
    detectors = {"blood-fields": args.detector}
    if alone := bundle_in(args.detectors, "only-bccd"):
        detectors["trained on BCCD alone"] = alone
    for name, detector in detectors.items():
        pipeline = Pipeline.load(detector, detector_only=name != "blood-fields")
        outcomes = found_in(pipeline, chosen, baselines)
        for boxes, fields in {"": outcomes, ", boxes completed": with_missing(outcomes)}.items():
            metrics = metrics_of(fields, None if boxes else baselines)
            results[name + boxes] = plain(metrics)
            rows.append(official_row(f"**{name}**{boxes}", metrics, metrics.n, curves=not boxes))
            if not boxes:
                simple = metrics.baselines
    watershed = simple["watershed"].scores
    assert watershed is not None
    rows.append(official_row("baseline: watershed", watershed, metrics.n))
    area = simple["area"].counts["RBC"].mean_absolute_error
    rows.append(["baseline: stained area", metrics.n, *"----", f"{area:.2f} / - / -"])
    heads = ["", "fields", "mAP@0.5", "mAP@0.5:0.95", "F1 RBC / WBC / platelets", "recall",
             "count error per field"]  # fmt: skip
    return markdown_table(heads, rows), results


def official_row(
    name: str, scores: DetectionMetrics | DetectionScores, fields: int, *, curves: bool = True
) -> list[Any]:
    """Return one row of the table of BCCD; without `curves`, without average precision."""
    classes = scores.per_class.values()
    return [
        name,
        fields,
        with_interval(scores.map50, scores.intervals["map50"]) if curves else "-",
        with_interval(scores.map50_95, scores.intervals["map50_95"]) if curves else "-",
        " / ".join(f"{row.f1 or 0:.3f}" for row in classes),
        " / ".join(f"{row.recall or 0:.3f}" for row in classes),
        " / ".join(f"{row.counts.mean_absolute_error:.2f}" for row in classes),
    ]


def left_out(args: argparse.Namespace) -> tuple[str, Any]:
    """Evaluate each laboratory with a detector that never saw it."""
    rows, results = [], {}
    for lab, name in LABS.items():
        detector = bundle_in(args.detectors, f"without-{lab}")
        if detector is None:
            print(f"There is no detector without {lab} in {args.detectors}.", flush=True)
            continue
        data = some(read_set(args.data, name), args.most)
        others = [other for other in LABS if other != lab]
        baselines = baselines_of(args, others)
        outcomes = found_in(Pipeline.load(detector, detector_only=True), data, baselines)
        metrics = metrics_of(outcomes, baselines)
        results[lab] = plain(metrics)
        rows.append(lab_row(lab, metrics, inside_f1(outcomes)))
        if lab == "bccd":
            tests = with_missing(one for one in outcomes if one.field.split == "test")
            full = metrics_of(tests)
            results["bccd, boxes completed"] = plain(full)
            name = "bccd: official test, boxes completed"
            rows.append(lab_row(name, full, inside_f1(tests)))
        watershed = metrics.baselines["watershed"].scores
        assert watershed is not None
        rows.append(lab_row(f"{lab}: baseline watershed", watershed))
    heads = ["left out", "fields", *(f"F1 {name}" for name in CELL_CLASSES),
             "F1 RBC, not at the border", "recall RBC / WBC / platelets", "count error per field",
             "bias"]  # fmt: skip
    return markdown_table(heads, rows), results


def inside_f1(outcomes: Iterable[FieldOutcome]) -> float:
    """Return the F1 of the red cells that do not touch the border of their field.

    Annotators disagree about slivers: those of Raabin leave them out, those of draaslan box them.
    """
    matched = wrong = 0
    for outcome in outcomes:
        field, (height, width) = outcome.evaluated, outcome.field.load().pixels.shape[:2]
        limits = np.array([width, height]) - BORDER
        kept = field.found.kept & (field.found.labels == RED)
        found, annotated = field.found.boxes[kept], field.boxes_of(RED)
        matches = match_centres(found, field.found.confidence[kept], annotated)
        free, own = (
            (boxes[:, :2] > BORDER).all(axis=1) & (boxes[:, 2:] < limits).all(axis=1)
            for boxes in (found, annotated)
        )
        hit = np.isin(np.arange(len(annotated)), matches)
        matched += int((hit & own).sum())
        wrong += int((~hit & own).sum()) + int(((matches < 0) & free).sum())
    return 2 * matched / (2 * matched + wrong)


def lab_row(
    lab: str, scores: DetectionMetrics | DetectionScores, inside: float | None = None
) -> list[Any]:
    """Return one row of the table of laboratories."""
    known = scores.per_class
    f1 = [
        with_interval(known[name].f1, known[name].intervals["f1"]) if name in known else "-"
        for name in CELL_CLASSES
    ]
    counts = [known[name].counts if name in known else None for name in CELL_CLASSES]
    return [
        lab,
        scores.n,
        *f1,
        "-" if inside is None else f"{inside:.3f}",
        " / ".join(
            f"{known[name].recall or 0:.3f}" if name in known else "-" for name in CELL_CLASSES
        ),
        " / ".join("-" if one is None else f"{one.mean_absolute_error:.2f}" for one in counts),
        " / ".join("-" if one is None else f"{one.bias:+.2f}" for one in counts),
    ]


def baselines_of(args: argparse.Namespace, labs: Sequence[str]) -> Baselines:
    """Fit the baselines on training fields of some laboratories."""
    each = MOST_FIELDS // len(labs) + 1
    fields = [
        field for lab in labs for field in training_fields(in_split(args, LABS[lab], "train"), each)
    ]
    return Baselines.fit(fields, f"training fields of {', '.join(labs)}")


def found_in(pipeline: Pipeline, data: LabelledFields, baselines: Baselines) -> list[FieldOutcome]:
    """Find the cells of fields."""
    outcomes, refused = find_cells(pipeline, data, baselines)
    assert not refused, refused
    return outcomes


def with_missing(outcomes: Iterable[FieldOutcome]) -> list[FieldOutcome]:
    """Add the red cells of BCCD's test fields that a person found to be without a box.

    Their boxes are those of a detector, so they are no basis for average precision.
    """
    outcomes = list(outcomes)
    fields = completed(outcome.evaluated for outcome in outcomes)
    return [replace(one, evaluated=field) for one, field in zip(outcomes, fields, strict=True)]


# ---- The same fields, changed


@dataclass(frozen=True)
class Changed:
    """The counts of one field, unchanged and changed."""

    lab: str
    field: str
    change: str
    before: tuple[int, int, int]
    after: tuple[int, int, int]
    flags_before: str
    flags_after: str
    # found diameter / the annotated one, and / that of the unchanged field; None if not found
    scale: float | None
    own_scale: float | None


def sizes(args: argparse.Namespace) -> tuple[str, Any]:
    """Resize fields."""
    changes = {f"x {factor:g}": resizing(factor) for factor in FACTORS}
    expected = {f"x {factor:g}": factor for factor in FACTORS} | {"unchanged": 1.0}
    rows = changed_fields(args, changes, expected)
    heads = ["size", "fields", "change RBC / WBC / platelets", "mean change of RBC per field",
             "scale within 10%: of the unchanged field's", "of the annotated one"]  # fmt: skip
    table = []
    for name in expected:
        own = [row for row in rows if row.change == name]
        n = len(own)
        same, right = (
            sum(value is not None and abs(value - 1) <= 0.1 for value in values)
            for values in ([row.own_scale for row in own], [row.scale for row in own])
        )
        table.append([name, n, totals(own), mean_change(own), f"{same} of {n}", f"{right} of {n}"])
    return markdown_table(heads, table), [asdict(row) for row in rows]


def stains(args: argparse.Namespace) -> tuple[str, Any]:
    """Change stain, light and focus."""
    changes: dict[str, Callable[[Pixels, float], Pixels]] = {
        name: casting(*factors) for name, factors in CASTS.items()
    }
    changes |= {f"blur {sigma:g} of a red cell": blurring(sigma) for sigma in BLURS}
    rows = changed_fields(args, changes, {})
    heads = ["change", "fields", "newly flagged", "the rest: change RBC / WBC / platelets",
             "the rest: mean change of RBC per field"]  # fmt: skip
    table = []
    for name in changes:
        own = [row for row in rows if row.change == name]
        rest = [row for row in own if not newly_flagged(row)]
        table.append([name, len(own), len(own) - len(rest), totals(rest), mean_change(rest)])
    return markdown_table(heads, table), [asdict(row) for row in rows]


def newly_flagged(row: Changed) -> bool:
    """Return whether a field has a flag that it had not before."""
    return not set(row.flags_after.split("; ")) <= {*row.flags_before.split("; "), ""}


def changed_fields(
    args: argparse.Namespace,
    changes: Mapping[str, Callable[[Pixels, float], Pixels]],
    factors: Mapping[str, float],
) -> list[Changed]:
    """Analyse test fields, unchanged and changed.

    Fields whose red cells would be narrower than the analysis supports are left out.
    """
    pipeline = Pipeline.load(args.detector)

    def work(field: LabelledField) -> list[Changed]:
        loaded = field.load()
        width = annotated_diameter(loaded)
        if width is None:
            return []
        found, row = pipeline.count(loaded.pixels)
        before, rows = counts(found.labels), []
        for name, change in {"unchanged": lambda pixels, _: pixels, **changes}.items():
            factor = factors.get(name, 1.0)
            if width * factor < SMALLEST:
                continue
            cells, changed = pipeline.count(change(loaded.pixels, width))
            ratios = [
                changed.rbc_diameter_px / (one * factor)
                if changed.rbc_diameter_px and one
                else None
                for one in (width, row.rbc_diameter_px)
            ]
            rows.append(
                Changed(field.lab, field.name, name, before, counts(cells.labels), row.flags,
                        changed.flags, *ratios)
            )  # fmt: skip
        return rows

    fields: list[LabelledField] = []
    for name in LABS.values():
        fields += some(in_split(args, name, "test"), args.most).fields
    with closing(ahead(work, fields, reading_threads())) as results:
        return [row for rows in results for row in rows]


def counts(labels: NDArray[np.int64]) -> tuple[int, int, int]:
    """Return the number of cells of each class."""
    red, white, platelets = np.bincount(labels, minlength=3).tolist()
    return red, white, platelets


def totals(rows: Sequence[Changed]) -> str:
    """Return the change of the total number of cells of each class."""
    if not rows:
        return "-"
    before = np.sum([row.before for row in rows], axis=0)
    after = np.sum([row.after for row in rows], axis=0)
    return " / ".join(
        f"{100 * (a / b - 1):+.1f}%" if b else "-" for a, b in zip(after, before, strict=True)
    )


def mean_change(rows: Sequence[Changed]) -> str:
    """Return the mean absolute change of red cells a field, relative to their mean number."""
    total = sum(row.before[0] for row in rows)
    changed = sum(abs(row.after[0] - row.before[0]) for row in rows)
    return f"{100 * changed / total:.1f}%" if total else "-"


def resizing(factor: float) -> Callable[[Pixels, float], Pixels]:
    """Return a function that resizes a field."""

    def resize(pixels: Pixels, width: float) -> Pixels:
        del width
        height, across = (max(1, round(side * factor)) for side in pixels.shape[:2])
        how = Image.Resampling.BOX if factor < 1 else Image.Resampling.BICUBIC
        return np.asarray(Image.fromarray(pixels).resize((across, height), how))

    return resize


def casting(
    absorbance: tuple[float, float, float], light: tuple[float, float, float]
) -> Callable[[Pixels, float], Pixels]:
    """Return a function that changes the stain and the lamp of a field."""

    def cast(pixels: Pixels, width: float) -> Pixels:
        del width
        intensity = pixels.astype(np.float64) + 1.0
        background = np.percentile(intensity.reshape(-1, 3), 95, axis=0)
        passed = (np.minimum(intensity / background, 1.0)) ** np.array(absorbance)
        changed = passed * background * np.array(light) - 1.0
        return np.asarray(np.clip(np.rint(changed), 0, 255), np.uint8)

    return cast


def blurring(sigma: float) -> Callable[[Pixels, float], Pixels]:
    """Return a function that defocuses a field; `sigma` is in red-cell diameters."""

    def blur(pixels: Pixels, width: float) -> Pixels:
        return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(sigma * width)))

    return blur


# ---- The edge rule


def edges(args: argparse.Namespace) -> tuple[str, Any]:
    """Count windows of large synthetic fields by each edge rule."""
    analyzers = {
        rule: FieldAnalyzer(Detector.load(args.detector), edges=rule, workers=1)
        for rule in EDGE_RULES
    }
    n = args.most or 8
    kept: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for seed in range(n):
        for key, pair in counted_windows(seed, analyzers).items():
            kept.setdefault(key, []).append(pair)
    rows = []
    for (rule, what), pairs in kept.items():
        found, true = np.array(pairs).T
        bias = found.sum() / true.sum() - 1
        draws = np.random.default_rng(0).integers(0, n, (2000, n))
        low, high = np.quantile(found[draws].sum(1) / true[draws].sum(1) - 1, [0.025, 0.975])
        interval = f"{100 * bias:+.2f}% ({100 * low:+.2f} to {100 * high:+.2f})"
        rows.append([rule, what, f"{true.sum():,}", interval])
    heads = ["rule", "cells by", "cells of the large fields", "bias of the count"]
    return markdown_table(heads, rows), {f"{a}, {b}": pairs for (a, b), pairs in kept.items()}


def counted_windows(
    seed: int, analyzers: Mapping[EdgeRule, FieldAnalyzer]
) -> dict[tuple[str, str], tuple[int, int]]:
    """Count the cells of one large field, cut into windows: (counted, true) by rule and method.

    True is the number of cells of the large field that lie inside it or cross its upper or left
    border, the cells that its area stands for. The detector's count is compared with its own count
    of the large field by the rule ``two``, so that missed cells are no bias of the rule.
    """
    height, width = WINDOW
    field = render_field(seed + 9000, (GRID * height, GRID * width))
    boxes = np.array([cell.box for cell in field.cells], np.float32)
    whole = (0.0, 0.0, float(GRID * width), float(GRID * height))
    true = int(apply_edge_rule(boxes, whole, "two").counted.sum())
    own = counted_cells(analyzers["two"], field.image)
    results: dict[tuple[str, str], tuple[int, int]] = {}
    for rule, analyzer in analyzers.items():
        exact = found = 0
        for y in range(0, GRID * height, height):
            for x in range(0, GRID * width, width):
                exact += counted_boxes(boxes, (x, y, x + width, y + height), rule)
                window = np.ascontiguousarray(field.image[y : y + height, x : x + width])
                found += counted_cells(analyzer, window)
        results[rule, "exact boxes"] = exact, true
        results[rule, "detector"] = found, own
    return results


def counted_boxes(
    boxes: NDArray[np.float32], window: tuple[int, int, int, int], rule: EdgeRule
) -> int:
    """Return how many cells count in a window of a field."""
    limits = np.array(window, np.float32)
    clipped = np.concatenate(
        [np.maximum(boxes[:, :2], limits[:2]), np.minimum(boxes[:, 2:], limits[2:])], axis=1
    )
    visible = (clipped[:, 2:] > clipped[:, :2]).all(axis=1)
    frame = (float(window[0]), float(window[1]), float(window[2]), float(window[3]))
    return int(apply_edge_rule(clipped[visible], frame, rule, tolerance=0.5).counted.sum())


def counted_cells(analyzer: FieldAnalyzer, pixels: Pixels) -> int:
    """Return how many cells of a field the analysis counts."""
    cells, _ = split_rows(analyzer.predict_rows(pixels, "field")[0])
    return sum(cell.counted for cell in cells)


# ---- Data


def read_set(data: Path, name: str) -> LabelledFields:
    """Read the annotated fields of a set of `recipes.sets`."""
    names = TXL_NAMES if name in ("raabin", "txl-pbc") else None
    lab = next(lab for lab, own in LABS.items() if own == name)
    how = "voc" if name == "bccd" else None
    return read_labelled_fields(data / SOURCES[name], format=how, names=names, lab=lab)


def in_split(args: argparse.Namespace, name: str, split: str) -> LabelledFields:
    """Return the fields of a split: BCCD's official one, or that of `recipes.sets`."""
    data = read_set(args.data, name)
    if name == "bccd":
        return data.with_fields(field for field in data if field.split == split)
    cells = read_cells(args.work / "sets" / name / "cells.csv")
    side = {Path(cell.source).stem: cell.split for cell in cells}
    return data.with_fields(field for field in data if side.get(field.image.stem) == split)


def some(data: LabelledFields, most: int | None) -> LabelledFields:
    """Return up to `most` fields, evenly spread."""
    if most is None or len(data) <= most:
        return data
    places: Iterable[int] = np.linspace(0, len(data) - 1, most).astype(int)
    return data.with_fields(data.fields[i] for i in places)


def bundle_in(folder: Path | None, start: str) -> Path | None:
    """Return the first bundle in a folder whose name begins with `start`."""
    if folder is None:
        return None
    for found in sorted(folder.glob(f"{start}*")):
        for place in (found, found / "bundle"):
            if (place / "bundle.json").is_file():
                return place
    return None


def with_interval(value: float | None, interval: Interval | None) -> str:
    """Format a score with its interval."""
    if value is None:
        return "-"
    return f"{value:.3f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else "")


if __name__ == "__main__":
    main()
