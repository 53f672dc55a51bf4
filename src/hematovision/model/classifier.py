"""Classifiers: trained models that predict the class of single-cell images."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.errors import BundleError, ImageError
from hematovision.images.geometry import check_rgb
from hematovision.model.bundle import ONNX, Bundle, check_task, read_bundle
from hematovision.model.explain import both_ways, placed
from hematovision.model.explanation import Explanation
from hematovision.model.framing import Framed, Framer
from hematovision.model.inference import ImageResult, Item, ahead, infer
from hematovision.model.inputs import ImageInputs, items
from hematovision.model.prediction import Prediction, RawPredictions, prediction_schema
from hematovision.model.predictions import Predictions
from hematovision.model.registry import DEFAULT_MODEL, find_model
from hematovision.model.self_test import SelfTest, self_test_cell
from hematovision.model.session import (
    check_outputs,
    open_session,
    read_ports,
    reading_threads,
    run_each,
    run_one,
    usable_cpus,
)
from hematovision.model.thresholds import Thresholds, decide
from hematovision.regions import Region
from hematovision.rows import Schema
from hematovision.taxonomy import Taxonomy

__all__ = ["Classifier"]

_LOG = logging.getLogger(__name__)

_SCORES = ("novelty", "field")  # optional outputs, one number per image
_ATTENTION = "attention"  # models written before 0.2 lack this output


class Classifier:
    """A trained model: a `Predictor` that returns one `Prediction` per image.

    Parameters
    ----------
    bundle : Bundle
        From `read_bundle`.
    framer : Framer, optional
        Frames whole images, for bundles with a framing (`Manifest.framing`);
        `hematovision.load` opens one. Without it, such a classifier takes framed images only
        (`predict_batch`).
    workers : int, optional
        How many images are read and run at once. The default is the number of usable CPUs, plus
        one when reading files.
    max_pixels : int
        Images with more pixels (width times height) are rejected before decoding.

    Attributes
    ----------
    explains : bool
        Whether the model can return explanation maps. Models written before 0.2 cannot.
    scores_novelty : bool
        Whether the model has a novelty score. Without it, `Prediction.novelty` is None,
        `RawPredictions.novelty` is 0, and there is no novelty threshold.
    scores_fields : bool
        Whether the model has a field score, so that it sends whole fields to review. Models
        written before 0.3 have none: `RawPredictions.field` is None, and there is no threshold.
    size : int
        Width and height of the model's input in pixels.
    framing : Framing or None
        How images are framed by the red cells in them; None if they are only resized.

    Raises
    ------
    BundleError
        If the model does not match its manifest, or is a detector.

    Examples
    --------
    >>> import hematovision
    >>> classifier = hematovision.load("rbc-wbc-platelets")
    >>> classifier
    Classifier('rbc-wbc-platelets': RBC, WBC, Platelets)
    >>> classifier.predict("cell.png")
    Predictions: 1 image: 1 WBC
      path      label  confidence  decision  reason
      cell.png  WBC         99.7%  accepted
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        framer: Framer | None = None,
        workers: int | None = None,
        max_pixels: int = images.MAX_PIXELS,
    ) -> None:
        check_task(bundle, "classification")
        self.bundle = bundle
        self.framing, self._framer = bundle.manifest.framing, framer
        self.max_pixels = max_pixels
        self._budget = images.PixelBudget()
        self.workers = max(1, workers or usable_cpus())
        self.threads = max(1, workers or reading_threads())
        name = str(bundle.folder / ONNX)
        self._session = open_session(bundle.read(ONNX), bundle.external_weights(), name=name)
        ports = read_ports(self._session, name=name)
        if ports.size != bundle.manifest.input_size:
            raise BundleError(
                f"{name}: the ONNX file expects images of {ports.size} pixels, bundle.json "
                f"{bundle.manifest.input_size}. They do not belong together."
            )
        check_outputs(ports, bundle.manifest.outputs, name=name)
        check_outputs(ports, {"probabilities": (len(self.classes),)}, name=name)
        self.size = ports.size
        self.explains = _ATTENTION in ports.outputs
        self._scores = tuple(name for name in _SCORES if name in ports.outputs)
        self.scores_novelty, self.scores_fields = (name in self._scores for name in _SCORES)
        self._outputs = ("probabilities", *self._scores)
        self._given = ports.outputs
        _LOG.info("Classifier %s: %s, SHA-256 %s.", bundle.name, name, bundle.manifest.files[ONNX])

    @classmethod
    def load(
        cls,
        name_or_path: str | Path = DEFAULT_MODEL,
        *,
        workers: int | None = None,
        max_pixels: int = images.MAX_PIXELS,
    ) -> Classifier:
        """Open a bundled model or a run folder, without a framer; see `find_model`.

        `hematovision.load` opens any classifier, also one with a framing.

        Raises
        ------
        ModelNotFoundError
            If there is no such model.
        BundleError
            If it is incomplete, altered or of a newer schema.
        """
        bundle = read_bundle(find_model(name_or_path))
        return cls(bundle, workers=workers, max_pixels=max_pixels)

    def __repr__(self) -> str:
        return f"Classifier({self.bundle.name!r}: {', '.join(self.classes)})"

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, in the order of the probabilities."""
        return self.taxonomy.classes

    @property
    def taxonomy(self) -> Taxonomy:
        """The classes, with the taxonomy's name and the aliases."""
        return self.bundle.taxonomy

    @property
    def thresholds(self) -> Thresholds:
        """The thresholds for decisions; those of missing scores are infinite."""
        known = self.bundle.thresholds
        if not self.scores_novelty:
            known = replace(known, max_novelty=math.inf)
        return known if self.scores_fields else replace(known, max_field=math.inf)

    @property
    def schema(self) -> Schema:
        """The columns of its predictions."""
        return prediction_schema(self.classes)

    @property
    def identity(self) -> Mapping[str, str | float]:
        """Hashes of the graph and its weights, and the thresholds."""
        manifest, thresholds = self.bundle.manifest, self.thresholds
        identity: dict[str, str | float] = {
            "model": manifest.files[ONNX],
            "backbone": manifest.backbone.sha256,
            "min_confidence": thresholds.min_confidence,
            "max_novelty": thresholds.max_novelty,
        }
        # Tables of models without a field score can be resumed with this version.
        identity |= {"max_field": thresholds.max_field} if self.scores_fields else {}
        identity |= {"framing": self.framing.identity} if self.framing else {}
        return identity | dict(self._framer.identity if self._framer else {})

    def predict(self, images: ImageInputs) -> Predictions:
        """Classify images.

        Parameters
        ----------
        images : path, bytes, ndarray of uint8, Pillow image, or iterable of these
            Files; folders, searched at any depth; globs such as ``"cells/*.png"``; the bytes of
            files; RGB arrays (H, W, 3), or (N, H, W, 3) for N images; Pillow images. Unreadable
            files get the decision ``"refused"``; the rest are processed normally.

        Returns
        -------
        Predictions
            One per image, in order. ``path`` is the path; ``image 0``, ``image 1``, ... by position
            without one. Images passed in memory are kept for `Predictions.plot`; if they don't
            fit into memory, use `stream`.

        Raises
        ------
        TypeError
            If an input is none of these; the message states what to pass.
        DatasetError
            If a folder has no images, or no file matches a glob.
        ModelError
            If the model itself fails.

        Examples
        --------
        >>> import hematovision
        >>> classifier = hematovision.load()
        >>> classifier.predict("cell.png")[0].label
        'WBC'
        >>> classifier.predict(["cell.png", "cells/Test/RBC"]).labels
        ('WBC', 'RBC', 'RBC')
        """
        return Predictions(self.stream(images), self.classes)

    def stream(self, images: ImageInputs) -> Generator[Prediction, None, None]:
        """Classify images one by one, with only a few in memory; see `predict`.

        `images` are consumed lazily and may be endless.

        Examples
        --------
        >>> import hematovision
        >>> for prediction in hematovision.load().stream("cells/Test/RBC"):
        ...     print(prediction.path, prediction.label)
        cells/Test/RBC/cell0.png RBC
        cells/Test/RBC/cell1.png RBC
        """
        return self._stream(items(images, max_pixels=self.max_pixels))

    def _stream(self, given: Iterable[Item]) -> Generator[Prediction, None, None]:
        with closing(infer(self, given)) as results:
            for result in results:
                yield _with_source(result)

    def predict_proba(self, images: ImageInputs) -> NDArray[np.float64]:
        """Return the calibrated probabilities of N images, float64 (N, C); see `predict`.

        Columns are in the order of `classes`.

        Raises
        ------
        ImageError
            Of the first image that cannot be read.

        Examples
        --------
        >>> import hematovision
        >>> hematovision.load().predict_proba(["cell.png", "cell.png"]).round(2)
        array([[0., 1., 0.],
               [0., 1., 0.]])
        """
        rows = []
        with closing(infer(self, items(images, max_pixels=self.max_pixels))) as results:
            for result in results:
                if result.error is not None:
                    raise result.error
                rows.append(result.prediction.probabilities)
        return np.array(rows, np.float64).reshape(len(rows), len(self.classes))

    def embed(self, images: ImageInputs) -> NDArray[np.float32]:
        """Return the features of N images, float32 (N, 1280): the backbone's output.

        For nearest neighbours, clusters, or another head.

        Parameters
        ----------
        images : path, bytes, ndarray of uint8, Pillow image, or iterable of these
            See `predict`.

        Raises
        ------
        BundleError
            If the model has no output ``features``.
        ImageError
            Of the first image that cannot be read.

        Examples
        --------
        >>> import hematovision
        >>> hematovision.load().embed("cells/Test").shape
        (6, 1280)
        """
        self._check_output("features")
        given = items(images, max_pixels=self.max_pixels)
        with closing(ahead(self._embed_one, given, self.threads)) as found:
            rows = list(found)
        return np.array(rows, np.float32).reshape(len(rows), *self._given["features"])

    def _embed_one(self, item: Item) -> NDArray[np.float32]:
        name, source = item
        if isinstance(source, ImageError):
            raise source
        assert not isinstance(source, Region)  # inputs have none
        pixels = self.prepare(source, name)
        (features,) = run_one(self._session, ["features"], pixels[None])
        return np.asarray(features[0], np.float32)

    def explain(self, images: ImageInputs) -> Generator[Explanation, None, None]:
        """Classify images as `stream` does, with maps of the evidence for the predicted class.

        Parameters
        ----------
        images : path, bytes, ndarray of uint8, Pillow image, or iterable of these
            See `predict`.

        Raises
        ------
        BundleError
            Immediately, if the model has none: see `explains`.

        Examples
        --------
        >>> import hematovision
        >>> for explanation in hematovision.load().explain("cell.png"):
        ...     explanation.plot().savefig("evidence.png")
        """
        self.check_explains()
        return self._explain(items(images, max_pixels=self.max_pixels))

    def _explain(self, given: Iterable[Item]) -> Generator[Explanation, None, None]:
        with closing(infer(self, given, explain=True)) as results:
            for result in results:
                yield Explanation(_with_source(result), result.attention)

    def check_explains(self) -> None:
        """Raise a `BundleError` unless the model can return explanation maps."""
        if not self.explains:
            raise BundleError(
                f"{self.bundle.folder}: this model has no explanation maps (output "
                f"{_ATTENTION!r}). Models from version 0.1 or other programs may lack them. It "
                "can still classify. For explanations, train it again (`hematovision train`)."
            )

    def read(self, source: str | Path | bytes | NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
        """Read an image or accept an RGB array of any size, and resize it to the model's input.

        With a framing the image stays as it is: `predict_rows` frames it.

        Raises
        ------
        ImageError
            If it cannot be read.
        ValueError
            If an array is not uint8 (H, W, 3).
        """
        if self.framing is not None:
            return self._read_whole(source, name)
        if isinstance(source, np.ndarray):
            return images.fit(source, self.size)
        return images.load(
            source, name=name, max_pixels=self.max_pixels, budget=self._budget, size=self.size
        )

    def prepare(
        self, source: str | Path | bytes | NDArray[np.uint8], name: str
    ) -> NDArray[np.uint8]:
        """Return the model's input for an image, (size, size, 3): resized or framed.

        Raises
        ------
        ImageError
            If it cannot be read.
        """
        return self._framed(self.read(source, name), name).pixels

    @property
    def input_identity(self) -> str:
        """What `prepare` depends on, as text; empty if images are only resized."""
        if self.framing is None:
            return ""
        framer = dict(self._framer.identity) if self._framer else {}
        return f"{self.framing.identity} {framer}"

    def _read_whole(
        self, source: str | Path | bytes | NDArray[np.uint8], name: str
    ) -> NDArray[np.uint8]:
        if isinstance(source, np.ndarray):
            check_rgb(source)
            return source
        with images.opened(
            source, name=name, max_pixels=self.max_pixels, budget=self._budget
        ) as pixels:
            return pixels

    def _framed(self, pixels: NDArray[np.uint8], name: str) -> Framed:
        """Return the model's input for an image from `read`."""
        height, width = pixels.shape[:2]
        if self.framing is None:
            return Framed(pixels, (0, 0, width, height))
        if self._framer is None:
            raise BundleError(
                f"{self.bundle.folder}: this model crops images in units of red cells, and was "
                "opened without the detector that measures them. Open it with `hematovision.load`."
            )
        with self._budget.taken(height * width):
            return self._framer.frame(pixels, self.framing, self.size, name)

    def predict_rows(
        self, pixels: NDArray[np.uint8], name: str, *, explain: bool = False
    ) -> tuple[tuple[Prediction], NDArray[np.float32] | None]:
        """Classify one image from `read`, on the caller's thread; see `Predictor`."""
        if explain:
            self.check_explains()
        framed = self._framed(pixels, name)
        row, attention = self._predict_framed(framed, name, explain=explain)
        if attention is None or self.framing is None:
            return (row,), attention
        return (row,), placed(attention, framed.box, pixels.shape[:2])

    def _predict_framed(
        self, framed: Framed, name: str, *, explain: bool
    ) -> tuple[Prediction, NDArray[np.float32] | None]:
        pixels = framed.pixels
        if explain:
            one, *scores, seen = run_one(self._session, (*self._outputs, _ATTENTION), pixels[None])
            turned = np.ascontiguousarray(pixels[None, ::-1, ::-1])
            other, back = run_one(self._session, ("probabilities", _ATTENTION), turned)
            attention = _seen_both_ways(one[0], seen[0], other[0], back[0])
        else:
            one, *scores = run_one(self._session, self._outputs, pixels[None])
            attention = None
        numbers = (float(score[0]) for score in scores)
        found = dict(zip(self._scores, numbers, strict=True))
        return self._prediction(name, one[0], found, framed), attention

    def unreadable(self, name: str, reason: str) -> Prediction:
        """Return the row of an image that could not be read."""
        return Prediction.refused(name, self.classes, reason)

    def predict_images(
        self, arrays: Iterable[NDArray[np.uint8]], names: Iterable[str] | None = None
    ) -> list[Prediction]:
        """Classify arrays; deprecated, use `predict`."""
        warnings.warn(
            "Classifier.predict_images() is deprecated and will be removed in 0.4; use "
            "Classifier.predict()",
            DeprecationWarning,
            stacklevel=2,
        )
        given = list(arrays)
        labels = [f"image {i}" for i in range(len(given))] if names is None else list(names)
        pairs = zip(labels, given, strict=True)
        return [result.prediction for result in infer(self, (Item(*pair) for pair in pairs))]

    def predict_batch(self, batch: NDArray[np.uint8]) -> RawPredictions:
        """Classify images of the model's input size, without decisions.

        An image's result does not depend on the rest of the batch.

        Parameters
        ----------
        batch : ndarray of uint8, shape (N, size, size, 3)
            RGB images from `images.fit`.

        Raises
        ------
        ModelError
            If the dtype or shape is wrong.
        """
        found = run_each(self._session, self._outputs, batch, self.workers)
        scores = dict(zip(self._scores, found[1:], strict=True))
        novelty = scores.get("novelty", np.zeros(len(batch), np.float32))
        return RawPredictions(found[0], novelty, scores.get("field"))

    def feature_maps(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the last feature maps, float32 (N, M, M, D); see `features`."""
        return self._output("feature_map", batch)

    def features(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the features, float32 (N, D); see `predict_batch`.

        Raises
        ------
        BundleError
            If the model lacks this output.
        """
        return self._output("features", batch)

    def _output(self, name: str, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        self._check_output(name)
        return run_each(self._session, [name], batch, self.workers)[0]

    def _check_output(self, name: str) -> None:
        if name not in self._given:
            raise BundleError(
                f"{self.bundle.folder}: the model has no output {name!r}. Its outputs: "
                f"{', '.join(self._given)}."
            )

    def attention(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the explanation maps of a batch, float32 (N, K, K); see `predict_batch`.

        Grad-CAM of each image's most probable class (`explain.grad_cam`), averaged over the image
        and the image rotated by 180 degrees (`explain.both_ways`).

        Raises
        ------
        BundleError
            If the model has none: see `explains`.
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

    def self_test(self) -> SelfTest:
        """Return the prediction for `self_test_cell`, which is never framed."""
        raw = self.predict_batch(images.fit(self_test_cell(), self.size)[None])
        novelty = float(raw.novelty[0]) if self.scores_novelty else None
        return SelfTest(tuple(map(float, raw.probabilities[0])), novelty)

    def _prediction(
        self,
        path: str,
        probabilities: NDArray[np.float32],
        scores: Mapping[str, float],
        framed: Framed,
    ) -> Prediction:
        best = int(probabilities.argmax())
        confidence = float(probabilities[best])
        novelty = scores.get("novelty")
        decision, reason = decide(
            confidence, novelty, self.thresholds, scores.get("field"), several=framed.several
        )
        return Prediction(
            path=path,
            classes=self.classes,
            label=self.classes[best],
            probabilities=tuple(map(float, probabilities)),
            confidence=confidence,
            novelty=novelty,
            decision=decision,
            reason="; ".join(filter(None, (reason, framed.note))),
            field_score=scores.get("field"),
        )


def _with_source(result: ImageResult[Prediction]) -> Prediction:
    """Return the prediction with its image, for `Prediction.plot`."""
    return replace(result.prediction, source=result.source)


def _seen_both_ways(
    one: NDArray[np.float32],
    seen: NDArray[np.float32],
    other: NDArray[np.float32],
    back: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Join the maps of an image and its half turn, if both have the same label."""
    return both_ways(seen, back if one.argmax() == other.argmax() else None)
