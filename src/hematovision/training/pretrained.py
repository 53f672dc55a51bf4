"""Where the backbone's weights come from: shipped, Keras' own download, or a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import WeightsError
from hematovision.extras import needs_extra
from hematovision.images import SIZE
from hematovision.model.architecture import weight_specs
from hematovision.model.weights import BUNDLED_WEIGHTS, BackboneWeights, bundled_weights
from hematovision.training.keras_import import import_keras

with needs_extra("train", "Reading Keras weights"):
    import h5py

__all__ = ["imagenet_weights", "keras_home", "load_weights", "read_weights_file"]

_IMAGENET_FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"


def load_weights(name_or_file: str) -> BackboneWeights:
    """Return the backbone weights that ``--weights`` names.

    Parameters
    ----------
    name_or_file : str
        ``"hematology"`` (shipped), ``"imagenet"`` (Keras' download) or the path of a file that
        `read_weights_file` reads.

    Raises
    ------
    WeightsError
        If there are no such weights, or they do not fit.
    """
    if name_or_file == BUNDLED_WEIGHTS:
        return bundled_weights()
    if name_or_file == "imagenet":
        return imagenet_weights()
    return read_weights_file(Path(name_or_file))


def imagenet_weights() -> BackboneWeights:
    """Return the ImageNet weights that Keras downloads, or has downloaded before.

    Raises
    ------
    WeightsError
        If they are not there and cannot be fetched; says where to put the file.
    """
    keras = import_keras()
    try:
        model = keras.applications.MobileNetV2(
            include_top=False, weights="imagenet", input_shape=(224, 224, 3)
        )
    # Keras raises a bare Exception when a download fails.
    except Exception as error:
        folder = keras_home() / "models"
        raise WeightsError(
            f"The ImageNet weights are not at hand and could not be downloaded. Put the file "
            f"{_IMAGENET_FILE} into {folder}, or use --weights {BUNDLED_WEIGHTS}, which is shipped."
        ) from error
    return _from_backbone(model)


def keras_home() -> Path:
    """Return the folder in which Keras keeps what it downloads."""
    chosen = os.environ.get("KERAS_HOME")
    return Path(chosen) if chosen else Path.home() / ".keras"


def read_weights_file(path: Path) -> BackboneWeights:
    """Read the MobileNetV2 inside a file, whatever stands on top of it.

    Parameters
    ----------
    path : Path
        A whole model or weights of Keras 2 or 3 (``.h5``, ``.hdf5``, ``.keras``,
        ``.weights.h5``), or this project's ``.weights``. Layers are found by name; nothing in
        the file is executed.

    Raises
    ------
    WeightsError
        If it cannot be read or holds no MobileNetV2 of width 1.0.
    """
    if not path.is_file():
        raise WeightsError(
            f"There are no weights {str(path)!r}: neither {BUNDLED_WEIGHTS!r}, nor 'imagenet', nor "
            "a file. Check the path."
        )
    if path.suffix == ".weights":
        return BackboneWeights.load(path)
    try:
        if path.suffix == ".keras":
            keras = import_keras()
            return _from_model(keras.saving.load_model(path, compile=False, safe_mode=True))
        return _from_h5(path)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise WeightsError(
            f"{path} cannot be read as Keras weights ({error}). Give a .h5, .keras or .weights.h5 "
            "file of a MobileNetV2."
        ) from error


def _from_backbone(model: Any, side: int = SIZE) -> BackboneWeights:
    from hematovision.training.keras_model import backbone_weights

    return backbone_weights(model, side)


def _from_model(model: Any) -> BackboneWeights:
    from hematovision.training.keras_model import SHRINK_LAYER

    for candidate in (model, *model.layers):
        if any(layer.name == "Conv_1_bn" for layer in getattr(candidate, "layers", ())):
            sides = [layer.kernel.shape[1] for layer in model.layers if layer.name == SHRINK_LAYER]
            return _from_backbone(candidate, next(iter(sides), SIZE))
    raise WeightsError(
        "The model has no layer 'Conv_1_bn', so it is no MobileNetV2 as Keras makes it. Give one "
        "made by keras.applications.MobileNetV2."
    )


def _from_h5(path: Path) -> BackboneWeights:
    with h5py.File(path, "r") as file:
        unnamed = "layers" in file
        found, side = ({}, SIZE) if unnamed else _named_arrays(file)
    if unnamed:
        # Weights-only files of Keras 3 know layers by their place, not by their name.
        model = import_keras().applications.MobileNetV2(
            include_top=False, weights=None, input_shape=(224, 224, 3)
        )
        model.load_weights(path)
        return _from_backbone(model)
    return BackboneWeights(found, side)


def _named_arrays(file: Any) -> tuple[dict[str, NDArray[np.float32]], int]:
    """Find every weight of the architecture in a file of Keras 2 or of Keras 3's h5 models.

    And at which side the network sees, where the file is one of this project's models.
    """
    from hematovision.training.keras_model import SHRINK_LAYER

    wanted = {spec.name for spec in weight_specs()}
    found: dict[str, NDArray[np.float32]] = {}
    sides: list[int] = []

    def visit(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset) or "optimizer_weights" in name:
            return
        layer, _, part = name.rpartition("/")
        part = part.partition(":")[0].replace("depthwise_kernel", "kernel")
        key = f"{layer.rpartition('/')[2]}/{part}"
        if key in wanted:
            found[key] = np.asarray(item, np.float32)
        if key == f"{SHRINK_LAYER}/kernel":
            sides.append(int(item.shape[1]))

    file.visititems(visit)
    return found, next(iter(sides), SIZE)
