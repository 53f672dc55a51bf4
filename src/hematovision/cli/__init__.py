"""The command line: ``hematovision COMMAND``.

Each command parses its arguments, calls one function of `hematovision.workflows` or
`hematovision.data`, and prints the result. Imports are deferred until a command runs, to keep
``--help`` fast.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the program; Ctrl-C during imports exits without a message."""
    try:
        from hematovision.cli.program import main as run
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    run()
