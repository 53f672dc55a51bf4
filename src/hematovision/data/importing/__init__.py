"""Import of annotated fields (Pascal VOC, YOLO, CSV, COCO) and of class folders into one layout."""

from hematovision.data.importing.reading import FORMATS, Format
from hematovision.data.importing.report import ImportReport, LeftOut
from hematovision.data.importing.run import import_dataset

__all__ = ["FORMATS", "Format", "ImportReport", "LeftOut", "import_dataset"]
