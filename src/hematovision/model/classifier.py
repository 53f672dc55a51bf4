"""From image files to answers: what every door calls."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.errors import ImageError
from hematovision.model.architecture import FEATURE_MAP_SIZE, FEATURES
from hematovision.model.bundle import ONNX, Bundle, read_bundle
from hematovision.model.registry import find_model
from hematovision.model.session import check_ports, open_session, run_each, run_one, usable_cpus
from hematovision.model.trust import Trust, decide
from hematovision.taxonomy import Taxonomy

__all__ = ["Answers", "Classifier", "Prediction", "columns"]

_LOOK_AHEAD = 4  # Images per worker in flight: enough to hide a slow file, too few to fill memory.
_OUTPUTS = ("probabilities", "novelty")


class Answers(NamedTuple):
    """What a model says about N images.

    Parameters
    ----------
    probabilities : array of float32, (N, C)
    novelty : array of float32, (N,)
    """

    probabilities: NDArray[np.float32]
    novelty: NDArray[np.float32]


@dataclass(frozen=True)
class Prediction:
    """What a model says about one image.

    Parameters
    ----------
    path : str
        The image, as it was given.
    classes : tuple of str
        The model's classes.
    label : str or None
        The most probable class; None where the image was refused.
    probabilities : tuple of float
        One per class, calibrated; empty where refused.
    confidence : float or None
        The largest of them.
    novelty : float or None
        How far the image is from those learnt from; about 1 for ordinary ones.
    decision : {"accepted", "review", "refused"}
        Whether the answer stands, a person should look, or there is none since the image could
        not be read.
    reason : str
        Why a person should look; else empty.
    error : str or None
        Why the image was refused.
    """

    path: str
    classes: tuple[str, ...]
    label: str | None
    probabilities: tuple[float, ...]
    confidence: float | None
    novelty: float | None
    decision: Literal["accepted", "review", "refused"]
    reason: str = ""
    error: str | None = None

    def row(self) -> dict[str, str | float | None]:
        """Return one row of a table with the `columns` of its classes, in that order.

        Numbers that a refused image does not have are None.
        """
        values = self.probabilities or (None,) * len(self.classes)
        return {
            "path": self.path,
            "label": self.label or "",
            "confidence": self.confidence,
            "decision": self.decision,
            "reason": self.reason,
            "novelty": self.novelty,
            **{f"p_{name}": value for name, value in zip(self.classes, values, strict=True)},
            "error": self.error or "",
        }


def columns(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of a table of predictions, in order."""
    probabilities = (f"p_{name}" for name in classes)
    return (
        "path",
        "label",
        "confidence",
        "decision",
        "reason",
        "novelty",
        *probabilities,
        "error",
    )


class Classifier:
    """A trained model, ready to answer.

    Parameters
    ----------
    bundle : Bundle
        What `read_bundle` gave.
    workers : int, optional
        How many images are decoded and run at once; by default as many as there are usable
        processors.

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

    def __init__(self, bundle: Bundle, *, workers: int | None = None) -> None:
        self.bundle = bundle
        self.workers = max(1, workers or usable_cpus())
        name = str(bundle.folder / ONNX)
        self._session = open_session(bundle.read(ONNX), bundle.external_weights(), name=name)
        outputs = {
            "probabilities": (len(self.classes),),
            "novelty": (),
            "features": (FEATURES,),
            "feature_map": (FEATURE_MAP_SIZE, FEATURE_MAP_SIZE, FEATURES),
        }
        check_ports(self._session, outputs, name=name)

    @classmethod
    def load(cls, name_or_path: str | Path, *, workers: int | None = None) -> Classifier:
        """Open a bundled model by its name, or a run folder; see `find_model`.

        Raises
        ------
        ModelNotFoundError
            If there is no such model.
        BundleError
            If it is incomplete, altered, or of a newer schema.
        """
        return cls(read_bundle(find_model(name_or_path)), workers=workers)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, in the order of the probabilities."""
        return self.taxonomy.classes

    @property
    def taxonomy(self) -> Taxonomy:
        """The classes with their name and aliases."""
        return self.bundle.taxonomy

    @property
    def trust(self) -> Trust:
        """The thresholds by which answers are accepted."""
        return self.bundle.trust

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
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="classify")
        waiting: deque[Future[Prediction]] = deque()
        try:
            for path in paths:
                waiting.append(pool.submit(self._predict_file, path))
                if len(waiting) >= _LOOK_AHEAD * self.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            # Reached too when the caller stops half-way: nothing goes on behind its back.
            pool.shutdown(cancel_futures=True)

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

    def predict_batch(self, batch: NDArray[np.uint8]) -> Answers:
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
        return Answers(*run_each(self._session, _OUTPUTS, batch, self.workers))

    def feature_maps(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the last feature maps, float32 (N, 7, 7, 1280); see `predict_batch`."""
        return run_each(self._session, ["feature_map"], batch, self.workers)[0]

    def features(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the features, float32 (N, 1280); see `predict_batch`."""
        return run_each(self._session, ["features"], batch, self.workers)[0]

    def _predict_file(self, path: str | Path) -> Prediction:
        try:
            image = images.load(path)
        except ImageError as error:
            return Prediction(
                path=str(path),
                classes=self.classes,
                label=None,
                probabilities=(),
                confidence=None,
                novelty=None,
                decision="refused",
                error=error.reason,
            )
        probabilities, novelty = run_one(self._session, _OUTPUTS, image[None])
        return self._prediction(str(path), probabilities[0], float(novelty[0]))

    def _prediction(
        self, path: str, probabilities: NDArray[np.float32], novelty: float
    ) -> Prediction:
        best = int(probabilities.argmax())
        confidence = float(probabilities[best])
        decision, reason = decide(confidence, novelty, self.trust)
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
