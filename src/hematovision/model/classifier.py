"""From image files to answers: what every door calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.errors import BundleError, ImageError, TooManyPixelsError
from hematovision.model.architecture import FEATURES
from hematovision.model.bundle import ONNX, Bundle, read_bundle
from hematovision.model.explain import both_ways
from hematovision.model.inference import ahead
from hematovision.model.prediction import (
    Explained,
    ImagePrediction,
    Prediction,
    RawPredictions,
    columns,
)
from hematovision.model.registry import find_model
from hematovision.model.session import (
    check_ports,
    feature_places,
    open_session,
    reading_threads,
    run_each,
    run_one,
    usable_cpus,
)
from hematovision.model.thresholds import Thresholds, decide
from hematovision.taxonomy import Taxonomy

__all__ = ["Classifier", "Explained", "ImagePrediction", "Prediction", "RawPredictions", "columns"]

_OUTPUTS = ("probabilities", "novelty")
_ATTENTION = "attention"  # An output that models have which were written since 0.2.


@contextmanager
def _within_memory(name: str) -> Iterator[None]:
    """Refuse an image for which the memory does not suffice, so that the others go on."""
    try:
        yield
    except MemoryError as error:
        raise TooManyPixelsError(
            name,
            "there is not enough free memory to classify it. Make the image smaller, run fewer "
            "programs at once, or use another machine.",
        ) from error


def _seen_both_ways(
    one: NDArray[np.float32],
    looked: NDArray[np.float32],
    other: NDArray[np.float32],
    back: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Join the maps of an image and of it turned by half, where the answer is the same."""
    return both_ways(looked, back if one.argmax() == other.argmax() else None)


