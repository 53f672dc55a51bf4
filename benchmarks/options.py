"""Options shared by the benchmarks: the folder of images, and where results are written."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.machine import RESULTS, fill, write_json

__all__ = ["images_option", "parse", "publish", "results_options"]


def images_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--data``, the folder of real images; by default HEMATOVISION_DATA."""
    data = os.environ.get("HEMATOVISION_DATA")
    parser.add_argument(
        "--data", type=Path, default=Path(data) if data else None, help="the folder of real images"
    )


def results_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--json`` and ``--fill``, used by `publish`."""
    parser.add_argument("--json", type=Path, help="write the results of every run to this file")
    parser.add_argument("--fill", action="store_true", help="write the table to docs/results.md")


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the command line, and exit with a message if real images are needed and missing.

    Raises
    ------
    SystemExit
        If ``--data`` is an option and neither it nor HEMATOVISION_DATA is set.
    """
    args = parser.parse_args()
    if "data" in args and args.data is None:
        raise SystemExit("Real images are not at hand: give --data or set HEMATOVISION_DATA.")
    return args


def publish(args: argparse.Namespace, name: str, table: str, results: Mapping[str, Any]) -> None:
    """Write results and table as `results_options` ask; `name` is the marker of the table."""
    if args.json:
        write_json(args.json, results)
    if args.fill:
        fill(RESULTS, name, table)
