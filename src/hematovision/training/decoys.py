"""Features of decoys: what a backbone makes of images without a cell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.errors import ImageError
from hematovision.files import sha256_bytes
from hematovision.model.architecture import FEATURES
from hematovision.model.backbone import Backbone
from hematovision.model.inference import ahead
from hematovision.model.session import usable_cpus
from hematovision.model.weights import BackboneWeights
from hematovision.progress import Progress, no_progress
from hematovision.synthetic.decoys import SPOILT, render_decoy, spoil
from hematovision.training.feature_cache import FeatureCache, open_cache
from hematovision.training.features import row_of
from hematovision.training.pictures import Part

__all__ = ["RENDERED_DECOYS", "SPOILT_DECOYS", "decoy_features"]

RENDERED_DECOYS = 88
"""Eight of each kind; more do hardly better."""

SPOILT_DECOYS = 132
"""Training images with the cell destroyed, as many of each class."""

_BATCH = 32
_VERSION = "decoys 1"  # Part of the key: if the drawings change, so does this.


class _Decoy(NamedTuple):
    key: bytes
    make: Callable[[], NDArray[np.uint8]]


def decoy_features(
    train: Part, weights: BackboneWeights, progress: Progress = no_progress
) -> NDArray[np.float32]:
    """Return the features of drawn decoys and of spoilt training images.

    They are remembered as those of images are (`features.FeatureCache`), so that only the first
    training on a backbone draws any. The few training images to spoil are decoded a second time
    for it: which they are depends on which of all images can be read.

    Parameters
    ----------
    train : Part
        The training images, at least one.
    weights : BackboneWeights
        The backbone.
    progress : Progress
        Told after every batch.

    Returns
    -------
    ndarray of float32, shape (M, 1280)
        M is 220, or less where training images cannot be read any more.
    """
    backbone = Backbone(weights)
    decoys = [*_drawn(), *_spoilt(train)]
    with open_cache(backbone.sha256) as cache:
        rows = {decoy.key: cache.get(decoy.key) for decoy in decoys}
        missing = [decoy for decoy in decoys if rows[decoy.key] is None]
        for start in range(0, len(missing), _BATCH):
            batch = missing[start : start + _BATCH]
            rows |= _computed(batch, backbone, cache)
            progress(start + len(batch), len(missing), "decoys")
    return np.stack([row[:FEATURES] for row in rows.values() if row is not None])


def _computed(
    batch: list[_Decoy], backbone: Backbone, cache: FeatureCache
) -> dict[bytes, NDArray[np.float32]]:
    made = ahead(lambda decoy: _row(decoy, backbone), batch, usable_cpus())
    rows = zip((decoy.key for decoy in batch), made, strict=True)
    found = {key: row for key, row in rows if row is not None}
    cache.put(found.items())
    return found


def _row(decoy: _Decoy, backbone: Backbone) -> NDArray[np.float32] | None:
    try:
        return row_of(decoy.make(), backbone)
    except ImageError:  # It was there a moment ago; that is no reason to fail, there are others.
        return None


def _drawn() -> Iterator[_Decoy]:
    for number in range(RENDERED_DECOYS):
        yield _Decoy(_key(f"drawn {number}"), partial(render_decoy, number))


def _spoilt(train: Part) -> Iterator[_Decoy]:
    """Take classes in turn, and of each class other images and other ways in turn."""
    rng = np.random.default_rng(0)
    classes = [rng.permutation(np.flatnonzero(train.labels == c)) for c in np.unique(train.labels)]
    for turn in range(SPOILT_DECOYS):
        of_class = turn // len(classes)
        members = classes[turn % len(classes)]
        row = int(members[of_class % len(members)])
        number = len(SPOILT) * turn + of_class % len(SPOILT)
        key = _key(f"spoilt {number} {train.digests[row]}")
        yield _Decoy(key, partial(_spoil, train.samples[row].path, number))


def _spoil(path: Path, number: int) -> NDArray[np.uint8]:
    return spoil(images.load(path), number)


def _key(text: str) -> bytes:
    return bytes.fromhex(sha256_bytes(f"{_VERSION} {text}".encode())) + b"\0"
