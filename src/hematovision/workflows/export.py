"""Export a model as one file for another program."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

from hematovision.errors import OutputError
from hematovision.extras import needs_extra, require
from hematovision.files import write_new, writing
from hematovision.model.bundle import ONNX, Bundle, read_bundle
from hematovision.model.registry import find_model
from hematovision.model.weights import bundled_weights

__all__ = ["FORMATS", "Format", "export"]

Format: TypeAlias = Literal["h5", "keras", "onnx", "litert"]
FORMATS: dict[Format, str] = {"h5": ".h5", "keras": ".keras", "onnx": ".onnx", "litert": ".tflite"}
"""Formats and their file extensions."""


def export(model: str | Path, to: Format, out: Path | None = None) -> Path:
    """Write a model as a single file.

    Raises `OutputError` if the file already exists or cannot be written. Raises
    `ModelNotFoundError` or `BundleError` if the model cannot be used. Raises `MissingExtraError` if
    the extra ``train`` is not installed.

    Parameters
    ----------
    model : str or Path
        A bundled model's name or a run folder.
    to : {"h5", "keras", "onnx", "litert"}
        ``h5`` and ``keras`` open in plain Keras; ``onnx`` contains all weights. All formats return
        calibrated probabilities.
    out : Path, optional
        The file; by default ``hematovision_model.<ending>`` in the current folder.
    """
    if to != "onnx":
        require("export")
    path = out or Path(f"hematovision_model{FORMATS[to]}")
    with writing(path):
        is_there = path.exists()
    if is_there:
        raise OutputError(
            f"{path} already exists and was not changed. Choose another file with --out."
        )
    return write_new(path, _content(read_bundle(find_model(model)), to))


def _content(bundle: Bundle, to: Format) -> bytes:
    shared = bundle.manifest.backbone.shared
    if to == "onnx" and not shared:
        return bundle.read(ONNX)
    require("export onnx")
    with needs_extra("train", f"Exporting to {to}"):
        from hematovision.model.graph import classifier_graph, read_classifier_graph
    external = bundled_weights() if bundle.external_weights() else None
    parts = read_classifier_graph(bundle.read(ONNX), external)
    balance = parts.white_balance
    if to == "onnx":
        return classifier_graph(
            parts.weights,
            parts.head,
            parts.novelty,
            white_balance=balance,
            field_score=parts.field_score,
        )
    with needs_extra("train", f"Exporting to {to}"):
        from hematovision.training.keras_files import keras_bytes
    return keras_bytes(parts.weights, parts.head, to, white_balance=balance)[to]
