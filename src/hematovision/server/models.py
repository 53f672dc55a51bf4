"""The server's models: found by name, and tested before they serve requests."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hematovision import images
from hematovision.errors import ModelError, RequestError
from hematovision.fields.analyzer import FieldAnalyzer
from hematovision.fields.opening import open_classifier
from hematovision.fields.slides import FileAnalyzer
from hematovision.model.bundle import read_bundle
from hematovision.model.classifier import Classifier
from hematovision.model.detector import Detector
from hematovision.model.inference import Item, Predictor, predict_image
from hematovision.model.manifest import Task
from hematovision.model.prediction import Prediction
from hematovision.model.registry import DEFAULT_DETECTOR, find_model
from hematovision.model.self_test import NOVELTY_TOLERANCE, TOLERANCE, SelfTest, self_test_cell

__all__ = ["LoadedModel", "Models"]

_LOG = logging.getLogger(__name__)


class LoadedModel:
    """A model and its name in requests.

    `self_test` is the expected prediction for `self_test_cell`; `hash` is the SHA-256 of the ONNX
    file, as in ``bundle.json``.
    """

    def __init__(
        self, name: str, predictor: Predictor[Any], self_test: SelfTest | None = None
    ) -> None:
        self.name, self.predictor, self._self_test = name, predictor, self_test
        self.task: Task = "classification"
        if isinstance(predictor, FileAnalyzer):
            self.task = "detection"
        self.hash = str(predictor.identity["model"])

    def warm_up(self) -> None:
        """Predict the self-test cell, and compare the result with the bundle's self-test.

        If the bundle has none (schema 1), two predictions are compared, and a warning is logged.

        Raises `ModelError` if they differ (`SelfTest.agrees`).
        """
        self._warm_up()
        _LOG.info("Self-test of %s: passed.", self.name)

    def _warm_up(self) -> None:
        if isinstance(self.predictor, FileAnalyzer):
            self._check_detector(self.predictor)
            return
        item = Item("warm-up", images.encode_png(self_test_cell()))
        if self._self_test is None:
            _LOG.warning(
                "%s has no self-test: its bundle is from an earlier version. Its first two "
                "predictions are compared instead.",
                self.name,
            )
            first, second = (predict_image(self.predictor, item) for _ in range(2))
            if first.error or second.error or first.rows != second.rows:
                raise self._broken(f"two predictions differ: {first.rows} and {second.rows}")
            return
        found = predict_image(self.predictor, item).prediction
        if found.error:
            raise self._broken(f"its bundle.json expects {self._self_test}; received {found.error}")
        if isinstance(self.predictor, Classifier) and self.predictor.framing is not None:
            found = self.predictor.self_test()  # the test cell is framed already
        self._check(self._self_test, found)

    def _check(self, expected: SelfTest, found: Prediction | SelfTest) -> None:
        if not expected.agrees(found.probabilities, found.novelty):
            raise self._broken(
                f"its bundle.json expects {expected}; received "
                f"{SelfTest(found.probabilities, found.novelty)}. They may differ by "
                f"{TOLERANCE:g}, novelty by {NOVELTY_TOLERANCE:g} of it"
            )

    def _check_detector(self, predictor: FileAnalyzer) -> None:
        finder = predictor.analyzer.finder
        if not isinstance(finder, Detector) or self._self_test is None:
            return
        found = finder.self_test()
        if not self._self_test.agrees(found.probabilities, None):
            raise self._broken(f"its bundle.json expects {self._self_test}; received {found}")

    def _broken(self, what: str) -> ModelError:
        return ModelError(
            f"{self.name} fails its self-test. For the test cell {what}. The model folder or this "
            "installation may be damaged: reinstall HematoVision, and copy the model's folder "
            "again from its source."
        )


class Models:
    """The server's models.

    The first of `served` is the default.
    """

    def __init__(self, served: Iterable[LoadedModel]) -> None:
        self._by_name = {one.name: one for one in served}

    @classmethod
    def load(cls, names: Iterable[str | Path], max_pixels: int = images.MAX_PIXELS) -> Models:
        """Open models; each is named after its bundled name or its folder.

        Detectors classify white cells with the default model.

        Images of more than `max_pixels` (width times height) are rejected before decoding, and
        fields of more at the detector's scale before detection. Raises `ModelNotFoundError` or
        `BundleError` if a model cannot be opened. Raises `ModelError` if two have the same name.
        """
        served = []
        for name in names:
            bundle = read_bundle(find_model(name))
            predictor: Predictor[Any]
            if bundle.manifest.task == "detection":
                analyzer = FieldAnalyzer.load(
                    name, workers=1, max_pixels=max_pixels, max_scaled_pixels=max_pixels
                )
                predictor = FileAnalyzer(analyzer)
            else:
                predictor = open_classifier(bundle, workers=1, max_pixels=max_pixels)
            folder = bundle.folder.resolve().name
            served.append(LoadedModel(folder, predictor, bundle.manifest.self_test))
        models = cls(served)
        if len(models.all) < len(served):
            raise ModelError(
                f"Two models have the same name: {', '.join(one.name for one in served)}. "
                "Rename the folder of one of them."
            )
        return models

    @property
    def all(self) -> tuple[LoadedModel, ...]:
        """The models, in order."""
        return tuple(self._by_name.values())

    def find(self, name: str | None) -> LoadedModel | None:
        """Return the model called `name`, the default for None, or None if there is none."""
        return self.all[0] if name is None else self._by_name.get(name)

    def find_detector(self, name: str | None) -> LoadedModel | None:
        """Return the detector called `name`, the first for None, or None if there is none."""
        detectors = [one for one in self.all if one.task == "detection"]
        return next((one for one in detectors if name in (None, one.name)), None)

    def get_detector(self, name: str | None) -> LoadedModel:
        """Return the detector called `name`, or the first for None.

        Raises `RequestError` if there is none.
        """
        found = self.find_detector(name)
        if found is None:
            raise RequestError("unknown model", self._no_detector(name))
        return found

    def _no_detector(self, name: str | None) -> str:
        known = [one.name for one in self.all if one.task == "detection"]
        if known:
            return f"There is no detector {name!r} here. Available: {', '.join(known)}."
        return (
            f"This server has no detector. Start it with one, such as --model {DEFAULT_DETECTOR}."
        )

    def get(self, name: str | None) -> LoadedModel:
        """Return the model called `name`, or the default for None.

        Raises `RequestError` if there is none.
        """
        found = self.find(name)
        if found is None:
            raise RequestError(
                "unknown model",
                f"There is no model {name!r} here. Available: {', '.join(self._by_name)}.",
            )
        return found
