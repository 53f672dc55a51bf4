"""Build the demo in the browser: add ONNX Runtime Web, the models and sample fields to its pages.

The pages are in ``docs/demo``. What this adds there is not in git: ``vendor``, ``models``,
``fields`` and ``assets.js``. ``make browser-demo`` installs ONNX Runtime Web from the package lock
and runs this.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from hematovision import images
from hematovision.synthetic import render_field

__all__ = ["BuildError", "build"]

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "demo"
MODELS = ROOT / "src" / "hematovision" / "models"
RUNTIME = Path(__file__).parent / "node_modules" / "onnxruntime-web" / "dist"

USED = ("blood-fields", "rbc-wbc-platelets", "white-cells")
"""The models of ``hematovision analyze``."""

SAMPLES = ((5, "synthetic-a"), (10, "synthetic-b"), (2, "synthetic-d"))
"""Seed and lab of the synthetic fields."""

_ADDED = ("vendor", "models", "fields", "assets.js")
_NOT_LISTED = (".txt",)  # read by nobody but people: not kept for use without a network


class BuildError(Exception):
    """The demo cannot be built; the message states what is missing."""


def build(out: Path) -> dict[str, int]:
    """Build the demo.

    Parameters
    ----------
    out : Path
        The folder: ``docs/demo``, or another, into which the pages are copied too.

    Returns
    -------
    dict of str to int
        Size in bytes of each file that the page uses.

    Raises
    ------
    BuildError
        If ONNX Runtime Web is not installed.
    """
    if not RUNTIME.is_dir():
        raise BuildError(f"{RUNTIME} is missing. Install it: npm ci --prefix web")
    if out.resolve() != PAGES:
        ignored = shutil.ignore_patterns(*_ADDED)
        shutil.copytree(PAGES, out, dirs_exist_ok=True, ignore=ignored)
    for name in _ADDED[:-1]:
        shutil.rmtree(out / name, ignore_errors=True)
    _add_runtime(out / "vendor")
    _add_models(out / "models")
    samples = _add_samples(out / "fields")
    files = {
        path.relative_to(out).as_posix(): path
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.suffix not in _NOT_LISTED and path.name != _ADDED[-1]
    }
    _write_list(out / "assets.js", files, samples)
    return {name: path.stat().st_size for name, path in files.items()}


def _add_runtime(folder: Path) -> None:
    folder.mkdir(parents=True)
    shutil.copyfile(RUNTIME / "ort.wasm.bundle.min.mjs", folder / "ort.js")
    shutil.copy(RUNTIME / "ort-wasm-simd-threaded.wasm", folder)
    installed = find_spec("onnxruntime")
    notices = Path(
        str(installed and installed.origin)
    ).parent  # the packages for Python and the web share them
    shutil.copyfile(notices / "LICENSE", folder / "LICENSE.txt")
    shutil.copy(notices / "ThirdPartyNotices.txt", folder)


def _add_models(folder: Path) -> None:
    for name in USED:
        (folder / name).mkdir(parents=True)
        manifest = json.loads((MODELS / name / "bundle.json").read_text(encoding="utf-8"))
        shutil.copy(MODELS / name / "bundle.json", folder / name)
        shutil.copy(MODELS / name / "hematovision_model.onnx", folder / name)
        if manifest["backbone"]["file"]:
            shutil.copy(MODELS / manifest["backbone"]["file"], folder)


def _add_samples(folder: Path) -> list[str]:
    folder.mkdir()
    names = []
    for number, (seed, lab) in enumerate(SAMPLES, 1):
        name = f"{folder.name}/synthetic-{number}.png"
        pixels = render_field(seed, lab=lab).image
        (folder.parent / name).write_bytes(images.encode_png(pixels))
        names.append(name)
    return names


def _write_list(path: Path, files: dict[str, Path], samples: list[str]) -> None:
    """Write what the page and its service worker read: sizes, and versions for their caches."""
    large = {name for name in files if name.startswith("models/") or name.endswith(".wasm")}
    listed = {
        "version": _digest(files[name] for name in files if name not in large),
        "models": _digest(files[name] for name in sorted(large)),
        "samples": samples,
        "files": {name: file.stat().st_size for name, file in files.items()},
    }
    listed["files"] |= {path.name: 0}  # its size is not needed
    path.write_text(f"self.ASSETS = {json.dumps(listed, indent=1)};\n", encoding="utf-8")


def _digest(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def main() -> int:
    """Build the demo from the command line; return the exit code."""
    parser = argparse.ArgumentParser(description="Build the demo in the browser.")
    parser.add_argument("--out", type=Path, default=PAGES, help="folder; by default docs/demo")
    try:
        sizes = build(parser.parse_args().out)
    except BuildError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{len(sizes)} files, {sum(sizes.values()) / 1e6:.1f} MB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
