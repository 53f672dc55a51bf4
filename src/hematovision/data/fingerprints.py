"""What is kept of every image to recognise it: a hash of its pixels, eight pHashes, a thumbnail."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hematovision import images
from hematovision.errors import ImageError
from hematovision.extras import needs_extra
from hematovision.progress import Progress, no_progress

__all__ = [
    "THUMBNAIL",
    "VIEWS",
    "Fingerprint",
    "Fingerprints",
    "fingerprint",
    "fingerprint_all",
    "view_orders",
]

VIEWS = 8
"""The rotations and flips of `images.view`."""

THUMBNAIL = 32
"""Side of the thumbnail, in pixels: also the size that an 8 x 8 pHash is computed from."""

HASH_SIZE = 8
"""Side of the pHash: 8 x 8 bits fill one 64-bit word, so that a distance is one XOR and one count.
Measured in docs/decisions/0003-near-duplicates.md: 16 x 16 bits find fewer cropped copies."""

# ITU-R BT.601, the weights of Pillow's mode "L".
_LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)

# Enough to keep the cores busy while the main thread draws progress, few enough to bound memory.
_IN_FLIGHT = 64

_Outcome: TypeAlias = "Fingerprint | ImageError"


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """What is kept of one image.

    Parameters
    ----------
    pixels_sha256 : str
        Hash of the decoded RGB pixels and their shape; equal for files that decode alike.
    hashes : ndarray of uint64, shape (8,)
        The pHash of each of the eight views, in the order of `images.view`.
    thumbnail : ndarray of float32, shape (32, 32)
        Luminance in [0, 255] of the image stretched to a square by area averaging.
    """

    pixels_sha256: str
    hashes: NDArray[np.uint64]
    thumbnail: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """The fingerprints of many images, stacked; row ``i`` belongs to ``paths[i]``.

    Parameters
    ----------
    positions : ndarray of int64, shape (N,)
        Which of the images asked for each row is; unreadable images have no row.
    pixels_sha256 : tuple of str
        Length N.
    hashes : ndarray of uint64, shape (N, 8)
    thumbnails : ndarray of float32, shape (N, 32, 32)
    unreadable : tuple of (int, ImageError)
        Position and error of each image that could not be decoded.
    """

    positions: NDArray[np.int64]
    pixels_sha256: tuple[str, ...]
    hashes: NDArray[np.uint64]
    thumbnails: NDArray[np.float32]
    unreadable: tuple[tuple[int, ImageError], ...] = ()

    def __len__(self) -> int:
        return len(self.positions)


def fingerprint(image: NDArray[np.uint8]) -> Fingerprint:
    """Compute the fingerprint of decoded pixels.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        RGB, as `images.read` returns it.

    Raises
    ------
    MissingExtraError
        If imagehash is not installed.
    """
    thumbnail = images.fit(image, THUMBNAIL).astype(np.float32) @ _LUMINANCE
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(image.tobytes())
    return Fingerprint(digest.hexdigest(), _view_hashes(thumbnail), thumbnail)


def _view_hashes(thumbnail: NDArray[np.float32]) -> NDArray[np.uint64]:
    with needs_extra("data", "Checking a dataset"):
        import imagehash
    grey = np.rint(thumbnail).astype(np.uint8)
    bits = np.stack(
        [
            imagehash.phash(Image.fromarray(turned), HASH_SIZE).hash.ravel()
            for turned in grey.ravel()[view_orders(THUMBNAIL)].reshape(-1, *grey.shape)
        ]
    )
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]


def view_orders(size: int) -> NDArray[np.int64]:
    """Return where each pixel of each view comes from in a flattened square image.

    Parameters
    ----------
    size : int
        The square's side, at most 256.

    Returns
    -------
    ndarray of int64, shape (8, size * size)
        ``image.ravel()[orders[index]]`` is ``images.view(image, index).ravel()``.
    """
    rows, columns = np.indices((size, size))
    places = np.stack([rows, columns, rows], axis=2).astype(np.uint8)
    turned = np.stack([images.view(places, index) for index in range(VIEWS)]).astype(np.int64)
    return (turned[..., 0] * size + turned[..., 1]).reshape(VIEWS, -1)


def fingerprint_all(paths: Sequence[Path], progress: Progress = no_progress) -> Fingerprints:
    """Decode every image once and compute its fingerprint, on all cores.

    Parameters
    ----------
    paths : sequence of Path
    progress : Progress, optional
        Told after every image.

    Returns
    -------
    Fingerprints
        In the order of `paths`; images that cannot be decoded are listed in ``unreadable``.
    """
    with needs_extra("data", "Checking a dataset"):
        import imagehash  # noqa: F401
    found: list[tuple[int, Fingerprint]] = []
    unreadable: list[tuple[int, ImageError]] = []
    for position, outcome in enumerate(_outcomes(paths)):
        if isinstance(outcome, ImageError):
            unreadable.append((position, outcome))
        else:
            found.append((position, outcome))
        progress(position + 1, len(paths), "Reading images")
    return Fingerprints(
        positions=np.array([position for position, _ in found], dtype=np.int64),
        pixels_sha256=tuple(one.pixels_sha256 for _, one in found),
        hashes=np.array([one.hashes for _, one in found], np.uint64).reshape(-1, VIEWS),
        thumbnails=np.array([one.thumbnail for _, one in found], np.float32).reshape(
            -1, THUMBNAIL, THUMBNAIL
        ),
        unreadable=tuple(unreadable),
    )


def _outcomes(paths: Sequence[Path]) -> Iterator[_Outcome]:
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for start in range(0, len(paths), _IN_FLIGHT):
            yield from pool.map(_outcome, paths[start : start + _IN_FLIGHT])


def _outcome(path: Path) -> _Outcome:
    try:
        return fingerprint(images.read(path))
    except ImageError as error:
        return error
