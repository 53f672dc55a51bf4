"""A bundle with a framing: the model that predicts the strongest colour, behind a blue stain."""

from dataclasses import replace
from pathlib import Path

from hematovision.images.stain import Stain
from hematovision.model.bundle import ONNX, read_bundle, with_self_test, write_bundle
from hematovision.model.framing import Framing
from model.make_explaining import OLD, explaining_graph

BLUE = Stain((30.0, 30.0, 250.0), (10.0, 10.0, 150.0))
"""The stain to which images are recoloured: those with red cells are predicted to be blue."""


def framed_bundle(folder: Path, framing: Framing | None = None) -> Path:
    """Write the bundle; by default three red cells wide, in `BLUE`."""
    old = read_bundle(OLD).manifest
    manifest = replace(old, files={}, framing=framing or Framing(3.0, BLUE))
    staged = write_bundle(folder, manifest, {ONNX: explaining_graph()})
    return write_bundle(folder, with_self_test(staged).manifest, {ONNX: explaining_graph()}).folder
