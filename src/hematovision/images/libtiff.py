"""Pillow's libtiff: the compressions it supports, and silencing its messages."""

from __future__ import annotations

import ctypes
import importlib
from functools import cache

__all__ = ["can_decode"]


def can_decode(compression: int) -> bool:
    """Tell whether libtiff was built with a compression; where nobody can ask it, say yes.

    Parameters
    ----------
    compression : int
        The value of the field Compression (259), as in TIFF 6.0 and its supplements.
    """
    library = _library()
    return library is None or bool(library.TIFFIsCODECConfigured(compression))


@cache
def _library() -> ctypes.CDLL | None:
    """Find libtiff, and have it print nothing; None where it is built into Pillow (Windows).

    It would print what is wrong with a damaged image to standard error, without the image's name.
    The failure itself reaches us as an exception, and nothing but Pillow uses this library.
    """
    try:
        library = ctypes.CDLL(importlib.import_module("PIL._imaging").__file__)
        for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            handler = getattr(library, name)
            handler.argtypes, handler.restype = [ctypes.c_void_p], ctypes.c_void_p
            handler(None)
        library.TIFFIsCODECConfigured.argtypes = [ctypes.c_uint16]
        library.TIFFIsCODECConfigured.restype = ctypes.c_int
    except (AttributeError, OSError):
        return None
    return library