class Classifier:
    """A trained model, ready to answer.

    Parameters
    ----------
    bundle : Bundle
        What `read_bundle` gave.
    workers : int, optional
        How many images are decoded and run at once; by default as many as there are usable
        processors, and one more where files are read.
    max_pixels : int
        Width times height above which an image is refused before it is decoded.

    Attributes
    ----------
    explains : bool
        Whether the model can say where it looked; those written before version 0.2 cannot.

    Raises
    ------
    BundleError
        If the model is not what its manifest says.

    Examples
    --------
    >>> classifier = Classifier.load("rbc-wbc-platelets")  # doctest: +SKIP
    >>> for prediction in classifier.stream(["a.jpg", "b.jpg"]):  # doctest: +SKIP
    ...     print(prediction.path, prediction.label, prediction.decision)
    """

    def __init__(
        self, bundle: Bundle, *, workers: int | None = None, max_pixels: int = images.MAX_PIXELS
    ) -> None:
        self.bundle = bundle
        self.max_pixels = max_pixels
        self._budget = images.PixelBudget()
        self.workers = max(1, workers or usable_cpus())
        self._threads = max(1, workers or reading_threads())
        name = str(bundle.folder / ONNX)
        self._session = open_session(bundle.read(ONNX), bundle.external_weights(), name=name)
        places = feature_places(self._session)
        outputs = {
            "probabilities": (len(self.classes),),
            "novelty": (),
            "features": (FEATURES,),
            "feature_map": (places, places, FEATURES),
        }
        self.explains = any(port.name == _ATTENTION for port in self._session.get_outputs())
        if self.explains:
            outputs[_ATTENTION] = (places, places)
        check_ports(self._session, outputs, name=name)

    @classmethod
    def load(
        cls,
        name_or_path: str | Path,
        *,
        workers: int | None = None,
        max_pixels: int = images.MAX_PIXELS,
    ) -> Classifier:
        """Open a bundled model by its name, or a run folder; see `find_model`.

        Raises
        ------
        ModelNotFoundError
            If there is no such model.
        BundleError
            If it is incomplete, altered, or of a newer schema.
        """
        bundle = read_bundle(find_model(name_or_path))
        return cls(bundle, workers=workers, max_pixels=max_pixels)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, in the order of the probabilities."""
        return self.taxonomy.classes

    @property
    def taxonomy(self) -> Taxonomy:
        """The classes with their name and aliases."""
        return self.bundle.taxonomy

    @property
    def thresholds(self) -> Thresholds:
        """The thresholds by which answers are accepted."""
        return self.bundle.thresholds

    def predict(self, paths: str | Path | Iterable[str | Path]) -> list[Prediction]:
        """Answer for each image file, in order.

        Parameters
        ----------
        paths : path or iterable of paths
            Image files. One that cannot be read is answered with the decision ``"refused"``; the
            others go on.

        Raises
        ------
        ModelError
            If the model itself fails.
        """
        return list(self.stream([paths] if isinstance(paths, str | Path) else paths))

    def stream(self, paths: Iterable[str | Path]) -> Iterator[Prediction]:
        """Answer for each image file, in order, while only a few are in memory.

        `paths` is read as far as needed, so that it may be endless; see `predict`.
        """
        return ahead(lambda path: self.picture(path).prediction, paths, self._threads)

    def picture(self, source: str | Path | bytes, name: str | None = None) -> ImagePrediction:
        """Answer for one image, a file or the bytes of one, on the caller's thread.

        Several threads may ask at once; `lookahead.ahead` does so for many images.

        Parameters
        ----------
        source : str, Path or bytes
            As `images.read` takes it. What cannot be read is answered with the decision
            ``"refused"``.
        name : str, optional
            What to put into ``path``; by default the path itself, or ``"<bytes>"``.

        Raises
        ------
        ModelError
            If the model itself fails.
        """
        label = name or ("<bytes>" if isinstance(source, bytes) else str(source))
        try:
            with _within_memory(label):
                pixels = self._load(source, label)
                probabilities, novelty = run_one(self._session, _OUTPUTS, pixels[None])
        except ImageError as error:
            refused = Prediction.refused(label, self.classes, error.reason)
            return ImagePrediction(refused, None, error)
        return ImagePrediction(self._prediction(label, probabilities[0], float(novelty[0])), pixels)

    def explain(self, paths: Iterable[str | Path]) -> Iterator[Explained]:
        """Answer for each image file as `stream` does, and say where the model looked.

        `overlay.draw_overlay` draws it.

        Raises
        ------
        BundleError
            At once, if the model cannot: see `explains`.
        """
        self.check_explains()
        return ahead(self._explain_file, paths, self._threads)

    def check_explains(self) -> None:
        """Raise a `BundleError` unless the model can say where it looked."""
        if not self.explains:
            raise BundleError(
                f"{self.bundle.folder}: this model was written by an earlier version of "
                f"HematoVision and cannot say where it looked: it has no output {_ATTENTION!r}. "
                "It classifies as ever. Train it again (`hematovision train`) for explanations."
            )

    def predict_images(
        self, arrays: Iterable[NDArray[np.uint8]], names: Iterable[str] | None = None
    ) -> list[Prediction]:
        """Answer for images in memory.

        Parameters
        ----------
        arrays : iterable of array of uint8, (H, W, 3)
            RGB images of any size, as `images.read` gives them.
        names : iterable of str, optional
            What to put into ``path``; by default ``"image 0"``, ``"image 1"``...

        Raises
        ------
        ValueError
            If an array is not uint8 (H, W, 3).
        """
        fitted = [images.fit(array) for array in arrays]
        labels = [f"image {i}" for i in range(len(fitted))] if names is None else list(names)
        if not fitted:
            return []
        answers = self.predict_batch(np.stack(fitted))
        rows = zip(labels, answers.probabilities, answers.novelty, strict=True)
        return [self._prediction(name, row, float(novelty)) for name, row, novelty in rows]

    def predict_batch(self, batch: NDArray[np.uint8]) -> RawPredictions:
        """Answer for images that have been fitted, without a decision.

        An image's answer does not depend on the others.

        Parameters
        ----------
        batch : array of uint8, (N, 224, 224, 3)
            RGB images as `images.fit` gives them.

        Raises
        ------
        ModelError
            If it has another type or shape.
        """
        return RawPredictions(*run_each(self._session, _OUTPUTS, batch, self.workers))

    def feature_maps(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the last feature maps, float32 (N, M, M, 1280); see `predict_batch`."""
        return run_each(self._session, ["feature_map"], batch, self.workers)[0]

    def features(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the features, float32 (N, 1280); see `predict_batch`."""
        return run_each(self._session, ["features"], batch, self.workers)[0]

    def attention(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return where the model looked for its answers, float32 (N, K, K); see `predict_batch`.

        It is Grad-CAM of each image's most probable class (`explain.grad_cam`), of the image and of
        it turned by half (`explain.both_ways`).

        Raises
        ------
        BundleError
            If the model cannot: see `explains`.
        """
        self.check_explains()
        outputs, turned = ("probabilities", _ATTENTION), batch[:, ::-1, ::-1]
        pairs = zip(
            *run_each(self._session, outputs, batch, self.workers),
            *run_each(self._session, outputs, turned, self.workers),
            strict=True,
        )
        maps = [_seen_both_ways(*pair) for pair in pairs]
        return np.stack(maps) if maps else np.zeros((0, 0, 0), np.float32)

    def _load(self, source: str | Path | bytes, name: str) -> NDArray[np.uint8]:
        return images.load(source, name=name, max_pixels=self.max_pixels, budget=self._budget)

    def _explain_file(self, path: str | Path) -> Explained:
        try:
            with _within_memory(str(path)):
                image = self._load(path, str(path))
                one, novelty, looked = run_one(self._session, (*_OUTPUTS, _ATTENTION), image[None])
                turned = np.ascontiguousarray(image[None, ::-1, ::-1])
                other, back = run_one(self._session, ("probabilities", _ATTENTION), turned)
        except ImageError as error:
            return Explained(Prediction.refused(str(path), self.classes, error.reason), None)
        prediction = self._prediction(str(path), one[0], float(novelty[0]))
        return Explained(prediction, _seen_both_ways(one[0], looked[0], other[0], back[0]))

    def _prediction(
        self, path: str, probabilities: NDArray[np.float32], novelty: float
    ) -> Prediction:
        best = int(probabilities.argmax())
        confidence = float(probabilities[best])
        decision, reason = decide(confidence, novelty, self.thresholds)
        return Prediction(
            path=path,
            classes=self.classes,
            label=self.classes[best],
            probabilities=tuple(map(float, probabilities)),
            confidence=confidence,
            novelty=novelty,
            decision=decision,
            reason=reason,
        )
