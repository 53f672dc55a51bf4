"""Models and backbones by name. Keep imports light: the CLI loads this module first."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hematovision.errors import ModelNotFoundError
from hematovision.plugins import Registry

__all__ = [
    "BACKBONES", "DEFAULT_BACKBONE", "DEFAULT_DETECTOR", "DEFAULT_MODEL", "DEFAULT_SUBTYPES",
    "MANIFEST", "KerasBackbone", "backbone_title", "bundled_detectors", "bundled_models",
    "find_model",
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
class KerasBackbone:
    """How to build a backbone with Keras.

    Parameters
    ----------
    build : callable
        Takes one of `weights`, or None for random ones. Returns a functional ``keras.Model`` with
        one input, images (224, 224, 3) scaled to [-1, 1], and one output, the feature map
        (7, 7, D). `training.keras_model.network_of` lists the layers that it may have.
    weights : tuple of str
        The names of ``--weights`` that `build` accepts.
    download : str
        The file that Keras downloads for ``"imagenet"``, for the message without a network.
    """

    build: Callable[[str | None], Any]
    weights: tuple[str, ...] = ("imagenet",)
    download: str = ""


def _accepted(thing: object) -> KerasBackbone:
    backbone = KerasBackbone(thing) if callable(thing) else thing
    if (
        isinstance(backbone, KerasBackbone)
        and callable(backbone.build)
        and isinstance(backbone.weights, tuple)
        and all(isinstance(name, str) for name in backbone.weights)
    ):
        return backbone
    raise TypeError(
        "it must be a function that takes the name of the weights and returns a keras.Model, or a "
        f"KerasBackbone with one, and with a tuple of names. Received: {thing!r}"
    )


BACKBONES: Registry[KerasBackbone] = Registry(
    "backbone",
    "hematovision.backbones",
    {
        "mobilenetv2": "hematovision.training.applications:MOBILENET_V2",
        "mobilenetv3-small": "hematovision.training.applications:MOBILENET_V3_SMALL",
    },
    _accepted,
)
"""The backbones of ``hematovision train --backbone``: a `KerasBackbone` by name."""

_TITLES = {"mobilenetv2": "MobileNetV2", "mobilenetv3-small": "MobileNetV3Small"}


def backbone_title(name: str) -> str:
    """Return the name of a backbone in texts; one from outside need not be installed."""
    return _TITLES.get(name, name)


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
    ``./name`` or a `Path` for the folder. Raises `ModelNotFoundError` if there is no such model,
    and `TypeError` if `name_or_path` is neither text nor a path.
    """
    if not isinstance(name_or_path, str | os.PathLike):
        raise TypeError(
            "A model must be the name of a bundled model, such as 'white-cells', or the path of a "
            f"run folder. Received: {name_or_path!r}"
        )
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
            "folder."
        )
    else:
        name = str(name_or_path)
        near = get_close_matches(name, bundled, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        found = f"There is no model {name!r}: no bundled name and no folder.{hint}"
    raise ModelNotFoundError(
        f"{found} Bundled models: {names}. Or train one: "
        "hematovision train DATASET --out RUN, then use RUN."
    )
