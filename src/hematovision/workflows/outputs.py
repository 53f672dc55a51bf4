"""Output folders: prevent overwriting and concurrent runs in the same folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hematovision.errors import OutputError
from hematovision.files import ensure_folder, hold_lock, writing
from hematovision.model.bundle import BUNDLE_FILES, MANIFEST

__all__ = ["LOCK", "claimed_folder", "held_folder", "refuse_inside", "resumable_folder"]

LOCK = ".hematovision.lock"
"""The lock file of a run in its folder; removed when the run ends."""

_FIGURES = ("precision_recall", "froc", "count_agreement")  # of a detector; not worth matplotlib

OURS = frozenset(
    {
        *BUNDLE_FILES,
        MANIFEST,
        "adaptation.json",
        "adaptation.csv",
        "compare.html",
        "compare.json",
        "differences.csv",
        "fields.csv",
        *(f"{name}.{kind}" for name in _FIGURES for kind in ("svg", "png")),
    }
)
"""All files that a run writes and an interrupted run may leave behind."""

_TEMPORARY = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}")  # names from `files.replacing`


def refuse_inside(path: Path, inputs: Iterable[str | Path], *, option: str = "--out") -> None:
    """Check that an output folder is outside the input folders.

    The next run would read its figures as images.

    `option` is the name of the CLI option of `path`, for the error. Raises `OutputError` if it is
    inside one, after resolving links.
    """
    place = Path(os.path.realpath(path))
    for given in inputs:
        real = Path(os.path.realpath(given))
        if place.is_relative_to(real) and real.is_dir():
            raise OutputError(
                f"The output folder {path} is inside the input folder {given}: the next run "
                f"would read the results as images. Choose one outside {given} with "
                f"{option}."
            )


@contextmanager
def claimed_folder(
    path: Path, *, option: str = "--out", inputs: Iterable[str | Path] = ()
) -> Iterator[Path]:
    """Lock an empty folder while the block fills it.

    Files of an interrupted run are removed first. If the block fails, its files are removed, and
    the folder if it is new; a finished bundle is kept.

    `option` is the CLI option, for the error message; `inputs` are the input files and folders
    (`refuse_inside`). Raises `OutputError` if another process has locked the folder, it contains
    other files, it cannot be created, or it is inside one of the inputs.
    """
    with writing(path):
        refuse_inside(path, inputs, option=option)
        is_new = not path.exists()
    try:
        with held_folder(path, option=option) as was_interrupted:
            _prepare(path, option, was_interrupted=was_interrupted)
            try:
                yield path
            except BaseException:
                if not (path / MANIFEST).exists():
                    _remove_leftovers(path)
                raise
    except BaseException:
        if is_new:
            _remove_if_empty(path)
        raise


def _prepare(path: Path, option: str, *, was_interrupted: bool) -> None:
    if was_interrupted and not (path / MANIFEST).exists():
        _remove_leftovers(path)
    if _others(path):
        raise OutputError(
            f"The folder {path} is not empty; nothing was changed. Choose a new folder with "
            f"{option}, or move this one away."
        )


@contextmanager
def resumable_folder(
    path: Path, *, store: str, last: str, resume: bool, inputs: Iterable[str | Path] = ()
) -> Iterator[Path]:
    """Lock a folder while the block fills it; a later run may continue it.

    Nothing is removed, not even after an error. `store` is the name of the file with the results
    so far, `last` of the file that is written last. `inputs` are the input files and folders
    (`refuse_inside`).

    Without `resume`, the folder must be new, empty or unfinished. With `resume`, it must be new or
    empty, or have a `store`. Raises `OutputError` otherwise, or if another process has locked the
    folder, it cannot be created, or it is inside one of the inputs.
    """
    with writing(path):
        refuse_inside(path, inputs)
        is_new = not path.exists()
    with held_folder(path):
        try:
            _check_resumable(path, store, last, resume=resume)
            yield path
        except BaseException:
            if is_new and not _others(path):
                (path / LOCK).unlink(missing_ok=True)
                _remove_if_empty(path)
            raise


def _check_resumable(path: Path, store: str, last: str, *, resume: bool) -> None:
    is_ours = (path / store).is_file()
    if is_ours and (resume or not (path / last).exists()):
        return
    if is_ours:
        raise OutputError(
            f"The folder {path} has the results of an earlier run; nothing was changed. Add "
            "--resume to update them, or choose a new folder with --out."
        )
    if _others(path):
        begun = f" and has no results to resume ({store} is missing)" if resume else ""
        raise OutputError(
            f"The folder {path} is not empty{begun}; nothing was changed. Choose a new folder with "
            "--out, or move this one away."
        )


@contextmanager
def held_folder(path: Path, *, option: str = "--out") -> Iterator[bool]:
    """Lock a folder, empty or not, during the block.

    Yields whether the last run in it was killed. Raises `OutputError` if another process has locked
    it, or it cannot be created.
    """
    lock = ensure_folder(path) / LOCK
    was_there = lock.exists()
    taken = (
        f"Another run is using the folder {path} (lock file {lock}). Wait until it ends, or "
        f"choose another folder with {option}."
    )
    with hold_lock(lock, taken):
        yield was_there


def _others(path: Path) -> list[Path]:
    with writing(path):
        return [inside for inside in path.iterdir() if inside.name != LOCK]


def _remove_leftovers(path: Path) -> None:
    """Remove the files of an interrupted run, and nothing else."""
    for inside in _others(path):
        temporary = _TEMPORARY.fullmatch(inside.name)
        name = temporary["name"] if temporary else inside.name
        if name in OURS and inside.is_file():
            with writing(inside):
                inside.unlink()


def _remove_if_empty(path: Path) -> None:
    try:
        path.rmdir()
    except OSError:
        return  # not empty, or already removed
