"""Compute features of images with a frozen backbone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hematovision.files import sha256_bytes
from hematovision.model.session import open_session, run_each, usable_cpus
from hematovision.model.weights import Weights

__all__ = ["Backbone"]


class Backbone:
    """A frozen backbone, run by ONNX Runtime.

    Raises `MissingExtraError` if the package ``onnx`` (extra ``train``), which writes the graph, is
    not installed.

    Parameters
    ----------
    white_balance : bool
        Whether images are white-balanced first (`preprocessing.white_balanced`). False only for
        models of version 0.1.
    workers : int, optional
        How many images to run at once; by default the number of usable CPUs.

    Attributes
    ----------
    sha256 : str
        Hash of the graph, which covers the weights and all preprocessing.
    n_features : int
        Length D of a feature vector.

    Notes
    -----
    The features of an image are bit-identical in any batch and with any number of workers. The
    feature cache relies on this.
    """

    def __init__(
        self, weights: Weights, *, white_balance: bool = True, workers: int | None = None
    ) -> None:
        from hematovision.model.graph import backbone_graph

        self._open(backbone_graph(weights, white_balance=white_balance), workers)

    @classmethod
    def from_graph(cls, graph: bytes, *, workers: int | None = None) -> Backbone:
        """Open a graph from `graph.backbone_graph`.

        Raises `BundleError` if ONNX Runtime does not accept it.
        """
        backbone = cls.__new__(cls)
        backbone._open(graph, workers)
        return backbone

    def _open(self, graph: bytes, workers: int | None) -> None:
        self.sha256 = sha256_bytes(graph)
        self.workers = workers or usable_cpus()
        self._session = open_session(graph, name="The backbone")
        shapes = {port.name: port.shape for port in self._session.get_outputs()}
        self.n_features = int(shapes["features"][1] or 0)

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return features, float32 (N, D), of `images`, uint8 RGB (N, 224, 224, 3). Thread-safe.

        Raises `ModelError` if the images have another type or shape.
        """
        return run_each(self._session, ["features"], images, self.workers)[0]

    def feature_maps(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the last feature maps, float32 (N, M, M, D); see `features`."""
        return run_each(self._session, ["feature_map"], images, self.workers)[0]
