"""Conversion of annotated fields between Pascal VOC, YOLO, CSV and COCO."""

from hematovision.data.converting.run import ConvertReport, convert_dataset

__all__ = ["ConvertReport", "convert_dataset"]
