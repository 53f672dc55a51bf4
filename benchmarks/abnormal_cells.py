"""Abnormal white cells of another laboratory: which are accepted, and as what.

    python -m benchmarks.abnormal_cells --data DATA [--model white-cells] [--model pbc8]

Classifies the single cells of `munich`, ten of each type, of which no image was used for training,
calibration or any choice. A type that the classes of the model have should be predicted right where
it is accepted. Blasts, atypical lymphocytes, leukaemic promyelocytes and smudge cells should go to
review; accepting one as a kind of normal blood is the worst error.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hematovision import load
from hematovision.model.prediction import Prediction
from hematovision.taxonomy import FIVE_KINDS, PBC8

NORMAL = {
    "BAS": "basophil",
    "EOS": "eosinophil",
    "LYT": "lymphocyte",
    "MON": "monocyte",
    "NGS": "neutrophil",
    "NGB": "neutrophil",
    "EBO": "erythroblast",
    "MYO": "ig",
    "MMZ": "ig",
}
"""Types that are classes of the models, and as which: segmented and band neutrophils, myelocytes
and metamyelocytes among them."""

ABNORMAL = {
    "MYB": "myeloblast",
    "MOB": "monoblast",
    "PMO": "promyelocyte",
    "PMB": "promyelocyte, bilobed",
    "LYA": "lymphocyte, atypical",
    "KSC": "smudge cell",
}
"""Types that no class has, and promyelocytes of leukaemia, which are `ig` at best."""


class Type(NamedTuple):
    """The predictions for the cells of one type."""

    code: str
    predictions: list[Prediction]

    @property
    def accepted(self) -> list[Prediction]:
        """Those that are accepted."""
        return [one for one in self.predictions if one.decision == "accepted"]


def main() -> None:
    """Classify the cells and print a table for each model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of real images")
    parser.add_argument("--model", action="append", help="default: white-cells and pbc8")
    args = parser.parse_args()
    for name in args.model or ["white-cells", "pbc8"]:
        model = load(name)
        types = {
            code: Type(code, model.predict(sorted((args.data / "munich" / code).iterdir())))
            for code in (*NORMAL, *ABNORMAL)
        }
        print(f"\n{name}\n\n{table(list(types.values()))}\n\n{summary(types)}")


def table(types: Sequence[Type]) -> str:
    """Return a Markdown table with a row per type."""
    lines = ["| type | cells | accepted | accepted as | all predictions |", "| --- " * 5 + "|"]
    for one in types:
        what = ABNORMAL.get(one.code) or NORMAL[one.code]
        lines.append(
            f"| {one.code} ({what}) | {len(one.predictions)} | {len(one.accepted)} "
            f"| {_kinds(one.accepted)} | {_kinds(one.predictions)} |"
        )
    return "\n".join(lines)


def summary(types: dict[str, Type]) -> str:
    """Return the shares that matter: normal types right, abnormal ones accepted."""
    normal = [one for code in NORMAL for one in types[code].accepted]
    right = sum(
        PBC8.find(one.label) == kind
        for code, kind in NORMAL.items()
        for one in types[code].accepted
    )
    total = sum(len(types[code].predictions) for code in ABNORMAL)
    accepted = [one for code in ABNORMAL for one in types[code].accepted]
    as_normal = sum(one.label in FIVE_KINDS.classes for one in accepted)
    n_normal = sum(len(types[code].predictions) for code in NORMAL)
    return (
        f"classes of the model: {len(normal)} of {n_normal} accepted, {right} of them right\n"
        f"abnormal: {len(accepted)} of {total} accepted, {as_normal} as one of the five kinds of "
        "normal blood"
    )


def _kinds(predictions: Sequence[Prediction]) -> str:
    counts = Counter(one.label for one in predictions)
    return ", ".join(f"{count} {label}" for label, count in counts.most_common()) or "-"


if __name__ == "__main__":
    main()
