"""MobileNetV2 as a function from images to features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hematovision.files import sha256_bytes
from hematovision.model.session import open_session, run_each, usable_cpus
from hematovision.model.weights import BackboneWeights

__all__ = ["Backbone"]


class Backbone:
    """A frozen MobileNetV2, run by ONNX Runtime.

    Parameters
    ----------
    weights : BackboneWeights
        The weights.
    white_balance : bool
        Whether images are balanced first (`balance.white_balanced`), as all models do but those of
        the first version.
    workers : int, optional
        How many images are run at once; by default as many as there are usable processors.

    Raises
    ------
    MissingExtraError
        If the package ``onnx`` (extra ``train``), which writes the graph, is not installed.

    Attributes
    ----------
    sha256 : str
        Of the graph: of the weights and of all that is done with them.

    Notes
    -----
    The features of an image are the same bit by bit whatever shares its batch and however many
    workers there are, which is what a cache of features rests on.
    """

    def __init__(
        self, weights: BackboneWeights, *, white_balance: bool = True, workers: int | None = None
    ) -> None:
        from hematovision.model.graph import backbone_graph

        self._open(backbone_graph(weights, white_balance=white_balance), workers)

    @classmethod
    def from_graph(cls, graph: bytes, *, workers: int | None = None) -> Backbone:
        """Open a backbone whose graph was written elsewhere (`graph.backbone_graph`).

        Raises
        ------
        BundleError
            If ONNX Runtime does not accept it.
        """
        backbone = cls.__new__(cls)
        backbone._open(graph, workers)
        return backbone

    def _open(self, graph: bytes, workers: int | None) -> None:
        self.sha256 = sha256_bytes(graph)
        self.workers = workers or usable_cpus()
        self._session = open_session(graph, name="The backbone")

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the features, float32 (N, 1280), of `images`, uint8 RGB (N, 224, 224, 3).

        May be called from several threads at once.

        Raises
        ------
        ModelError
            If the images have another type or shape.
        """
        return run_each(self._session, ["features"], images, self.workers)[0]

    def feature_maps(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the last feature maps, float32 (N, M, M, 1280); see `features`."""
        return run_each(self._session, ["feature_map"], images, self.workers)[0]
