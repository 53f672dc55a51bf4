"""One page that shows two models beside each other: ``compare.html``; a file like the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hematovision.evaluation.comparison import Comparison
from hematovision.evaluation.paired import Difference
from hematovision.files import write_text
from hematovision.model.prediction import NOT_RECOGNISED
from hematovision.reporting import difference_plots, wording
from hematovision.reporting.pages import environment
from hematovision.reporting.pictures import data_uri, svg_uri
from hematovision.reporting.report import GALLERY, ReportFacts
from hematovision.reporting.verdict import is_shown, verdict

__all__ = ["Differing", "PairExample", "render_comparison", "write_comparison_report"]

SCORES: Mapping[str, str] = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro-F1",
    "review_rate": "Sent to review",
    "accuracy_accepted": "Accuracy, accepted",
}


@dataclass(frozen=True)
class PairExample:
    """One image that two models answer differently, to look at.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3), or bytes
        As in `ErrorExample`.
    true : str
        The true class.
    said : tuple of two str
        The first model's answer, and the second's.
    confidence : tuple of two float
        Their probabilities.
    decision : tuple of two str
        ``"accepted"`` or ``"review"``.
    name : str
        The file, as it should be shown.
    unlike : tuple of two bool
        Whether the image is unlike the model's training images.
    """

    image: NDArray[np.uint8] | bytes
    true: str
    said: tuple[str, str]
    confidence: tuple[float, float]
    decision: tuple[str, str]
    name: str
    unlike: tuple[bool, bool] = (False, False)


@dataclass(frozen=True)
class Differing:
    """Images that two models answer differently, for the page: those to be shown, and how many."""

    only_second: Sequence[PairExample] = ()
    only_first: Sequence[PairExample] = ()
    both_wrong: Sequence[PairExample] = ()
    n_both_wrong: int = field(default=0)


def write_comparison_report(
    folder: Path, comparison: Comparison, facts: ReportFacts, differing: Differing
) -> Path:
    """Write ``compare.html`` into `folder`.

    Parameters
    ----------
    folder : Path
        Created if need be.
    comparison : Comparison
    facts : ReportFacts
        What the page says besides figures.
    differing : Differing
        The first 24 pictures of each kind are shown.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    MissingExtraError
        If matplotlib or Jinja2 is not installed.
    OutputError
        If the place cannot be written.
    """
    return write_text(folder / "compare.html", render_comparison(comparison, facts, differing))


def render_comparison(comparison: Comparison, facts: ReportFacts, differing: Differing) -> str:
    """Return the page that `write_comparison_report` writes; the parameters are the same."""
    labs = tuple(comparison.per_lab or ())
    figure = difference_plots.differences_figure(_rows(comparison))
    return (
        environment()
        .get_template("compare.html.j2")
        .render(
            c=comparison,
            facts=facts,
            verdict=verdict(comparison),
            shown=is_shown(comparison),
            drawn=wording.DRAWN if wording.are_synthetic(labs) else None,
            not_a_device=wording.NOT_A_DEVICE,
            not_recognised=NOT_RECOGNISED,
            score_names=SCORES,
            figures={"differences": svg_uri(figure)},
            galleries=_galleries(comparison, differing),
        )
    )


def _rows(comparison: Comparison) -> dict[str, Difference]:
    """Return the rows of the figure: scores of the whole, then the recall of each class."""
    whole = ("accuracy", "balanced_accuracy", "macro_f1")
    return {
        **{SCORES[key]: comparison.differences[key] for key in whole},
        **{f"Recall: {name}": row.difference for name, row in comparison.per_class.items()},
    }


def _galleries(comparison: Comparison, differing: Differing) -> list[dict[str, Any]]:
    agreement = comparison.agreement
    kinds = (
        ("Only the second is right", agreement.only_second, differing.only_second),
        ("Only the first is right", agreement.only_first, differing.only_first),
        ("Both are wrong, each in its own way", differing.n_both_wrong, differing.both_wrong),
    )
    return [
        {
            "title": title,
            "n": n,
            "pictures": [(picture, data_uri(picture.image)) for picture in pictures[:GALLERY]],
        }
        for title, n, pictures in kinds
        if n
    ]
