"""The requirement files install with the pip that Python brings, today and after any release.

Old pips resolve a requirement with an extra (``coverage[toml]``) to the newest release on the index
unless the pinned line carries that extra. So every file is resolved by the stock pip of a new
environment while a newer release of every package it pins is on offer.
"""

import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from test_install import need_index

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "requirements").glob("*.txt"))
NEWER = "9999.0"

pytestmark = pytest.mark.install


def interpreters() -> Iterator[str]:
    """Give the other Pythons at hand that the project supports, one of each version."""
    for version in ("3.11", "3.12", "3.13"):
        program = shutil.which(f"python{version}")
        asks = "import sys, ensurepip; print('%d.%d' % sys.version_info[:2])"
        if program and version != f"{sys.version_info[0]}.{sys.version_info[1]}":
            done = subprocess.run([program, "-c", asks], capture_output=True, text=True)
            if done.stdout.strip() == version:
                yield program


@pytest.fixture(scope="module")
def newer_releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel of a later release of every package that any file pins."""
    folder = tmp_path_factory.mktemp("newer")
    text = "\n".join(path.read_text(encoding="utf-8") for path in FILES)
    for name in sorted(set(re.findall(r"(?m)^([a-z0-9.-]+)(?:\[[a-z0-9,-]+\])?==", text))):
        plain = name.replace("-", "_").replace(".", "_")
        info = f"{plain}-{NEWER}.dist-info"
        with zipfile.ZipFile(folder / f"{plain}-{NEWER}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(
                f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {NEWER}\n"
            )
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
    return folder


def resolve(python: Path, path: Path, newer: Path) -> str:
    """Let pip resolve a file without installing, newer releases on offer; return what it says."""
    on_offer = f"{newer.as_uri()} {os.environ.get('PIP_FIND_LINKS', '')}"
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--dry-run", "--quiet"]
    done = subprocess.run(
        [*pip, "--require-hashes", "-r", path],
        capture_output=True,
        text=True,
        env={**os.environ, "PIP_FIND_LINKS": on_offer},
        timeout=900,
    )
    return "" if done.returncode == 0 else done.stderr


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment's Python, with the pip that this Python brings."""
    home = tmp_path_factory.mktemp("stock") / "venv"
    venv.create(home, with_pip=True)
    python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    need_index(python)
    return python


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_stock_pip_resolves_every_file_whatever_is_released(
    path: Path, stock: Path, newer_releases: Path
):
    assert resolve(stock, path, newer_releases) == ""


@pytest.mark.slow
def test_the_stock_pips_of_other_pythons_resolve_every_file(newer_releases: Path, tmp_path: Path):
    others = list(interpreters())
    if not others:
        pytest.skip("no other Python of 3.11, 3.12 and 3.13 is on the path")
    for program in others:
        home = tmp_path / Path(program).name
        subprocess.run([program, "-m", "venv", home], check=True)
        for path in FILES:
            said = resolve(home / "bin" / "python", path, newer_releases)
            assert said == "", f"{program}, {path.name}"
