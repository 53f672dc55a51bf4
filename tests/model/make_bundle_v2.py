"""How the folder ``data/bundle_v2`` was made: that of schema 1 with a self-test."""

from pathlib import Path
from shutil import copytree

from hematovision.model.bundle import read_bundle, seal_self_test


def main() -> None:
    """Write the folder."""
    data = Path(__file__).parent / "data"
    seal_self_test(read_bundle(copytree(data / "bundle_v1", data / "bundle_v2")))


if __name__ == "__main__":
    main()
