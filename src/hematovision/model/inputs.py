"""Inputs: what users pass as images, turned into the items of the inference loop.

An input is a path, a folder, a glob, the bytes of a file, an RGB array, a Pillow image, or any
iterable of these. Everything is lazy: a generator may be endless.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from hematovision import images as image_files
from hematovision.errors import DatasetError, ImageError
from hematovision.model.inference import Item, Source

__all__ = ["ImageInput", "ImageInputs", "items"]

ImageInput: TypeAlias = str | os.PathLike[str] | bytes | NDArray[np.uint8] | PIL.Image.Image
"""One input: a file, folder or glob; the bytes of a file; an RGB array; or a Pillow image."""

ImageInputs: TypeAlias = ImageInput | Iterable[ImageInput]
"""One input, or any iterable of them."""

_Given: TypeAlias = Source | PIL.Image.Image
_Named: TypeAlias = tuple[str, _Given]  # the name is empty for what has none

_EXPECTED = (
    "`images` must be a path, a folder, a glob, the bytes of an image file, an RGB array of uint8, "
    "a Pillow image, or an iterable of these"
)
_BY_ITSELF = "Pass each image by itself, with three channels last."
_GLOB = re.compile(r"[*?\[]")


def items(images: ImageInputs, *, max_pixels: int = image_files.MAX_PIXELS) -> Iterator[Item]:
    """Return the images of an input as items, lazily.

    Folders are searched at any depth, as by ``hematovision classify``. A string with ``*``, ``?``
    or ``[`` that is not an existing file is a glob; ``**`` matches any folders. An array (N, H, W,
    3) is N images. Pillow images are converted by `images.from_pillow`.

    Items have the path as their name; ``image 0``, ``image 1``, ... by position without one.

    Parameters
    ----------
    images : path, bytes, ndarray of uint8, Pillow image, or iterable of these
        A missing or unreadable file is an item too: reading it reports the problem.
    max_pixels : int
        Arrays and Pillow images with more pixels (width times height), or beyond another limit of
        `images.read`, become items with an error.

    Raises
    ------
    TypeError
        If an input is none of these; the message names the right call.
    ValueError
        If a path is empty.
    DatasetError
        If a folder has no images, or no file matches a glob.

    Examples
    --------
    >>> [item.name for item in items(["cell.png", np.zeros((2, 9, 9, 3), np.uint8)])]
    ['cell.png', 'image 1', 'image 2']
    """
    return _numbered(_sources(images), max_pixels)


def _numbered(found: Iterable[_Named], max_pixels: int) -> Iterator[Item]:
    for number, (name, given) in enumerate(found):
        label = name or f"image {number}"
        yield Item(label, _converted(given, label, max_pixels))


def _converted(given: _Given, name: str, max_pixels: int) -> Source:
    """Return the source of an item; if its size or mode is not accepted, the error."""
    try:
        if isinstance(given, PIL.Image.Image):
            # On the caller's thread: Pillow's images are not thread-safe.
            return image_files.from_pillow(given, name=name, max_pixels=max_pixels)
        if isinstance(given, np.ndarray):
            image_files.check_size(given, name=name, max_pixels=max_pixels)
    except ImageError as error:
        return error
    return given


def _sources(given: Any) -> Iterable[_Named]:
    found = _one(given)
    if found is not None:
        return found
    if isinstance(given, Iterable) and not _advice(given):
        return _each(given)
    raise _wrong(given)


def _each(given: Iterable[Any]) -> Iterator[_Named]:
    for element in given:
        found = _one(element)
        if found is None:
            raise _wrong(element, "Received in the iterable", _nested_advice(element))
        yield from found


def _one(given: Any) -> Iterable[_Named] | None:
    """Return the images of one input; None if it is none, or an iterable of inputs."""
    if isinstance(given, str | os.PathLike):
        path = os.fsdecode(given)
        if not path:
            raise ValueError("`images`: a path must not be empty. For the current folder, pass '.'")
        return _files(path, is_text=isinstance(given, str))
    if isinstance(given, bytes | bytearray) or (isinstance(given, memoryview) and given.ndim == 1):
        return [("", bytes(given))]
    if isinstance(given, PIL.Image.Image):
        return [(str(getattr(given, "filename", "") or ""), given)]
    if isinstance(given, np.ndarray) and given.dtype.kind not in "OUS":
        return _arrays(given)
    return None


def _files(given: str, *, is_text: bool) -> Iterator[_Named]:
    """Yield a file, or the files of a folder or, if the path was given as text, of a glob."""
    path = Path(given)
    paths: Iterable[Path] = [path]
    if is_text and _GLOB.search(given) and not os.path.lexists(given):
        paths = [Path(name) for name in sorted(glob.glob(given, recursive=True))]  # noqa: PTH207
        if not paths:
            raise DatasetError(
                f"No file matches the pattern {given!r} (in {Path.cwd()}). Check its folder and "
                "suffix; `**` matches any folders."
            )
    for found in image_files.iter_images(paths):
        yield given if found is path else str(found), found


def _arrays(given: NDArray[Any]) -> list[_Named]:
    is_many = given.ndim == 4 and given.shape[3] == 3
    is_one = given.ndim == 3 and given.shape[2] == 3
    if given.dtype == np.uint8 and (is_one or is_many) and 0 not in given.shape[is_many:]:
        return [("", one) for one in (given if is_many else [given])]
    raise TypeError(
        "`images`: an array must be RGB, uint8 of shape (H, W, 3), or (N, H, W, 3) for N images. "
        f"Received: {given.dtype} of shape {given.shape}. {_array_advice(given)}"
    )


def _array_advice(given: NDArray[Any]) -> str:
    """Return how to convert an array."""
    if not given.size:
        return "It has no pixels."
    if not 2 <= given.ndim <= 4:
        return _BY_ITSELF
    if given.dtype != np.uint8:
        return _dtype_advice(given)
    if given.ndim == 2:
        return "For a grey image, repeat the channel: np.stack([image] * 3, axis=-1)."
    if given.shape[-1] == 1:
        return "For a grey image, repeat the channel: np.repeat(image, 3, axis=-1)."
    if given.shape[-1] == 4:
        many = given.ndim == 4
        call = f"PIL.Image.fromarray({'one' if many else 'image'})"
        call = f"[{call} for one in images]" if many else call
        return f"For RGBA, pass {call}: transparent pixels become white."
    if given.shape[-3] == 3:
        axes = "1, 2, 0" if given.ndim == 3 else "0, 2, 3, 1"
        return f"Channels come last: image.transpose({axes})."
    return _BY_ITSELF


def _dtype_advice(given: NDArray[Any]) -> str:
    """Return how to convert an array to uint8."""
    if given.dtype.kind == "f":
        if not np.isfinite(given).all() or given.min() < 0:
            return "Scale to 0 to 255 and convert to uint8: some values are negative or not finite."
        if given.max() <= 1:
            return "Multiply by 255 and convert to uint8: (255 * image).round().astype('uint8')."
        return "Convert to uint8: image.round().clip(0, 255).astype('uint8')."
    if given.dtype == np.uint16:
        return "Scale 16 bits to 8: (image / 65535 * 255).round().astype('uint8')."
    if given.dtype == np.bool_:
        return "Multiply by 255 and convert to uint8: (255 * image).astype('uint8')."
    return "If its values are 0 to 255, convert to uint8: image.astype('uint8')."


def _wrong(given: Any, received: str = "Received", advice: str = "") -> TypeError:
    return TypeError(f"{_EXPECTED}. {received}: {type(given).__name__}.{_advice(given) or advice}")


def _nested_advice(given: Any) -> str:
    """Return the right call for an iterable in an iterable, or an empty text."""
    if not isinstance(given, list | tuple):
        return ""
    return (
        " Pass one flat list; an image as lists of numbers is converted by "
        "numpy.array(image, 'uint8')."
    )


def _advice(given: Any) -> str:
    """Return what to pass instead of an object that is not an input, or an empty text."""
    if given is None:
        return " OpenCV returns None for a file that it can't read: pass the path itself."
    if isinstance(given, Mapping):
        return " Pass its values: list(images.values())."
    if hasattr(given, "samples") and hasattr(given, "taxonomy"):
        return (
            " To evaluate a model on a dataset, call hematovision.evaluate(model, folder, out=...);"
            " to predict its images, pass [sample.path for sample in dataset]."
        )
    if hasattr(given, "path") and hasattr(given, "label"):
        return " Pass its path: image.path."
    if hasattr(given, "read"):
        return " Pass the content of an open file: file.read()."
    if isinstance(given, np.ndarray) and given.ndim != 1:  # of text or objects
        return (
            " Pass a list of the images, images.ravel().tolist(); if its objects are the values of "
            "pixels, images.astype('uint8')."
        )
    if isinstance(given, memoryview):
        return " Convert it to a NumPy array: numpy.asarray(image)."
    if hasattr(given, "__array__") and getattr(given, "ndim", 0) > 1:
        return " Convert it to a NumPy array: numpy.asarray(image). Of a table, pass one column."
    return ""
