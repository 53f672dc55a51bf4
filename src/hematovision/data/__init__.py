"""Datasets: reading, importing, converting, splitting and checking."""

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
