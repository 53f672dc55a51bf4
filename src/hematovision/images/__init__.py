"""Images: reading, resizing, boxes and crops, finding and writing files.

.. code-block:: text

    bytes -> read -> RGB uint8 (H, W, 3) -> fit -> uint8 (224, 224, 3)

`reading` checks limits, `formats` checks the container, and `decoding` decodes the pixels.
`slides` reads images that are too large for this by region.
"""

from __future__ import annotations

from hematovision.images.finding import as_paths, find_images, is_image_name, iter_images
from hematovision.images.formats import MAX_ASPECT, MAX_SIDE, unsupported_format
from hematovision.images.geometry import SIZE, fit, mean_colours, view
from hematovision.images.reading import (
    PixelBudget,
    check_size,
    from_pillow,
    load,
    opened,
    read,
    read_bytes,
)
from hematovision.images.resolution import um_per_px
from hematovision.images.writing import encode_jpeg, encode_png, write
from hematovision.limits import MAX_BYTES, MAX_PIXELS

__all__ = [
    "MAX_ASPECT", "MAX_BYTES", "MAX_PIXELS", "MAX_SIDE", "SIZE", "PixelBudget", "as_paths",
    "check_size", "encode_jpeg", "encode_png", "find_images", "fit", "from_pillow",
    "is_image_name", "iter_images", "load", "mean_colours", "opened", "read", "read_bytes",
    "um_per_px", "unsupported_format", "view", "write",
]  # fmt: skip
