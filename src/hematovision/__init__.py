"""HematoVision finds, classifies and counts blood cells in microscope images.

>>> import hematovision
>>> hematovision.load().predict("cell.png")
Predictions: 1 image: 1 WBC
  path      label  confidence  decision  reason
  cell.png  WBC         99.7%  accepted

The names in `hematovision.__all__` are public: they are documented, and change only as semantic
versioning allows. Every other module and name is private, and may change in any version.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # The aliases mark the names as exported, for type checkers.
    from hematovision.client import Client as Client
    from hematovision.client import ServedModel as ServedModel
    from hematovision.data.download import Downloaded as Downloaded
    from hematovision.data.download import download as download
    from hematovision.data.folders import read_dataset as read_dataset
    from hematovision.data.importing import ImportReport as ImportReport
    from hematovision.data.importing import import_dataset as import_dataset
    from hematovision.data.samples import Dataset as Dataset
    from hematovision.data.samples import Sample as Sample
    from hematovision.errors import AnnotationError as AnnotationError
    from hematovision.errors import BundleError as BundleError
    from hematovision.errors import ClusterError as ClusterError
    from hematovision.errors import ConfigurationError as ConfigurationError
    from hematovision.errors import DatabaseError as DatabaseError
    from hematovision.errors import DatasetError as DatasetError
    from hematovision.errors import DownloadError as DownloadError
    from hematovision.errors import EmptyImageError as EmptyImageError
    from hematovision.errors import HematoVisionError as HematoVisionError
    from hematovision.errors import ImageError as ImageError
    from hematovision.errors import ListeningError as ListeningError
    from hematovision.errors import MissingExtraError as MissingExtraError
    from hematovision.errors import ModelError as ModelError
    from hematovision.errors import ModelNotFoundError as ModelNotFoundError
    from hematovision.errors import NotAnImageError as NotAnImageError
    from hematovision.errors import OutputError as OutputError
    from hematovision.errors import PluginError as PluginError
    from hematovision.errors import RequestError as RequestError
    from hematovision.errors import ReviewConflictError as ReviewConflictError
    from hematovision.errors import ReviewError as ReviewError
    from hematovision.errors import SplitError as SplitError
    from hematovision.errors import TaxonomyError as TaxonomyError
    from hematovision.errors import TooManyBytesError as TooManyBytesError
    from hematovision.errors import TooManyPixelsError as TooManyPixelsError
    from hematovision.errors import TrainingError as TrainingError
    from hematovision.errors import TruncatedImageError as TruncatedImageError
    from hematovision.errors import UnreadableFileError as UnreadableFileError
    from hematovision.errors import WeightsError as WeightsError
    from hematovision.evaluation.comparison import Comparison as Comparison
    from hematovision.evaluation.detection.metrics import DetectionMetrics as DetectionMetrics
    from hematovision.evaluation.metrics import Metrics as Metrics
    from hematovision.extend import register_backbone as register_backbone
    from hematovision.extend import register_exporter as register_exporter
    from hematovision.extend import register_format as register_format
    from hematovision.extend import register_metric as register_metric
    from hematovision.fields.analysis import FieldAnalyses as FieldAnalyses
    from hematovision.fields.analysis import FieldAnalysis as FieldAnalysis
    from hematovision.fields.analyzer import FieldAnalyzer as FieldAnalyzer
    from hematovision.fields.counts import Counts as Counts
    from hematovision.fields.counts import Differential as Differential
    from hematovision.fields.opening import load as load
    from hematovision.fields.rows import CellRow as CellRow
    from hematovision.fields.rows import FieldRow as FieldRow
    from hematovision.model.classifier import Classifier as Classifier
    from hematovision.model.explanation import Explanation as Explanation
    from hematovision.model.prediction import Prediction as Prediction
    from hematovision.model.predictions import Predictions as Predictions
    from hematovision.taxonomy import FIVE_KINDS as FIVE_KINDS
    from hematovision.taxonomy import PBC8 as PBC8
    from hematovision.taxonomy import RBC_WBC_PLATELETS as RBC_WBC_PLATELETS
    from hematovision.taxonomy import WHITE_CELLS as WHITE_CELLS
    from hematovision.taxonomy import Taxonomy as Taxonomy
    from hematovision.workflows.adapt import AdaptResult as AdaptResult
    from hematovision.workflows.adapt import adapt as adapt
    from hematovision.workflows.adapt.detector import AdaptDetectorResult as AdaptDetectorResult
    from hematovision.workflows.adapt.detector import FieldSource as FieldSource
    from hematovision.workflows.analyze import AnalyzeResult as AnalyzeResult
    from hematovision.workflows.analyze import analyze as analyze
    from hematovision.workflows.analyze.options import AnalyzeOptions as AnalyzeOptions
    from hematovision.workflows.classify import ClassifySummary as ClassifySummary
    from hematovision.workflows.classify import classify as classify
    from hematovision.workflows.compare import CompareResult as CompareResult
    from hematovision.workflows.compare import compare as compare
    from hematovision.workflows.detection import DetectionOptions as DetectionOptions
    from hematovision.workflows.detection import DetectionResult as DetectionResult
    from hematovision.workflows.evaluate import EvaluateResult as EvaluateResult
    from hematovision.workflows.evaluate import evaluate as evaluate
    from hematovision.workflows.train import TrainOptions as TrainOptions
    from hematovision.workflows.train import TrainResult as TrainResult
    from hematovision.workflows.train import train as train

__version__ = "0.3.0"

# A program that uses the package decides what happens to its log messages.
logging.getLogger(__name__).addHandler(logging.NullHandler())

# The public names by module. They are imported on first use, so that `hematovision --help` does not
# wait for NumPy and ONNX Runtime.
_PUBLIC = {
    "client": ("Client", "ServedModel"),
    "data.download": ("Downloaded", "download"),
    "data.folders": ("read_dataset",),
    "data.importing": ("ImportReport", "import_dataset"),
    "data.samples": ("Dataset", "Sample"),
    "errors": (
        "AnnotationError",
        "BundleError",
        "ClusterError",
        "ConfigurationError",
        "DatabaseError",
        "DatasetError",
        "DownloadError",
        "EmptyImageError",
        "HematoVisionError",
        "ImageError",
        "ListeningError",
        "MissingExtraError",
        "ModelError",
        "ModelNotFoundError",
        "NotAnImageError",
        "OutputError",
        "PluginError",
        "RequestError",
        "ReviewConflictError",
        "ReviewError",
        "SplitError",
        "TaxonomyError",
        "TooManyBytesError",
        "TooManyPixelsError",
        "TrainingError",
        "TruncatedImageError",
        "UnreadableFileError",
        "WeightsError",
    ),
    "evaluation.comparison": ("Comparison",),
    "evaluation.detection.metrics": ("DetectionMetrics",),
    "evaluation.metrics": ("Metrics",),
    "extend": ("register_backbone", "register_exporter", "register_format", "register_metric"),
    "fields.analysis": ("FieldAnalyses", "FieldAnalysis"),
    "fields.analyzer": ("FieldAnalyzer",),
    "fields.counts": ("Counts", "Differential"),
    "fields.opening": ("load",),
    "fields.rows": ("CellRow", "FieldRow"),
    "model.classifier": ("Classifier",),
    "model.explanation": ("Explanation",),
    "model.prediction": ("Prediction",),
    "model.predictions": ("Predictions",),
    "taxonomy": ("FIVE_KINDS", "PBC8", "RBC_WBC_PLATELETS", "WHITE_CELLS", "Taxonomy"),
    "workflows.adapt": ("AdaptResult", "adapt"),
    "workflows.adapt.detector": ("AdaptDetectorResult", "FieldSource"),
    "workflows.analyze": ("AnalyzeResult", "analyze"),
    "workflows.analyze.options": ("AnalyzeOptions",),
    "workflows.classify": ("ClassifySummary", "classify"),
    "workflows.compare": ("CompareResult", "compare"),
    "workflows.detection": ("DetectionOptions", "DetectionResult"),
    "workflows.evaluate": ("EvaluateResult", "evaluate"),
    "workflows.train": ("TrainOptions", "TrainResult", "train"),
}
_MODULES = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = ["__version__", *_MODULES]
__all__.sort()


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
