"""``python -m hematovision``: the same as the command ``hematovision``."""

import sys

from hematovision.cli import main

if __name__ == "__main__":
    sys.exit(main())
