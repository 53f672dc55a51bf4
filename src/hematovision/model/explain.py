"""Where a model looked: Grad-CAM in closed form, from the last feature map and the head.

Grad-CAM (Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via
Gradient-based Localization", equations 1 and 2) weighs each channel of the last feature map by the
slope of a class's logit along it and keeps what speaks for the class. Between that map and the
logits lie only an average over the places and dense layers with ReLU, so that the slopes are
products of the head's kernels: no gradient tape and no training framework is needed. The ONNX graph
computes the same for the most probable class, as its output ``attention``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hematovision.model.head import Head
from hematovision.model.network import INPUT_SIZE

__all__ = ["LEAN", "both_ways", "grad_cam", "hottest_point", "logit_slopes", "upsample"]

LEAN = 0.25
"""How far below and to the right of its middle a place of the map looks, in places.

The five convolutions of stride 2 are padded below and on the right only, which alone would make it
15.5 of the input's pixels, 0.48 places; learnt kernels lean back. Of 0, 0.25 and 0.48, this brings
most of the map into the white cells' boxes (`benchmarks/explanations.py`, on its training part).
"""

_FINER = 4  # Places of a map of both ways for each of one; more would show no more.
_MARGIN = 2  # Places by which a map is continued at its borders, as far as the bicubic reaches.


def logit_slopes(
    head: Head, features: NDArray[np.float32], classes: NDArray[np.integer]
) -> NDArray[np.float32]:
    """Return how the logit of a class changes with each feature.

    With hidden layers ``h1 = relu(f W1 + b1)``, ... and ``logits = h W + b``, the slope of logit c
    is ``W1 (m1 * (W2 (m2 * ... W[:, c])))``, where ``m`` is 1 where a hidden unit is above 0.

    Parameters
    ----------
    head : Head
    features : array of float32, (N, 1280)
    classes : array of int, (N,)
        For each image the class whose logit is asked for.

    Returns
    -------
    array of float32, (N, 1280)
    """
    value, passed = np.asarray(features, np.float32), []
    for kernel, bias in head.layers[:-1]:
        value = np.maximum(value @ kernel + bias, np.float32(0))
        passed.append(value > 0)
    slopes = head.layers[-1][0].T[np.asarray(classes)]
    for (kernel, _), mask in zip(head.layers[-2::-1], reversed(passed), strict=True):
        slopes = (slopes * mask) @ kernel.T
    return np.asarray(slopes, np.float32)


def grad_cam(
    head: Head, feature_map: NDArray[np.float32], classes: NDArray[np.integer]
) -> NDArray[np.float32]:
    """Return where each image speaks for a class.

    With slopes ``s`` (`logit_slopes`) and the feature map ``A``, the value of place (i, j) is
    ``relu(sum_k s_k A_ijk) / 49``: the part of the class's logit that comes from there, at least 0.

    Parameters
    ----------
    head : Head
    feature_map : array of float32, (N, M, M, 1280)
        As `Classifier.feature_maps` gives it.
    classes : array of int, (N,)
        For each image the class to explain, mostly the one it was given.

    Returns
    -------
    array of float32, (N, M, M)
        In units of logits; row 0, column 0 is the image's upper left corner.
    """
    _, height, width, _ = feature_map.shape
    slopes = logit_slopes(head, feature_map.mean(axis=(1, 2)), classes)
    evidence = np.einsum("nijk,nk->nij", feature_map, slopes) / np.float32(height * width)
    return np.asarray(np.maximum(evidence, 0), np.float32)


def upsample(attention: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Return a map in the size of an image, smooth (bicubic) and at least 0.

    Parameters
    ----------
    attention : array of float32, (M, M)
        One map of `grad_cam`, of the whole image stretched to a square.
    height, width : int
        Of the image, in pixels.

    Returns
    -------
    array of float32, (height, width)
        In the units of `attention`.
    """
    rows, columns = attention.shape
    # The bicubic needs neighbours: without the margin the border would be drawn half a place off.
    wide = np.pad(np.asarray(attention, np.float32), _MARGIN, mode="edge")
    start = _MARGIN - LEAN
    box = (start, start, start + columns, start + rows)
    smooth = Image.fromarray(wide).resize((width, height), Image.Resampling.BICUBIC, box=box)
    return np.maximum(np.asarray(smooth, np.float32), np.float32(0))


def both_ways(
    attention: NDArray[np.float32], turned: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """Return the mean of a map and of that of the same image turned by half, four times as fine.

    The places of the one look a little lower right of their middle, those of the other upper left:
    together they see twice as many places, and lean nowhere.

    Parameters
    ----------
    attention : array of float32, (M, M)
        One map of `grad_cam`.
    turned : array of float32, (M, M), or None
        That of the image turned by half, for the same class; None where it has another.

    Returns
    -------
    array of float32, (4 M, 4 M)
    """
    rows, columns = (_FINER * length for length in attention.shape)
    one = upsample(attention, rows, columns)
    if turned is None:
        return one
    other = upsample(turned, rows, columns)[::-1, ::-1]
    return np.asarray((one + other) / 2, np.float32)


def hottest_point(attention: NDArray[np.float32]) -> tuple[float, float] | None:
    """Return the peak of a smooth map.

    Parameters
    ----------
    attention : array of float32, (M, M)
        One map of `grad_cam`.

    Returns
    -------
    tuple of float, or None
        x and y as fractions of the image's width and height, from its upper left corner; None where
        nothing speaks for the class and the map is 0 throughout.
    """
    smooth = upsample(attention, INPUT_SIZE, INPUT_SIZE)
    row, column = divmod(int(smooth.argmax()), INPUT_SIZE)
    if not smooth[row, column] > 0:
        return None
    return (column + 0.5) / INPUT_SIZE, (row + 0.5) / INPUT_SIZE
