"""Synthetic cells and fields: rendered images with exact ground truth.

Used for the demo, tests and load tests. `hematovision.data.synthesize` writes datasets of them.
"""

from hematovision.synthetic.cells import KINDS
from hematovision.synthetic.fields import Field, RenderedCell, render_cell, render_field
from hematovision.synthetic.labs import LABS

__all__ = ["KINDS", "LABS", "Field", "RenderedCell", "render_cell", "render_field"]
