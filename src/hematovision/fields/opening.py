"""Open classifiers with everything that single-cell images need: what every entry point calls."""

from __future__ import annotations

from pathlib import Path

from hematovision import images
from hematovision.fields.framing import RedCellFramer
from hematovision.model.bundle import Bundle, read_bundle
from hematovision.model.classifier import Classifier
from hematovision.model.registry import DEFAULT_MODEL, find_model

__all__ = ["load", "open_classifier"]


def load(
    name_or_path: str | Path = DEFAULT_MODEL,
    *,
    workers: int | None = None,
    max_pixels: int = images.MAX_PIXELS,
) -> Classifier:
    """Open a classifier, bundled or in a run folder.

    Parameters
    ----------
    name_or_path : str or Path
        A bundled model's name, a run folder, or its ``bundle.json``; by default the default model.
    workers : int, optional
        How many images are read and run at once; by default as many as there are usable CPUs.
    max_pixels : int
        Images with more pixels (width times height) are rejected before decoding.

    Raises
    ------
    ModelNotFoundError
        If there is no such model.
    BundleError
        If it is a detector (use `FieldAnalyzer.load`), or is incomplete, altered or of a newer
        schema.

    Examples
    --------
    >>> import hematovision
    >>> hematovision.load()
    Classifier('rbc-wbc-platelets': RBC, WBC, Platelets)
    >>> hematovision.load("pbc8").classes[:3]
    ('basophil', 'eosinophil', 'erythroblast')
    """
    bundle = read_bundle(find_model(name_or_path))
    return open_classifier(bundle, workers=workers, max_pixels=max_pixels)


def open_classifier(
    bundle: Bundle, *, workers: int | None = None, max_pixels: int = images.MAX_PIXELS
) -> Classifier:
    """Open a bundle that was read or staged; see `load`.

    If it has a framing, the default detector is opened too, which measures red cells.

    Raises
    ------
    BundleError
        If the model does not match its manifest, or is a detector.
    """
    framer = RedCellFramer.load() if bundle.manifest.framing else None
    return Classifier(bundle, framer=framer, workers=workers, max_pixels=max_pixels)
