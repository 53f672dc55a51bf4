"""What the command lines of benchmarks have in common: where images are, and where figures go."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.machine import RESULTS, fill, write_json

__all__ = ["images_option", "parse", "publish", "results_options"]


def images_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--data``, the folder of real images; by default what HEMATOVISION_DATA names."""
    data = os.environ.get("HEMATOVISION_DATA")
    parser.add_argument(
        "--data", type=Path, default=Path(data) if data else None, help="the folder of real images"
    )


def results_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--json`` and ``--fill``, which `publish` heeds."""
    parser.add_argument("--json", type=Path, help="write the figures of every run into this file")
    parser.add_argument("--fill", action="store_true", help="put the table into docs/results.md")


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the command line, and end with a sentence if real images are needed and missing.

    Raises
    ------
    SystemExit
        If ``--data`` is an option and nothing says where the images are.
    """
    args = parser.parse_args()
    if "data" in args and args.data is None:
        raise SystemExit("Real images are not at hand: give --data or set HEMATOVISION_DATA.")
    return args


def publish(args: argparse.Namespace, name: str, table: str, figures: Mapping[str, Any]) -> None:
    """Write figures and table where `results_options` were told to; `name` is the table's mark."""
    if args.json:
        write_json(args.json, figures)
    if args.fill:
        fill(RESULTS, name, table)
