"""Models and backbones by name. Keep imports light: the CLI loads this module first."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from hematovision.errors import ModelNotFoundError

__all__ = [
    "BACKBONES", "DEFAULT_BACKBONE", "DEFAULT_DETECTOR", "DEFAULT_MODEL", "DEFAULT_SUBTYPES",
    "MANIFEST", "KerasApplication", "bundled_detectors", "bundled_models", "find_model",
]  # fmt: skip

DEFAULT_MODEL = "rbc-wbc-platelets"
"""The default classifier of every entry point."""

DEFAULT_DETECTOR = "blood-fields"
"""The default detector of every entry point."""

DEFAULT_SUBTYPES = "white-cells"
"""The default classifier of the white cells that a detector finds."""

MANIFEST = "bundle.json"
"""The file that marks a folder as a model."""


@dataclass(frozen=True)
class KerasApplication:
    """How to build a backbone for inputs in [-1, 1] with Keras."""

    name: str  # of the function in ``keras.applications``
    imagenet: str  # file of ImageNet weights that Keras downloads
    options: Mapping[str, object] = field(default_factory=dict)  # further arguments of the function


_NO_SCALING = MappingProxyType({"include_preprocessing": False})

BACKBONES: Mapping[str, KerasApplication] = MappingProxyType(
    {
        "mobilenetv2": KerasApplication(
            "MobileNetV2", "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
        ),
        "mobilenetv3-small": KerasApplication(
            "MobileNetV3Small", "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5", _NO_SCALING
        ),
    }
)
"""The backbones of ``hematovision train --backbone``; add an entry to support another."""

DEFAULT_BACKBONE = "mobilenetv2"


def _home() -> Path:
    return Path(__file__).resolve().parent.parent / "models"


def bundled_models() -> tuple[str, ...]:
    """Return the names of the classifiers that the package ships, sorted."""
    return _bundled("classification")


def bundled_detectors() -> tuple[str, ...]:
    """Return the names of the detectors that the package ships, sorted."""
    return _bundled("detection")


def _bundled(task: str) -> tuple[str, ...]:
    paths = sorted(_home().glob(f"*/{MANIFEST}"))
    return tuple(path.parent.name for path in paths if _task(path) == task)


def _task(path: Path) -> str:
    """Return the task of a packaged model; an unreadable one fails when it is opened."""
    try:
        return str(json.loads(path.read_bytes()).get("task", "classification"))
    except (OSError, ValueError, AttributeError):
        return "classification"


def find_model(name_or_path: str | Path) -> Path:
    """Return the folder of a model.

    A string that names a bundled model takes precedence over a folder of that name; pass
    ``./name`` or a `Path` for the folder. Raises `ModelNotFoundError` if there is no such model.
    """
    bundled = (*bundled_models(), *bundled_detectors())
    if isinstance(name_or_path, str) and name_or_path in bundled:
        return _home() / name_or_path
    folder = Path(name_or_path)
    if folder.name == MANIFEST:
        folder = folder.parent
    # Unlike Path's methods, these return False for invalid paths, such as one of 5,000 letters.
    if os.path.isfile(folder / MANIFEST):  # noqa: PTH113
        return folder
    names = ", ".join(bundled) or "none in this installation"
    if os.path.isdir(folder):  # noqa: PTH112
        found = (
            f"The folder {folder} has no {MANIFEST}: training did not finish, or this is not a run "
            "folder"
        )
    else:
        found = f"There is no model {str(name_or_path)!r}: no bundled name and no folder"
    raise ModelNotFoundError(
        f"{found}. Bundled models: {names}. Or train one: "
        "hematovision train DATASET --out RUN, then use RUN."
    )
