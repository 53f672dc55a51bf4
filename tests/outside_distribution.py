"""Distributions outside this package, as pip installs them: modules and a dist-info folder."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest


def installed(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    name: str,
    files: Mapping[str, str],
    groups: Mapping[str, Mapping[str, str]],
) -> None:
    """Install the distribution NAME 1.0 into a new folder on the path, until the test ends.

    `files` are the modules by path, such as ``NAME/metrics.py`` or ``NAME.py``. `groups` are its
    entry points: the references ``module:attribute`` by group and name.
    """
    site = folder / f"site-{name}"
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    for path, code in files.items():
        (site / path).parent.mkdir(exist_ok=True)
        (site / path).write_text(code, encoding="utf-8")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join(_lines(groups)) + "\n")
    for module in [module for module in sys.modules if module.partition(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.syspath_prepend(site)


def _lines(groups: Mapping[str, Mapping[str, str]]) -> Iterable[str]:
    for group, entries in groups.items():
        yield f"[{group}]"
        yield from (f"{name} = {reference}" for name, reference in entries.items())
