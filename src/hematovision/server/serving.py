"""The models of a service: found by name, warmed up, asked about one image at a time."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.errors import ImageError, ModelError, NotAnImageError, RequestError
from hematovision.model.bundle import ONNX
from hematovision.model.classifier import Classifier
from hematovision.model.inference import Item, predict_image
from hematovision.model.overlay import draw_overlay
from hematovision.model.prediction import Prediction
from hematovision.model.self_test import NOVELTY_TOLERANCE, TOLERANCE, SelfTest, self_test_cell

__all__ = ["Models", "Seen", "Served"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Seen:
    """What a model says about an image.

    Parameters
    ----------
    prediction : Prediction
    kind : str
        What `RequestError` calls the reason of a refusal; empty where there is an answer.
    heat_map : str or None
        The image with where the model looked, a PNG in base64, where it was asked for.
    """

    prediction: Prediction
    kind: str = ""
    heat_map: str | None = None


class Served:
    """A model under the name by which callers ask for it.

    Parameters
    ----------
    name : str
    classifier : Classifier

    Attributes
    ----------
    hash : str
        SHA-256 of its ONNX file, as ``bundle.json`` lists it.
    """

    def __init__(self, name: str, classifier: Classifier) -> None:
        self.name = name
        self.classifier = classifier
        self.hash = classifier.bundle.manifest.files[ONNX]

    def look(self, content: bytes, name: str, *, explain: bool = False) -> Seen:
        """Answer for the bytes of an image, on the caller's thread.

        Raises
        ------
        ModelError
            If the model itself fails.
        """
        result = predict_image(self.classifier, Item(name, content), explain=explain)
        if result.error is not None:
            return Seen(result.prediction, _kind(result.error))
        if result.attention is None:
            return Seen(result.prediction)
        whole = images.read(content, max_pixels=self.classifier.max_pixels)
        overlay = images.encode_png(draw_overlay(whole, result.attention))
        return Seen(result.prediction, heat_map=base64.b64encode(overlay).decode("ascii"))

    def look_at(self, pixels: NDArray[np.uint8], name: str) -> Seen:
        """Answer for an image that has been fitted, uint8 (224, 224, 3)."""
        return Seen(predict_image(self.classifier, Item(name, pixels)).prediction)

    def warm_up(self) -> None:
        """Predict the cell of the self-test as in a request, and compare with the bundle's result.

        A bundle of schema 1 has no self-test: then two predictions are compared with each other,
        and a warning is logged.

        Raises
        ------
        ModelError
            If they do not agree (`SelfTest.agrees`).
        """
        content = images.encode_png(self_test_cell())
        expected, source = self.classifier.bundle.manifest.self_test, "its bundle.json has"
        if expected is None:
            _LOG.warning(
                "%s has no self-test: its bundle is of an earlier version. Its first two "
                "predictions are compared with each other instead.",
                self.name,
            )
            first = self.look(content, "warm-up").prediction
            expected = SelfTest(first.probabilities, first.novelty)
            source = "its first prediction was"
        found = self.look(content, "warm-up").prediction
        if not expected.agrees(found.probabilities, found.novelty):
            received = SelfTest(found.probabilities, found.novelty)
            raise ModelError(
                f"{self.name} does not predict what it did when it was made. For the self-test, "
                f"{source} {expected}; received {found.error or received}. They may differ by "
                f"{TOLERANCE:g}, novelty by {NOVELTY_TOLERANCE:g} of it. The model and this "
                "installation do not belong together: install HematoVision again, and copy the "
                "model's folder again from where it was made."
            )


class Models:
    """What a service answers with.

    Parameters
    ----------
    served : iterable of Served
        At least one; the first answers where none is asked for.
    """

    def __init__(self, served: Iterable[Served]) -> None:
        self._by_name = {one.name: one for one in served}

    @classmethod
    def load(cls, names: Iterable[str | Path], max_pixels: int = images.MAX_PIXELS) -> Models:
        """Open models, each under its bundled name or its folder's.

        Parameters
        ----------
        names : iterable of str or Path
        max_pixels : int
            Width times height above which an image is refused before it is decoded.

        Raises
        ------
        ModelNotFoundError, BundleError
            If one cannot be opened.
        ModelError
            If two have the same name.
        """
        served = []
        for name in names:
            classifier = Classifier.load(name, workers=1, max_pixels=max_pixels)
            served.append(Served(classifier.bundle.folder.resolve().name, classifier))
        models = cls(served)
        if len(models.all) < len(served):
            raise ModelError(
                f"Two models have the same name: {', '.join(one.name for one in served)}. "
                "Rename the folder of one of them."
            )
        return models

    @property
    def all(self) -> tuple[Served, ...]:
        """The models, in order."""
        return tuple(self._by_name.values())

    def find(self, name: str | None) -> Served | None:
        """Return the model of that name, the first one for None, or None."""
        return self.all[0] if name is None else self._by_name.get(name)

    def get(self, name: str | None) -> Served:
        """Return the model of that name, or the first one for None.

        Raises
        ------
        RequestError
            If there is none.
        """
        found = self.find(name)
        if found is None:
            raise RequestError(
                "unknown model",
                f"There is no model {name!r} here. There is: {', '.join(self._by_name)}.",
            )
        return found


def _kind(refusal: ImageError | None) -> str:
    """Tell what is no image at all from an image that is broken."""
    return "not an image" if isinstance(refusal, NotAnImageError) else "broken"
