"""Images: the one decoder, the one resize, and finding and writing files.

.. code-block:: text

    bytes -> read -> RGB uint8 (H, W, 3) -> fit -> uint8 (224, 224, 3)

    reading.py    read, read_bytes, load: limits, then `formats`, then `decoding`
    formats/      what each container says, and whether it is whole
    decoding.py   Pillow decodes; depth, alpha and orientation by our rules
    geometry.py   fit, view
    budget.py     PixelBudget: how many pixels threads decode at once
    colours.py    mean_colours
    finding.py    is_image_name, find_images, list_images
    path_list.py  PathList: paths in little memory
    writing.py    write, encode_png
"""

from __future__ import annotations

from hematovision.images.budget import PixelBudget
from hematovision.images.colours import mean_colours
from hematovision.images.finding import find_images, is_image_name, list_images
from hematovision.images.formats import MAX_ASPECT, MAX_SIDE, unsupported_format
from hematovision.images.geometry import SIZE, fit, view
from hematovision.images.path_list import PathList
from hematovision.images.reading import load, read, read_bytes
from hematovision.images.writing import encode_png, write
from hematovision.limits import MAX_BYTES, MAX_PIXELS

__all__ = [
    "MAX_ASPECT",
    "MAX_BYTES",
    "MAX_PIXELS",
    "MAX_SIDE",
    "SIZE",
    "PathList",
    "PixelBudget",
    "encode_png",
    "find_images",
    "fit",
    "is_image_name",
    "list_images",
    "load",
    "mean_colours",
    "read",
    "read_bytes",
    "unsupported_format",
    "view",
    "write",
]
