"""A folder of overlays: for each answered image a picture of where the model looked."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath

from hematovision import images
from hematovision.errors import ImageError
from hematovision.files import sha256_bytes
from hematovision.model.inference import ImageResult
from hematovision.model.overlay import draw_overlay
from hematovision.model.prediction import Prediction
from hematovision.workflows.outputs import claimed_folder

__all__ = ["Overlays", "open_overlays", "overlay_names"]

_LONGEST_STEM = 200
"""Bytes; file systems take 255, of which a hash, a number and the suffix need some."""


@contextmanager
def open_overlays(
    folder: Path | None, paths: Sequence[Path], inputs: Iterable[Path] = ()
) -> Iterator[Overlays | None]:
    """Hold a folder for overlays, for this process alone; without one, give None.

    Parameters
    ----------
    folder : Path or None
        Where; must not exist or be empty, and lie in no folder of `inputs`.
    paths : sequence of Path
        The images, in the order in which they will come.
    inputs : iterable of Path
        The files and folders in which the images were found.

    Raises
    ------
    OutputError
        If something is in the folder, it cannot be made, another process fills it, or it lies in
        one of the inputs: the next run would classify the overlays.
    """
    if folder is None:
        yield None
        return
    with claimed_folder(folder, option="--explain", inputs=inputs):
        yield Overlays(folder, paths)


class Overlays:
    """Writes overlays one by one, each under a name of its own; see `open_overlays`.

    Parameters
    ----------
    folder : Path
    paths : sequence of Path
        The images, in the order in which they will come.

    Attributes
    ----------
    written : int
        How many there are by now.
    """

    def __init__(self, folder: Path, paths: Sequence[Path]) -> None:
        self.written = 0
        self._folder = folder
        self._names = iter(overlay_names(paths))

    def write(self, result: ImageResult[Prediction]) -> None:
        """Write the overlay of the next image; a refused one has none.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        name = next(self._names)
        if result.attention is None:
            return
        try:
            image = images.read(result.prediction.path)
            picture = draw_overlay(image, result.attention, _caption(result.prediction))
        except (ImageError, MemoryError):  # It could be read a moment ago; its answer stands.
            return
        images.write(self._folder / name, picture)
        self.written += 1


def overlay_names(paths: Sequence[Path]) -> list[PurePath]:
    """Return for each image the name of its overlay, no two alike, whatever the file system.

    The folders below the one that all images have in common are kept. Images that have none in
    common but the root of the file system get the name of their own folder alone, so that no
    absolute path is made again. Where two names would be alike, or differ only in case, the later
    one gets a number. A name that is too long for that is cut, and its hash tells it from others.

    Parameters
    ----------
    paths : sequence of Path

    Returns
    -------
    list of PurePath
        Relative, ending in ``.png``.
    """
    full = [Path(os.path.abspath(path)) for path in paths]  # noqa: PTH100, links stay as they are
    common = _common_folder(full)
    taken = set[str]()
    names: list[PurePath] = []
    for path in full:
        place = path.relative_to(common or path.parent.parent)
        stem = _short(place.stem)
        name, number = place.with_name(f"{stem}.png"), 2
        while str(name).casefold() in taken:
            name, number = place.with_name(f"{stem}-{number}.png"), number + 1
        taken.add(str(name).casefold())
        names.append(name)
    return names


def _common_folder(paths: Sequence[Path]) -> Path | None:
    """Return the folder that all lie in; None where that is the root, or there is none."""
    try:
        common = Path(os.path.commonpath([path.parent for path in paths]))
    except ValueError:  # on two Windows drives
        return None
    return None if common == Path(common.anchor) else common


def _short(stem: str) -> str:
    """Cut a long name, and tell it from others that begin alike by its hash."""
    cut = stem
    while len(os.fsencode(cut)) > _LONGEST_STEM:
        cut = cut[:-1]
    return stem if cut == stem else f"{cut}~{sha256_bytes(os.fsencode(stem))[:8]}"


def _caption(prediction: Prediction) -> str:
    """Return the headline, with its confidence if it is a class, and the decision."""
    is_label = prediction.headline == prediction.label
    confidence = f"  {prediction.confidence:.1%}" if is_label else ""
    verdict = f", {prediction.decision}" if prediction.decision == "review" else ""
    return f"{prediction.headline}{confidence}{verdict}"
