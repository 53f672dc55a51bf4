"""HematoVision: recognises blood cells in microscope images.

>>> from hematovision import Classifier
>>> predictions = Classifier.load("rbc-wbc-platelets").predict(["cell.jpg"])  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hematovision.errors import HematoVisionError
    from hematovision.model.classifier import Classifier
    from hematovision.model.prediction import Prediction
    from hematovision.taxonomy import PBC8, RBC_WBC_PLATELETS, Taxonomy
    from hematovision.workflows.adapt import adapt
    from hematovision.workflows.compare import compare

__all__ = [
    "PBC8",
    "RBC_WBC_PLATELETS",
    "Classifier",
    "HematoVisionError",
    "Prediction",
    "Taxonomy",
    "__version__",
    "adapt",
    "compare",
]

__version__ = "0.3.0"

# Where each public name lives. They are imported when they are first asked for, so that
# `hematovision --help` does not wait for NumPy and ONNX Runtime.
_HOMES = {
    "PBC8": "hematovision.taxonomy",
    "RBC_WBC_PLATELETS": "hematovision.taxonomy",
    "Classifier": "hematovision.model.classifier",
    "HematoVisionError": "hematovision.errors",
    "Prediction": "hematovision.model.prediction",
    "Taxonomy": "hematovision.taxonomy",
    "adapt": "hematovision.workflows.adapt",
    "compare": "hematovision.workflows.compare",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
