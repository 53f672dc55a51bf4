"""How far an answer can be trusted: calibration, novelty and the decision to ask a person."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Novelty"]


class Novelty(NamedTuple):
    """What the features of the training images look like.

    Parameters
    ----------
    means : array of float32, (C, 1280)
        Mean features of each class.
    inv_std : array of float32, (1280,)
        One over the standard deviation of each feature within the classes.
    """

    means: NDArray[np.float32]
    inv_std: NDArray[np.float32]

    def score(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the novelty (N,) of `features` (N, 1280).

        It is the distance to the nearest class mean, as the root mean square over the features of
        (feature - mean) / standard deviation: about 1 for images like those learnt from.
        """
        apart = (np.asarray(features, np.float32)[:, None, :] - self.means) * self.inv_std
        return np.asarray(np.sqrt((apart**2).mean(axis=2).min(axis=1)), np.float32)
