"""A learning in a process of its own: started, watched and stopped from any other.

TensorFlow never enters the process that watches. All that it knows of a learning stands in a file
of events beside the run folder, so that a page that is loaded again, or a server that was started
again, finds it as it is.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from hematovision.errors import DatasetError, OutputError, TrainingError
from hematovision.files import ensure_folder, is_held, writing
from hematovision.retraining.events import (
    Epoch,
    Figures,
    SideBySide,
    append_event,
    first_event,
    read_events,
)

__all__ = [
    "Epoch",
    "Figures",
    "Kind",
    "Retraining",
    "SideBySide",
    "State",
    "Step",
    "events_file",
    "read_retraining",
    "retrainings",
    "start_retraining",
    "work_folder",
]

Kind: TypeAlias = Literal["train", "adapt"]
State: TypeAlias = Literal["running", "done", "failed", "stopped"]

_EVENTS = ".events.jsonl"
_LOG = ".log"

_STARTING = timedelta(seconds=30)  # A process may take so long before it holds its lock.
_ENDING = 10.0  # Seconds for a process that was told to end.
_LAST_WORDS = 300  # Characters of the log in an error.


class Step(NamedTuple):
    """How far a piece of work is; 0 of 0 before the first."""

    done: int = 0
    total: int = 0
    what: str = ""


_NOT_YET = Step()


@dataclass(frozen=True)
class Retraining:
    """A learning as it was when it was looked at; `read_retraining` looks again.

    Parameters
    ----------
    kind : {"train", "adapt"}
    dataset : Path
    folder : Path
        The run folder. It is there when the state is ``"done"``, and not before.
    events : Path
        What `read_retraining` reads.
    log : Path
        What the process wrote on its screen.
    model : str or None
        The model to start from or to compare with.
    started : datetime
        UTC.
    state : {"running", "done", "failed", "stopped"}
    progress : Step
        Of the newest piece of work.
    epochs : tuple of Epoch
        Those that have ended; adapting has none.
    error : str
        Why it failed; else empty.
    side_by_side : SideBySide or None
        The new model beside the old; None before, without an old model, or where the two cannot be
        compared.
    note : str
        Why they could not be compared; else empty.
    pid : int or None
        The process, once it told.
    """

    kind: Kind
    dataset: Path
    folder: Path
    events: Path
    log: Path
    model: str | None
    started: datetime
    state: State
    progress: Step = _NOT_YET
    epochs: tuple[Epoch, ...] = ()
    error: str = ""
    side_by_side: SideBySide | None = None
    note: str = ""
    pid: int | None = None

    def refresh(self) -> Retraining:
        """Return how it is now."""
        return read_retraining(self.events)

    def stop(self) -> Retraining:
        """End the process, drop what it has made so far, and return how it is now.

        A learning that has ended by itself stays as it is.
        """
        # Its number comes with its lock, and only while that is held it is its number.
        _wait(lambda: self.refresh().pid is not None or self.refresh().state != "running")
        now = self.refresh()
        if now.state != "running":
            return now
        if now.pid is not None and is_held(self.events):
            os.kill(now.pid, signal.SIGTERM)
            _wait(lambda: not is_held(self.events))
        if self.refresh().state in {"done", "stopped"}:
            return self.refresh()
        append_event(self.events, "stopped")
        shutil.rmtree(work_folder(self.folder), ignore_errors=True)
        return self.refresh()


def start_retraining(
    kind: Kind,
    dataset: Path,
    out: Path,
    *,
    model: str | Path | None,
    seed: int = 0,
) -> Retraining:
    """Start learning in a process of its own, and return at once.

    It goes on when this process ends. Beside `out` are its events (``OUT.events.jsonl``) and what
    it wrote on its screen (``OUT.log``).

    Parameters
    ----------
    kind : {"train", "adapt"}
        Learn anew from the dataset, or adapt `model` to it.
    dataset : Path
        Class folders.
    out : Path
        The run folder to make; does not exist yet, or is empty. It appears when all is done.
    model : str, Path or None
        A bundled model's name or a run folder: what is adapted, and what the new model is compared
        with. When training, its taxonomy is kept; None leaves that to the folders' names.
    seed : int

    Raises
    ------
    TrainingError
        If there is no model to adapt, or `out` is being learnt already.
    DatasetError
        If there is no such folder.
    OutputError
        If `out` is in use or cannot be written.
    """
    dataset, out = Path(dataset).resolve(), Path(out).resolve()
    if kind == "adapt" and model is None:
        raise TrainingError("Adapting needs a model to start from. Received: None. Choose one.")
    if not dataset.is_dir():
        raise DatasetError(f"There is no folder {dataset} to learn from. Export one first.")
    _check_free(out)
    events = events_file(out)
    ensure_folder(out.parent)
    shutil.rmtree(work_folder(out), ignore_errors=True)
    _beside(out, _LOG).unlink(missing_ok=True)
    events.unlink(missing_ok=True)  # Of an earlier attempt, which came to nothing.
    given = None if model is None else str(model)
    first_event(
        events, "started", kind=kind, dataset=str(dataset), folder=str(out), model=given, seed=seed
    )
    _launch(events, _beside(out, _LOG))
    return read_retraining(events)


def read_retraining(events: Path) -> Retraining:
    """Return the learning that a file of events tells of.

    Raises
    ------
    OutputError
        If it is no such file, or cannot be read.
    """
    try:
        told = list(read_events(events))
        while not _has_ended(told):
            if is_held(events):
                return _learning(events, told, "running")
            # It may have begun or ended between the two looks: only what stays the same is so.
            before, told = told, list(read_events(events))
            if told == before:
                break
        return _learning(events, told)
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise OutputError(
            f"{events} does not tell of a learning ({error!r}). Expected the file that "
            "start_retraining made; start a new one."
        ) from error


def retrainings(folder: Path) -> list[Retraining]:
    """Return the retrainings whose run folders are, or were to be, in a folder; newest first."""
    found = [read_retraining(path) for path in folder.glob(f"*{_EVENTS}")]
    return sorted(found, key=lambda learning: learning.started, reverse=True)


def events_file(out: Path) -> Path:
    """Return the file of events of a run folder."""
    return _beside(out, _EVENTS)


def work_folder(out: Path) -> Path:
    """Return where a run folder is made before it takes its place; hidden from who lists models."""
    return out.with_name(f".{out.name}.learning")


_ENDS: Mapping[str, State] = {"done": "done", "error": "failed", "stopped": "stopped"}


def _has_ended(told: Sequence[dict[str, Any]]) -> bool:
    return any(event["event"] in _ENDS for event in told)


def _learning(
    events: Path, told: Sequence[dict[str, Any]], state: State | None = None
) -> Retraining:
    """Make sense of events; `state` is what is known from elsewhere."""
    newest = {event["event"]: event for event in told}
    started, compared = newest["started"], newest.get("compared")
    folder, at = Path(started["folder"]), datetime.fromisoformat(started["at"])
    log = _beside(folder, _LOG)
    error = ""
    if state is None:
        state, error = _end(newest, at, log)
    progress = newest.get("progress")
    return Retraining(
        kind=started["kind"],
        dataset=Path(started["dataset"]),
        folder=folder,
        events=events,
        log=log,
        model=started["model"],
        started=at,
        state=state,
        progress=Step(*(progress[key] for key in Step._fields)) if progress else _NOT_YET,
        epochs=tuple(event["figures"] for event in told if event["event"] == "epoch"),
        error=error,
        side_by_side=SideBySide.from_json(compared["figures"]) if compared else None,
        note=newest.get("not compared", {}).get("reason", ""),
        pid=newest.get("running", {}).get("pid"),
    )


def _end(newest: Mapping[str, dict[str, Any]], at: datetime, log: Path) -> tuple[State, str]:
    """Return the state of a process that does not live, and the error if it failed."""
    for event, state in _ENDS.items():
        if event in newest:
            return state, newest[event].get("message", "")
    if "running" not in newest and datetime.now(UTC) - at < _STARTING:
        return "running", ""
    return "failed", _silence(log)


def _silence(log: Path) -> str:
    """Say what is known of a process that ended without a word."""
    text = log.read_text("utf-8", "replace").strip() if log.is_file() else ""
    words = f" Its last words: {text[-_LAST_WORDS:]}" if text else ""
    return (
        "The learning ended without a word: it was ended from outside, the machine was switched "
        "off, or the memory did not suffice. Nothing was made. Start it again; fewer images need "
        f"less memory.{words}"
    )


def _beside(out: Path, suffix: str) -> Path:
    return out.with_name(out.name + suffix)


def _check_free(out: Path) -> None:
    events = events_file(out)
    if events.is_file() and read_retraining(events).state == "running":
        raise TrainingError(f"{out} is being trained. Wait, stop it, or choose a new name.")
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise OutputError(f"{out} is there already; nothing was touched. Choose a new name.")


def _launch(events: Path, log: Path) -> None:
    command = [sys.executable, "-m", "hematovision.retraining.worker", str(events)]
    flags = 0
    if sys.platform == "win32":  # pragma: no cover - another system
        flags = subprocess.CREATE_NEW_PROCESS_GROUP
    with writing(log), log.open("wb") as stream:
        process = subprocess.Popen(  # noqa: S603 - our own module, by this interpreter
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C at the server is not meant for it.
            creationflags=flags,
        )
    # Somebody has to take note of its end, or it stays in the system's list until ours.
    threading.Thread(target=process.wait, daemon=True).start()


def _wait(until: Callable[[], bool]) -> None:
    end = time.monotonic() + _ENDING
    while not until() and time.monotonic() < end:
        time.sleep(0.05)
