"""Phantoms: drawn fields and cell images with exact truth, for the demo, tests and load tests.

A phantom is a drawing, never a patient: every lab's name begins with ``phantom``, every file's
name contains it, and `write_phantoms` says so in the folder that it writes.
"""

from hematovision.data.phantom.dataset import NOTE, NOTE_FILE, write_phantoms
from hematovision.data.phantom.field import DrawnCell, Field, draw_cell, draw_field
from hematovision.data.phantom.scene import KINDS
from hematovision.data.phantom.stain import LABS

__all__ = [
    "KINDS",
    "LABS",
    "NOTE",
    "NOTE_FILE",
    "DrawnCell",
    "Field",
    "draw_cell",
    "draw_field",
    "write_phantoms",
]
