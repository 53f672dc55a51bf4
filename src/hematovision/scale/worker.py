"""What a worker of a cluster does with one shard; it knows nothing of Ray."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from hematovision import images
from hematovision.errors import ImageError, TooManyBytesError, UnreadableFileError
from hematovision.model.bundle import MANIFEST, ONNX, Bundle, read_bundle
from hematovision.model.classifier import Classifier
from hematovision.model.inference import Item, ahead, infer
from hematovision.model.prediction import Prediction
from hematovision.scale.addresses import Source, filesystem
from hematovision.scale.parts import Part, write_part

__all__ = ["Fetched", "PackedModel", "Shard", "classify_shard", "fetch"]

READERS = 4
"""Images fetched at once beside the one that is answered: storage far away has long ways."""


@dataclass(frozen=True)
class PackedModel:
    """A model as it travels to workers, which may not see the folder it lies in.

    Parameters
    ----------
    files : mapping of str to bytes
        ``bundle.json``, listing the graph alone, and the graph. Weights that all bundled models
        share are not sent: every installation has them, and their hash is checked.
    """

    files: Mapping[str, bytes]

    @classmethod
    def of(cls, bundle: Bundle) -> PackedModel:
        """Pack what answering needs."""
        manifest = replace(bundle.manifest, files={ONNX: bundle.manifest.files[ONNX]})
        return cls({MANIFEST: manifest.to_text().encode("utf-8"), ONNX: bundle.read(ONNX)})

    def open(self) -> Classifier:
        """Open the model, every hash checked, for one image at a time.

        Raises
        ------
        BundleError
            If this installation is of another version, and cannot use it.
        """
        with tempfile.TemporaryDirectory(prefix="hematovision-") as folder:
            for name, data in self.files.items():
                (Path(folder) / name).write_bytes(data)
            return Classifier(read_bundle(Path(folder)), workers=1)


@dataclass(frozen=True)
class Shard:
    """Images that are answered together and written into one part.

    Parameters
    ----------
    part : str
        The part's name.
    sources : tuple of Source
    """

    part: str
    sources: tuple[Source, ...]

    def __len__(self) -> int:
        return len(self.sources)


class Fetched(NamedTuple):
    """The bytes of an image, or why there are none.

    Parameters
    ----------
    source : Source
    content : bytes or ImageError
    """

    source: Source
    content: bytes | ImageError


def fetch(source: Source) -> Fetched:
    """Get the bytes of an image; what goes wrong is returned, not raised."""
    try:
        if not source.root:
            return Fetched(source, images.read_bytes(Path(source.path), source.name))
        return Fetched(source, _remote_bytes(source))
    except ImageError as error:
        return Fetched(source, error)


def classify_shard(classifier: Classifier, shard: Shard, out: str) -> Part:
    """Answer a shard's images, in order, and write them as one part.

    Parameters
    ----------
    classifier : Classifier
    shard : Shard
    out : str
        The folder of the table, a path or a URI that means the same place on every node.

    Raises
    ------
    ModelError
        If the model fails.
    OutputError
        If the part cannot be written.
    """
    fetched = ahead(fetch, shard.sources, READERS)
    items = (Item(source.name, content) for source, content in fetched)
    predictions: list[Prediction] = []
    unread = 0
    for result in infer(classifier, items):
        predictions += result.rows
        unread += isinstance(result.source, UnreadableFileError)
    stamps = _stamps(shard.sources)
    return write_part(out, shard.part, stamps, predictions, classifier.schema, unread)


def _stamps(sources: Sequence[Source]) -> dict[str, str]:
    return {source.name: source.stamp for source in sources}


def _remote_bytes(source: Source) -> bytes:
    system, _ = filesystem(source.root)
    try:
        data: bytes = system.cat_file(source.path, start=0, end=images.MAX_BYTES + 1)
    except Exception as error:  # Every storage has errors of its own, without a common base.
        raise UnreadableFileError(
            source.name, f"could not be fetched: {type(error).__name__}: {error}. Resume later."
        ) from error
    if len(data) > images.MAX_BYTES:
        raise TooManyBytesError(
            source.name,
            f"the file has more than {images.MAX_BYTES:,} bytes, the limit. Export it smaller.",
        )
    return data
