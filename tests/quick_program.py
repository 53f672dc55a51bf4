"""The program in a process of its own that trains as quickly as the tests do."""

import sys

_PROGRAM = """
from hematovision.cli import main
from hematovision.training import inputs

inputs.RENDERED_DECOYS, inputs.SPOILT_DECOYS = 22, 12  # as in conftest.py
main()
"""

QUICK_PROGRAM = (sys.executable, "-c", _PROGRAM)
