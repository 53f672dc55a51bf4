"""Limits on image size, in a module without imports for a fast CLI."""

from __future__ import annotations

__all__ = ["MAX_BYTES", "MAX_PIXELS", "UPLOAD_PIXELS"]

MAX_PIXELS = 2**26
"""8192 x 8192, more than the sensor of any microscope camera; 200 MB once decoded."""

MAX_BYTES = 2**28
"""256 MiB, more than any compressed image of `MAX_PIXELS` and most uncompressed ones."""

UPLOAD_PIXELS = 25_000_000
"""Default limit of the app and server: a 24-megapixel camera, 75 MB once decoded.

`MAX_PIXELS` is higher because users of the library choose the files themselves.
"""
