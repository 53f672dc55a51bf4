"""The optional modules that each command needs, checked before it starts.

Nothing is imported here: a missing module is found in milliseconds, not after a training.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from hematovision.errors import MissingExtraError

__all__ = ["NEEDS", "Need", "require"]


@dataclass(frozen=True)
class Need:
    """What one kind of work needs besides the core dependencies.

    Parameters
    ----------
    extra : str
        The extra of this package that brings the modules.
    purpose : str
        The work, as the beginning of a sentence.
    modules : tuple of str
        Top-level modules, by the names under which they are imported.
    """

    extra: str
    purpose: str
    modules: tuple[str, ...]


_REPORT = ("jinja2", "matplotlib")
_KERAS = ("keras", "h5py")

NEEDS: Mapping[str, Need] = MappingProxyType(
    {
        "demo": Need("train", "The demo", (*_REPORT, *_KERAS, "onnx")),
        "train": Need("train", "Training", (*_REPORT, *_KERAS, "onnx")),
        "adapt": Need("train", "Adapting a model", (*_REPORT, *_KERAS, "onnx")),
        "evaluate": Need("train", "Evaluating a model", _REPORT),
        "compare": Need("train", "The report of a comparison", _REPORT),
        "export": Need("train", "Exporting a model", (*_KERAS, "onnx")),
        "export onnx": Need("train", "Exporting a bundled model", ("onnx",)),
        "features": Need("train", "Computing features", ("onnx", "h5py")),
        "data check": Need("data", "Checking a dataset", ("imagehash",)),
        "data.yaml": Need("data", "Reading data.yaml", ("yaml",)),
        "data download": Need("data", "Downloading a public set", ("pooch",)),
        "parquet": Need("data", "Writing Parquet", ("pyarrow",)),
        "ray": Need("scale", "The engine 'ray'", ("ray", "fsspec", "pyarrow")),
        "app": Need("app", "The web app", ("streamlit", "sqlalchemy", "alembic")),
        "serve": Need(
            "serve",
            "The HTTP server",
            ("fastapi", "httptools", "prometheus_client", "python_multipart", "uvicorn"),
        ),
    }
)
"""The modules that each kind of work needs, by the name of its command."""


def require(work: str) -> None:
    """Refuse `work` at once if a module that it needs is not installed.

    Every job calls this first: before it reads an image, and before it makes a folder.

    Parameters
    ----------
    work : str
        A key of `NEEDS`.

    Raises
    ------
    MissingExtraError
        If a module cannot be found; it names the first one.

    Examples
    --------
    >>> require("data check")
    """
    need = NEEDS[work]
    modules = need.modules
    if "keras" in modules:
        modules = (*modules, _keras_backend())
    for module in modules:
        if not _is_there(module):
            raise MissingExtraError(need.extra, module, need.purpose)


def _is_there(module: str) -> bool:
    if module in sys.modules:
        return sys.modules[module] is not None
    return find_spec(module) is not None


def _keras_backend() -> str:
    """Return the module of the backend that Keras will choose, by Keras' own rules."""
    chosen = os.environ.get("KERAS_BACKEND")
    if not chosen:
        home = os.environ.get("KERAS_HOME")
        settings = (Path(home) if home else Path.home() / ".keras") / "keras.json"
        try:
            chosen = json.loads(settings.read_text("utf-8")).get("backend")
        except (OSError, ValueError, AttributeError):
            chosen = None
    return chosen if isinstance(chosen, str) and chosen else "tensorflow"
