"""A folder of overlays: for each answered image a picture of where the model looked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePath

from hematovision import images
from hematovision.errors import ImageError
from hematovision.jobs.outputs import fresh_folder
from hematovision.model.classifier import Explained
from hematovision.model.overlay import draw_overlay
from hematovision.model.prediction import Prediction

__all__ = ["Overlays", "overlay_names"]


class Overlays:
    """Writes overlays one by one, each under a name of its own.

    Parameters
    ----------
    folder : Path
        Where; must not exist or be empty.
    paths : sequence of Path
        The images, in the order in which they will come.

    Attributes
    ----------
    written : int
        How many there are by now.

    Raises
    ------
    OutputError
        If something is in the folder, or it cannot be made.
    """

    def __init__(self, folder: Path, paths: Sequence[Path]) -> None:
        self.written = 0
        self._folder = fresh_folder(folder, option="--explain")
        self._names = iter(overlay_names(paths))

    def write(self, explained: Explained) -> None:
        """Write the overlay of the next image; a refused one has none.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        name = next(self._names)
        if explained.attention is None:
            return
        try:
            image = images.read(explained.prediction.path)
        except ImageError:  # It could be read a moment ago; its answer stands.
            return
        picture = draw_overlay(image, explained.attention, _caption(explained.prediction))
        images.write(self._folder / name, picture)
        self.written += 1


def overlay_names(paths: Sequence[Path]) -> list[PurePath]:
    """Return for each image the name of its overlay, no two alike, whatever the file system.

    The folders below the one that all images have in common are kept. Where two names would be
    alike, or differ only in case, the later one gets a number.

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
    names = []
    for path in full:
        place = path.relative_to(common) if common else PurePath(path.name)
        name, number = place.with_suffix(".png"), 2
        while str(name).casefold() in taken:
            name, number = place.with_name(f"{place.stem}-{number}.png"), number + 1
        taken.add(str(name).casefold())
        names.append(name)
    return names


def _common_folder(paths: Sequence[Path]) -> Path | None:
    """Return the folder that all lie in; None where there is none, as on two Windows drives."""
    try:
        return Path(os.path.commonpath([path.parent for path in paths]))
    except ValueError:
        return None


def _caption(prediction: Prediction) -> str:
    verdict = f", {prediction.decision}" if prediction.decision == "review" else ""
    return f"{prediction.label}  {prediction.confidence:.1%}{verdict}"
