"""The command line: ``hematovision COMMAND``.

Its commands read what was typed, call one function of `hematovision.jobs` or `hematovision.data`,
and draw the answer. Everything they need is imported when a command runs, so that ``--help`` does
not wait for it.
"""

from hematovision.cli.program import main

__all__ = ["main"]
