"""Where a model looked: Grad-CAM in closed form, from the last feature map and the head.

Grad-CAM (Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via
Gradient-based Localization", equations 1 and 2) weighs each channel of the last feature map by the
slope of a class's logit along it and keeps what speaks for the class. Between that map and the
logits lie only an average over the 7 x 7 places and dense layers with ReLU, so that the slopes are
products of the head's kernels: no gradient tape and no training framework is needed. The ONNX graph
computes the same for the most probable class, as its output ``attention``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hematovision.model.head import Head

__all__ = ["grad_cam", "logit_slopes"]


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
    feature_map : array of float32, (N, 7, 7, 1280)
        As `Classifier.feature_maps` gives it.
    classes : array of int, (N,)
        For each image the class to explain, mostly the one it was given.

    Returns
    -------
    array of float32, (N, 7, 7)
        In units of logits; row 0, column 0 is the image's upper left corner.
    """
    _, height, width, _ = feature_map.shape
    slopes = logit_slopes(head, feature_map.mean(axis=(1, 2)), classes)
    evidence = np.einsum("nijk,nk->nij", feature_map, slopes) / np.float32(height * width)
    return np.asarray(np.maximum(evidence, 0), np.float32)
