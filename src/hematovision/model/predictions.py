"""The predictions for several images: a sequence with arrays, a table and a plot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray

from hematovision import figures
from hematovision.frames import data_frame
from hematovision.listing import Listing
from hematovision.model.prediction import Prediction, prediction_schema
from hematovision.plurals import counted

if TYPE_CHECKING:
    from hematovision.figures import Figure
    from hematovision.frames import DataFrame

__all__ = ["Predictions"]

_PLOTTED = 25


class Predictions(Sequence[Prediction]):
    """The predictions for N images, in order; a slice is also `Predictions`.

    It compares equal to a list of the same predictions.

    Parameters
    ----------
    predictions : iterable of Prediction
        Of one model.
    classes : tuple of str
        The model's C classes.

    Examples
    --------
    >>> import hematovision
    >>> predictions = hematovision.load().predict("cells/Test")
    >>> predictions[4:]
    Predictions: 2 images: 2 WBC
      path                      label  confidence  decision  reason
      cells/Test/WBC/cell0.png  WBC         99.7%  accepted
      cells/Test/WBC/cell1.png  WBC         98.2%  accepted
    >>> predictions.probabilities.shape
    (6, 3)
    >>> predictions.counts["WBC"]
    2
    >>> predictions.to_pandas()["label"].tolist().count("WBC")
    2
    >>> predictions[:2].plot().savefig("cells.png")
    """

    def __init__(self, predictions: Iterable[Prediction], classes: tuple[str, ...]) -> None:
        self._rows = tuple(predictions)
        self.classes = classes

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Prediction]:
        return iter(self._rows)

    @overload
    def __getitem__(self, index: int) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> Predictions: ...
    def __getitem__(self, index: int | slice) -> Prediction | Predictions:
        if isinstance(index, slice):
            return Predictions(self._rows[index], self.classes)
        return self._rows[index]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Predictions | list | tuple):
            return self._rows == tuple(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as of a list

    def __repr__(self) -> str:
        return self._listing.text()

    def _repr_html_(self) -> str:
        return self._listing.html()

    @property
    def labels(self) -> tuple[str | None, ...]:
        """The label of each image; None if it could not be read."""
        return tuple(one.label for one in self._rows)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """The calibrated probabilities, shape (N, C); NaN for images that could not be read."""
        unknown = (np.nan,) * len(self.classes)
        rows = [one.probabilities or unknown for one in self._rows]
        return np.array(rows, np.float64).reshape(len(rows), len(self.classes))

    @property
    def counts(self) -> dict[str, int]:
        """The number of images of each class, including those for review."""
        found = Counter(one.label for one in self._rows)
        return {name: found[name] for name in self.classes}

    @property
    def review(self) -> Predictions:
        """The predictions to review."""
        return Predictions((one for one in self if one.decision == "review"), self.classes)

    @property
    def refused(self) -> Predictions:
        """The images that could not be read."""
        return Predictions((one for one in self if one.decision == "refused"), self.classes)

    def to_pandas(self) -> DataFrame:
        """Return a data frame with a row per image and the columns of ``hematovision classify``.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        return data_frame(prediction_schema(self.classes), self._rows)

    def plot(self, most: int = _PLOTTED, *, columns: int = 5) -> Figure:
        """Return a matplotlib figure of the images with their labels; review is orange.

        Parameters
        ----------
        most : int
            How many images to show, from the first.
        columns : int
            Images per row.

        Raises
        ------
        MissingExtraError
            If matplotlib is not installed.
        """
        panels = [one.panel() for one in self._rows[: max(0, most)]]
        left_out = len(self) > len(panels)
        title = f"{len(panels)} of {counted(len(self), 'image')}" if left_out else ""
        return figures.show(figures.image_grid(panels, columns, title))

    @property
    def _listing(self) -> Listing[Prediction]:
        return Listing(self._title, _COLUMNS, self._rows, _cells)

    @property
    def _title(self) -> str:
        found = [f"{n:,} {name}" for name, n in self.counts.items() if n]
        found += [f"{len(self.refused):,} refused"] if self.refused else []
        review = f"; {len(self.review):,} to review" if self.review else ""
        listed = f": {', '.join(found)}{review}" if found else ""
        return f"Predictions: {counted(len(self), 'image')}{listed}"


_COLUMNS = ("path", "label", "confidence", "decision", "reason")


def _cells(one: Prediction) -> tuple[str, ...]:
    confidence = "" if one.confidence is None else f"{one.confidence:.1%}"
    return one.path, one.label or "", confidence, one.decision, one.error or one.reason
