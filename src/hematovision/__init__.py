"""HematoVision recognises blood cells in microscope images.

>>> import hematovision
>>> classifier = hematovision.load("rbc-wbc-platelets")
>>> predictions = classifier.predict(["cell.jpg"])  # doctest: +SKIP
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hematovision.errors import HematoVisionError
    from hematovision.fields.analyzer import FieldAnalyzer
    from hematovision.fields.opening import load
    from hematovision.model.classifier import Classifier
    from hematovision.model.prediction import Prediction
    from hematovision.taxonomy import PBC8, RBC_WBC_PLATELETS, Taxonomy
    from hematovision.workflows.adapt import adapt
    from hematovision.workflows.analyze import AnalyzeOptions, AnalyzeResult, analyze
    from hematovision.workflows.compare import compare

__all__ = [
    "PBC8", "RBC_WBC_PLATELETS", "AnalyzeOptions", "AnalyzeResult", "Classifier", "FieldAnalyzer",
    "HematoVisionError", "Prediction", "Taxonomy", "__version__", "adapt", "analyze", "compare",
    "load",
]  # fmt: skip

__version__ = "0.3.0"

# A program that uses the package decides what happens to its log messages.
logging.getLogger(__name__).addHandler(logging.NullHandler())

# The module of each public name. They are imported on first use, so that `hematovision --help` does
# not wait for NumPy and ONNX Runtime.
_MODULES = {
    "PBC8": "hematovision.taxonomy",
    "RBC_WBC_PLATELETS": "hematovision.taxonomy",
    "AnalyzeOptions": "hematovision.workflows.analyze",
    "AnalyzeResult": "hematovision.workflows.analyze",
    "Classifier": "hematovision.model.classifier",
    "FieldAnalyzer": "hematovision.fields.analyzer",
    "HematoVisionError": "hematovision.errors",
    "Prediction": "hematovision.model.prediction",
    "Taxonomy": "hematovision.taxonomy",
    "adapt": "hematovision.workflows.adapt",
    "analyze": "hematovision.workflows.analyze",
    "compare": "hematovision.workflows.compare",
    "load": "hematovision.fields.opening",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
