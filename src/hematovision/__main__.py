"""``python -m hematovision``: the same as the command ``hematovision``."""

from hematovision.cli import main

if __name__ == "__main__":
    main()
