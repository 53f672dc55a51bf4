"""The images to which two models give different answers: found, listed, shown."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hematovision import images
from hematovision.data.samples import Dataset, Sample
from hematovision.errors import ImageError
from hematovision.evaluation.comparison import ModelPredictions
from hematovision.paths import csv_row, shown
from hematovision.reporting.comparison import Differing, PairExample
from hematovision.reporting.report import GALLERY

__all__ = ["DifferingImage", "differing_table", "find_differing", "gallery"]

_COLUMNS = (
    "path",
    "true",
    "right",
    "first",
    "second",
    "first_confidence",
    "second_confidence",
    "first_decision",
    "second_decision",
    "group",
    "lab",
)


@dataclass(frozen=True)
class DifferingImage:
    """An image to which two models give different answers.

    Parameters
    ----------
    sample : Sample
        Its label is the truth, in the classes of the comparison.
    said : tuple of two str
        The first model's answer, and the second's.
    confidence : tuple of two float
        Their probabilities.
    decision : tuple of two str
        ``"accepted"`` or ``"review"``.
    unlike : tuple of two bool
        Whether the image is unlike the model's training images.
    """

    sample: Sample
    said: tuple[str, str]
    confidence: tuple[float, float]
    decision: tuple[str, str]
    unlike: tuple[bool, bool] = (False, False)

    @property
    def right(self) -> str:
        """Which model is right: ``"first"``, ``"second"`` or ``"neither"``."""
        names = dict(zip(self.said, ("first", "second"), strict=True))
        return names.get(self.sample.label, "neither")


def find_differing(
    first: ModelPredictions,
    second: ModelPredictions,
    samples: Sequence[Sample],
    classes: Sequence[str],
) -> tuple[DifferingImage, ...]:
    """Find the images to which two models give different answers.

    Parameters
    ----------
    first, second : ModelPredictions
        To the same N images, in the same C classes.
    samples : sequence of Sample
        The N images.
    classes : sequence of str

    Returns
    -------
    tuple of DifferingImage
        Those that one model alone tells rightly first; among equals the surest mistake first.
    """
    folded = (first, second)
    tables = [np.asarray(said.probabilities) for said in folded]
    answers = np.stack([table.argmax(axis=1) for table in tables])
    unlike = [
        np.zeros(len(samples), bool) if m.out_of_distribution is None else m.out_of_distribution
        for m in folded
    ]
    novel = np.array(unlike, bool)
    decisions = [np.where(np.asarray(said.accepted), "accepted", "review") for said in folded]
    found = []
    for i in np.flatnonzero(answers[0] != answers[1]).tolist():
        image = DifferingImage(
            sample=samples[i],
            said=(classes[answers[0, i]], classes[answers[1, i]]),
            confidence=(float(tables[0][i].max()), float(tables[1][i].max())),
            decision=(str(decisions[0][i]), str(decisions[1][i])),
            unlike=(bool(novel[0, i]), bool(novel[1, i])),
        )
        found.append(image)
    return tuple(sorted(found, key=_teaching))


def _teaching(image: DifferingImage) -> tuple[bool, float]:
    """Sort images that only one model tells rightly first, then by the surest mistake."""
    wrong = [
        sure
        for said, sure in zip(image.said, image.confidence, strict=True)
        if said != image.sample.label
    ]
    return image.right == "neither", -max(wrong)


def differing_table(differing: Sequence[DifferingImage], data: Dataset) -> str:
    """Return ``differences.csv``: one row an image, both answers beside the truth."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for image in differing:
        sure = (f"{value:.6f}" for value in image.confidence)
        sample = image.sample
        about = data.relative(sample), sample.label, image.right
        known = sample.group, sample.lab or ""
        writer.writerow(csv_row([*about, *image.said, *sure, *image.decision, *known]))
    return buffer.getvalue()


def gallery(differing: Sequence[DifferingImage], data: Dataset) -> Differing:
    """Open as many images of each kind as the page shows."""
    kinds = {
        right: [image for image in differing if image.right == right]
        for right in ("second", "first", "neither")
    }
    second, first, neither = (
        [picture for image in found[:GALLERY] if (picture := _picture(image, data))]
        for found in kinds.values()
    )
    return Differing(second, first, neither, len(kinds["neither"]))


def _picture(image: DifferingImage, data: Dataset) -> PairExample | None:
    try:
        pixels = images.read(image.sample.path)
    except ImageError:  # It was there when it was answered; the page goes on without it.
        return None
    return PairExample(
        image=pixels,
        true=image.sample.label,
        predicted=image.said,
        confidence=image.confidence,
        decision=image.decision,
        out_of_distribution=image.unlike,
        name=shown(data.relative(image.sample)),
    )
