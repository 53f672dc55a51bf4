"""The requirement files install with the pip that Python brings, today and after any release.

Old pips resolve a requirement with an extra (``coverage[toml]``) to the newest release on the index
unless the pinned line carries that extra. So every file is resolved by the stock pip of a new
environment while a newer release of every package it pins is on offer.
"""

import os
import re
import shutil
import subprocess
import venv
import zipfile
from pathlib import Path

import pytest

from test_install import need_index

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "requirements").glob("*.txt"))
NEWER = "9999.0"

pytestmark = pytest.mark.install


def other_python(version: str) -> str:
    """Return the program of another Python, or skip where it is not at hand."""
    program = shutil.which(f"python{version}") or ""
    asks = "import sys, ensurepip; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([program or "false", "-c", asks], capture_output=True, text=True)
    if done.stdout.strip() != version:
        pytest.skip(f"there is no python{version} on the path")
    return program


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
    """Return pip's dry-run output for a file, with newer releases available."""
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
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_stock_pip_of_every_python_resolves_every_file(
    path: Path, version: str, newer_releases: Path, tmp_path: Path
):
    subprocess.run([other_python(version), "-m", "venv", tmp_path / "venv"], check=True)
    assert resolve(tmp_path / "venv" / "bin" / "python", path, newer_releases) == ""
