"""The file formats of ``hematovision export`` by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hematovision.plugins import Registry

if TYPE_CHECKING:
    from hematovision.workflows.export import ModelToExport

__all__ = ["EXPORTERS", "Exporter"]


@dataclass(frozen=True)
class Exporter:
    """Exports a model as one file.

    Parameters
    ----------
    suffix : str
        The ending of the file, such as ``".onnx"``.
    content : callable
        Takes a `ModelToExport` and returns the content of the file, as bytes.
    """

    suffix: str
    content: Callable[[ModelToExport], bytes]


def _accepted(thing: object) -> Exporter:
    if (
        isinstance(thing, Exporter)
        and isinstance(thing.suffix, str)
        and thing.suffix.startswith(".")
        and callable(thing.content)
    ):
        return thing
    raise TypeError(
        "it must be an Exporter(suffix, content): an ending such as '.onnx', and a function. "
        f"Received: {thing!r}"
    )


EXPORTERS: Registry[Exporter] = Registry(
    "exporter",
    "hematovision.exporters",
    {
        "h5": "hematovision.workflows.export:KERAS_H5",
        "keras": "hematovision.workflows.export:KERAS_ZIP",
        "onnx": "hematovision.workflows.export:ONNX_GRAPH",
        "litert": "hematovision.workflows.export:LITERT",
    },
    _accepted,
)
"""The formats of ``hematovision export --to``: an `Exporter` by name."""
