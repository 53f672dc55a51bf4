"""Measure what `adapt` brings a detector in a laboratory that it was not trained on.

    python -m benchmarks.detector_adaptation --data DATA --detectors runs/recipes/detector

Each detector trained without a laboratory (`without-<lab>*` in `--detectors`, from
`recipes.field_detector`) is adapted to 15 fields of the laboratory. Both are evaluated on 50
others, by centre distance, printed in Markdown. The crop classifier is left out.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.fields import bundle_in, read_set
from hematovision.data.labelled_fields import LabelledField
from hematovision.model.bundle import Bundle, read_bundle
from hematovision.model.detector import Detector
from hematovision.progress import no_progress
from hematovision.workflows.adapt.detector import adapt_to_fields
from hematovision.workflows.adapt.field_peaks import Values, look

SETS = {"raabin": "raabin", "bccd": "bccd", "pbc": "txl-pbc", "draaslan": "draaslan"}
ADAPTED, TESTED = 15, 50


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--detectors", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print("| lab | detector | F1 RBC / WBC / platelets | count error per field | diameter |")
    print("|---|---|---|---|---|")
    for lab, name in SETS.items():
        folder = bundle_in(args.detectors, f"without-{lab}")
        if folder is None:
            continue
        data = read_set(args.data, name)
        order = np.random.default_rng(args.seed).permutation(len(data))
        chosen = [replace(data.fields[i], split=None) for i in order[:ADAPTED]]
        others = [data.fields[i] for i in order[ADAPTED : ADAPTED + TESTED]]
        bundle = read_bundle(folder)
        with tempfile.TemporaryDirectory() as place:
            out = Path(place) / "adapted"
            out.mkdir()
            adapt_to_fields(bundle, data.with_fields(chosen), out=out, seed=args.seed)
            print(_row(lab, "before", bundle, others), flush=True)
            print(_row(lab, "adapted", read_bundle(out), others), flush=True)


def _row(lab: str, what: str, bundle: Bundle, fields: Sequence[LabelledField]) -> str:
    seen, _ = look(bundle, fields, no_progress, "")
    detector = Detector(bundle)
    values = [Values(1.0, 0.0, detector.thresholds[name]) for name in detector.classes]
    scores, errors = [], []
    for label in range(len(detector.classes)):
        right = [one.matches(one.cells(detector, values), label)[1] for one in seen]
        annotated = np.array([(one.labels == label).sum() for one in seen])
        found = np.array([len(one) for one in right])
        matched = sum(int(one.sum()) for one in right)
        total = int(found.sum() + annotated.sum())
        scores.append(f"{2 * matched / total:.3f}" if annotated.any() else "-")
        errors.append(f"{np.abs(found - annotated).mean():.2f}" if annotated.any() else "-")
    ratios = [one.ratio for one in seen if one.ratio]
    diameter = f"{1 / float(np.median(ratios)) - 1:+.1%}" if ratios else "-"
    return f"| {lab} | {what} | {' / '.join(scores)} | {' / '.join(errors)} | {diameter} |"


if __name__ == "__main__":
    main()
