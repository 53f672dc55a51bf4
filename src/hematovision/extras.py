"""Optional dependencies: what each command needs, and how to install it.

HematoVision is not in a package index, so ``pip install 'hematovision[serve]'`` fails. Install
commands therefore list the requirements of the extra, read from this package's metadata.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from hematovision.errors import MissingExtraError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

__all__ = [
    "NEEDS", "Need", "install_command", "missing_extra", "missing_requirements", "needs_extra",
    "require",
]  # fmt: skip

_DISTRIBUTION = "hematovision"


@dataclass(frozen=True)
class Need:
    """The modules that a command needs in addition to the core dependencies."""

    extra: str  # the extra of this package that installs the modules
    purpose: str  # the subject of a sentence: ``"Training"``
    modules: tuple[str, ...]  # names of top-level modules


_REPORT = ("jinja2", "matplotlib")
_KERAS = ("keras", "h5py")

NEEDS: Mapping[str, Need] = MappingProxyType(
    {
        "demo": Need("train", "The demo", (*_REPORT, *_KERAS, "onnx")),
        "train": Need("train", "Training", (*_REPORT, *_KERAS, "onnx")),
        "adapt": Need("train", "Adapting a model", (*_REPORT, *_KERAS, "onnx")),
        "evaluate": Need("train", "Evaluating a model", _REPORT),
        "evaluate detector": Need(
            "eval", "Evaluating a detector", (*_REPORT, "faster_coco_eval", "skimage")
        ),
        "compare": Need("train", "The report of a comparison", _REPORT),
        "export": Need("train", "Exporting a model", (*_KERAS, "onnx")),
        "export onnx": Need("train", "Exporting a bundled model", ("onnx",)),
        "features": Need("train", "Computing features", ("onnx", "h5py")),
        "data.yaml": Need("data", "Reading data.yaml", ("yaml",)),
        "slides": Need("slides", "Reading a whole slide", ("openslide",)),
        "data frame": Need("notebook", "A data frame", ("pandas",)),
        "plot": Need("notebook", "Plotting figures", ("matplotlib",)),
        "parquet": Need("data", "Writing Parquet", ("pyarrow",)),
        "ray": Need("scale", "The engine 'ray'", ("ray", "fsspec", "pyarrow")),
        "app": Need("app", "The web app", ("streamlit", "sqlalchemy", "alembic")),
        "serve": Need(
            "serve",
            "The HTTP server",
            ("fastapi", "httptools", "prometheus_client", "python_multipart", "uvicorn"),
        ),
    }
)
"""The modules that each command needs, by command."""


def require(work: str) -> None:
    """Check that the modules of a command (a key of `NEEDS`) are installed, without importing them.

    Call it before reading images or creating folders.

    Raises
    ------
    MissingExtraError
        For the first module that is not installed.
    """
    need = NEEDS[work]
    modules = need.modules
    if "keras" in modules:
        modules = (*modules, _keras_backend())
    for module in modules:
        if not _is_installed(module):
            raise missing_extra(need.extra, module, need.purpose)


def _is_installed(module: str) -> bool:
    if module in sys.modules:
        return sys.modules[module] is not None
    return importlib.util.find_spec(module) is not None


def _keras_backend() -> str:
    """Return the backend that Keras will use: ``KERAS_BACKEND``, keras.json, or TensorFlow."""
    chosen = os.environ.get("KERAS_BACKEND")
    if not chosen:
        home = os.environ.get("KERAS_HOME")
        settings = (Path(home) if home else Path.home() / ".keras") / "keras.json"
        try:
            chosen = json.loads(settings.read_text("utf-8")).get("backend")
        except (OSError, ValueError, AttributeError):
            chosen = None
    return chosen if isinstance(chosen, str) and chosen else "tensorflow"


def missing_extra(extra: str, module: str, purpose: str) -> MissingExtraError:
    """Return the error for a missing module, with the command that installs its extra."""
    return MissingExtraError(
        extra,
        module,
        f"{purpose} needs the module {module!r}, which is not installed. "
        f"Install it with: {install_command(extra, module)}",
    )


@contextmanager
def needs_extra(extra: str, purpose: str) -> Iterator[None]:
    """Turn a failed import of a third-party module in the block into a `MissingExtraError`.

    `extra` and `purpose` are as in `Need`; of nested blocks for one extra, the outer one states the
    purpose. A missing module of HematoVision is a bug; its error passes through.
    """
    try:
        yield
    except MissingExtraError as error:
        if error.extra != extra:
            raise
        raise missing_extra(extra, error.module, purpose) from error
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if not module or module == "hematovision":
            raise
        raise missing_extra(extra, module, purpose) from error


def install_command(extra: str, module: str) -> str:
    """Return a shell command that installs the missing requirements of `extra`.

    Without metadata of this package, the command installs `module`.

    Examples
    --------
    >>> install_command("serve", "fastapi")  # doctest: +SKIP
    "python -m pip install 'fastapi>=0.121' 'uvicorn>=0.38'"
    """
    requirements = missing_requirements(extra) or [module]
    python = _python()
    if importlib.util.find_spec("pip") is not None:
        words = [python, "-m", "pip", "install", *requirements]
    else:  # an environment created by uv has no pip
        words = ["uv", "pip", "install", "--python", python, *requirements]
    return _quoted(words)


def missing_requirements(extra: str) -> list[str]:
    """Return the requirements of `extra` that this environment does not meet, sorted.

    The list is also empty if this package is on the path but not installed.
    """
    from importlib import metadata  # slow to import, and seldom needed

    try:
        return sorted({str(r) for r in _requirements(extra) if not _is_met(r)})
    except metadata.PackageNotFoundError:
        return []


def _requirements(extra: str) -> Iterator[Requirement]:
    """Yield the requirements of an extra on this platform, including those of nested extras."""
    from importlib import metadata

    from packaging.requirements import Requirement

    for text in metadata.requires(_DISTRIBUTION) or ():
        requirement = Requirement(text)
        if requirement.marker is None or not requirement.marker.evaluate({"extra": extra}):
            continue
        if requirement.name == _DISTRIBUTION:
            for nested in sorted(requirement.extras):
                yield from _requirements(nested)
        else:
            requirement.marker = None  # true on this platform
            yield requirement


def _is_met(requirement: Requirement) -> bool:
    from importlib import metadata

    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return False
    return requirement.specifier.contains(version, prereleases=True)


def _python() -> str:
    """Return the shortest name of this interpreter that works in the current folder."""
    named = shutil.which("python")
    if named and Path(named).absolute() == Path(sys.executable).absolute():
        return "python"
    try:
        return str(Path(sys.executable).relative_to(Path.cwd()))
    except (ValueError, OSError):  # not below the current folder, or that folder is gone
        return sys.executable


def _quoted(words: Sequence[str]) -> str:
    if os.name == "nt":
        return " ".join(f'"{word}"' if set(word) & set(' <>[];"') else word for word in words)
    return shlex.join(words)
