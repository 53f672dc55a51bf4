"""Importing Keras: only when it is needed, and without the garbage collector in the way.

TensorFlow takes seconds to import, which whoever misspelt a path need not wait for. It is not
imported on a thread while features are computed: the import holds the interpreter's lock nearly all
the time, so that features came at a seventh of their rate (2 cores: 2,000 images and the import
took 10.8 s one after the other, 11.3 s side by side).
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import sys
from typing import Any

from hematovision.extras import missing_extra, needs_extra

__all__ = ["import_keras", "require_keras"]


def require_keras() -> None:
    """Make sure at once, without importing it, that Keras is installed.

    Raises `MissingExtraError` if it is not.
    """
    if importlib.util.find_spec("keras") is None:
        raise missing_extra("train", "keras", "Training")


def import_keras() -> Any:
    """Import Keras, and with it TensorFlow, and return it.

    Some 4,000 modules are made here to last. The garbage collector would look through them again
    and again, and once more when the process ends: left out, the import takes 3.6 s instead of
    4.4 s, and the end 0.2 s instead of 1.1 s.

    Raises `MissingExtraError` if Keras or its backend is not installed.
    """
    if (keras := sys.modules.get("keras")) is not None:
        return keras
    collecting = gc.isenabled()
    gc.disable()
    try:
        with needs_extra("train", "Training"):
            keras = importlib.import_module("keras")
        gc.freeze()
        return keras
    finally:
        if collecting:
            gc.enable()
