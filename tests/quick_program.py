"""Processes of their own that train as quickly as the tests do."""

import os
import sys
from pathlib import Path

_PROGRAM = """
from hematovision.cli import main
from hematovision.training import inputs

inputs.RENDERED_DECOYS, inputs.SPOILT_DECOYS = 22, 12  # as in conftest.py
main()
"""

QUICK_PROGRAM = (sys.executable, "-c", _PROGRAM)


def quick_path() -> str:
    """`PYTHONPATH` for processes that start others: `quick_site` before what it is now."""
    paths = [str(Path(__file__).with_name("quick_site")), os.environ.get("PYTHONPATH", "")]
    return os.pathsep.join(filter(None, paths))
