"""Datasets: reading, importing, converting, splitting and checking.

Names are imported on first use: field analysis needs few of these modules.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hematovision.data.cells import Cell, read_cells, write_cells
    from hematovision.data.converting import ConvertReport, convert_dataset
    from hematovision.data.folders import read_dataset
    from hematovision.data.groups import read_groups, with_groups
    from hematovision.data.importing import ImportReport, import_dataset
    from hematovision.data.samples import SPLITS, Dataset, Sample, Split
    from hematovision.data.splits import complete_splits, split_dataset, write_splits
    from hematovision.images.boxes import Box
    from hematovision.images.crops import CONTEXT, crop

__all__ = [
    "CONTEXT", "SPLITS", "Box", "Cell", "ConvertReport", "Dataset", "ImportReport", "Sample",
    "Split", "complete_splits", "convert_dataset", "crop", "import_dataset", "read_cells",
    "read_dataset", "read_groups", "split_dataset", "with_groups", "write_cells", "write_splits",
]  # fmt: skip

_MODULES = {
    "hematovision.data.cells": ("Cell", "read_cells", "write_cells"),
    "hematovision.data.converting": ("ConvertReport", "convert_dataset"),
    "hematovision.data.folders": ("read_dataset",),
    "hematovision.data.groups": ("read_groups", "with_groups"),
    "hematovision.data.importing": ("ImportReport", "import_dataset"),
    "hematovision.data.samples": ("SPLITS", "Dataset", "Sample", "Split"),
    "hematovision.data.splits": ("complete_splits", "split_dataset", "write_splits"),
    "hematovision.images.boxes": ("Box",),
    "hematovision.images.crops": ("CONTEXT", "crop"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
