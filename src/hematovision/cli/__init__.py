"""The command line: ``hematovision COMMAND``.

Its commands read the arguments, call one function of `hematovision.jobs` or `hematovision.data`,
and show the result. Everything they need is imported when a command runs, so that ``--help`` does
not wait for it.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the program; Ctrl-C while it still loads ends it quietly, with the usual exit code."""
    try:
        from hematovision.cli.program import main as run
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    run()
