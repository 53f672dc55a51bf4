"""Training in a separate process, which any other process can start, watch and stop.

The training process appends events, lines of JSON, to a file next to the run folder. Other
processes read that file, so they never import TensorFlow, and can be restarted during a training.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from io import FileIO
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from hematovision.errors import DatasetError, OutputError, TrainingError
from hematovision.files import ensure_folder, is_held, open_own, write_bytes, writing

__all__ = [
    "Epoch", "EventLog", "Kind", "ModelComparison", "Retraining", "Scores", "State", "Step",
    "append_event", "events_file", "first_event", "lock_file", "read_events", "read_retraining",
    "retrainings", "start_retraining", "work_folder",
]  # fmt: skip

Kind: TypeAlias = Literal["train", "adapt"]
State: TypeAlias = Literal["running", "done", "failed", "stopped"]
Epoch: TypeAlias = Mapping[str, float]
"""A finished epoch: ``epoch`` from 1, ``loss``, ``accuracy``, ``val_loss``, ``val_accuracy``."""

_EVENTS = ".events.jsonl"
_LOG = ".log"
_STARTING = timedelta(seconds=30)  # for a new process to hold its lock
_STOPPING = 10.0  # seconds for a process to end
_PROGRESS_INTERVAL = 0.2  # seconds between two progress events of a step
_MAX_LOG = 300  # characters of the log in an error message
_END_STATES: Mapping[str, State] = {"done": "done", "error": "failed", "stopped": "stopped"}


# --- events --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scores:
    """How well a model predicts the cells of a comparison."""

    name: str
    balanced_accuracy: float
    accuracy: float
    errors: int


@dataclass(frozen=True)
class ModelComparison:
    """The old and the new model on cells that the new one was not trained on."""

    n: int  # number of cells
    old: Scores
    new: Scores
    verdict: str  # which model is better, if the cells show it
    note: str = ""  # caveats; may be empty

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-serialisable description."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ModelComparison:
        """Rebuild a comparison from `to_json`'s output."""
        return cls(**{**value, "old": Scores(**value["old"]), "new": Scores(**value["new"])})


class EventLog:
    """A `Progress`, with epochs and notes, that appends events to an open file.

    `stream` is opened for appending, unbuffered.
    """

    def __init__(self, stream: FileIO) -> None:
        self._stream = stream
        self._written: dict[str, float] = {}
        self._epochs = 0

    def write(self, event: str, **values: Any) -> None:
        """Append an event."""
        self._stream.write(_line(event, values))

    def __call__(self, done: int, total: int, what: str, unit: str = "", /) -> None:
        """Append progress at most five times a second, and at the end of a step."""
        now = time.monotonic()
        if done < total and now - self._written.get(what, -_PROGRESS_INTERVAL) < _PROGRESS_INTERVAL:
            return
        self._written[what] = now
        self.write("progress", done=done, total=total, what=what, unit=unit)

    def epoch(self, metrics: Mapping[str, float], what: str, /) -> None:
        """Append a finished epoch; epochs are numbered across stages."""
        self._epochs += 1
        self.write("epoch", what=what, figures={**metrics, "epoch": self._epochs})

    def note(self, sentence: str, /) -> None:
        """Append a note to the user."""
        self.write("note", sentence=sentence)


def first_event(path: Path, event: str, **values: Any) -> None:
    """Create the file with its first event, atomically; raise `OutputError` on failure."""
    write_bytes(path, _line(event, values))


def append_event(path: Path, event: str, **values: Any) -> None:
    """Append an event from a process other than the training process.

    Raises `OutputError` if the file can't be written, or is a link.
    """
    with open_own(path) as stream, writing(path):
        # The training process may have been killed in the middle of a line.
        stream.write(b"\n" + _line(event, values))


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the events in a file; skip incomplete lines."""
    for line in path.read_bytes().splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict) and "event" in value:
            yield value


def _line(event: str, values: Mapping[str, Any]) -> bytes:
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    return json.dumps({"event": event, "at": at, **values}).encode() + b"\n"


# --- retrainings ---------------------------------------------------------------------------------


class Step(NamedTuple):
    """Progress of the current step; 0 of 0 before the first."""

    done: int = 0
    total: int = 0
    what: str = ""
    unit: str = ""


_NOT_STARTED = Step()


@dataclass(frozen=True)
class Retraining:
    """A snapshot of a training's state; `refresh` reads it again."""

    # kind, dataset, model: see `start_retraining`
    kind: Kind
    dataset: Path
    folder: Path  # the run folder; it exists once the state is ``"done"``
    # the event file, and the process's other output
    events: Path
    log: Path
    model: str | None
    started: datetime  # UTC
    state: State
    progress: Step = _NOT_STARTED
    epochs: tuple[Epoch, ...] = ()  # finished epochs; empty when adapting
    notes: tuple[str, ...] = ()  # for the user
    # why the training failed, and why the models could not be compared; otherwise empty
    error: str = ""
    comparison: ModelComparison | None = None  # with the old model, once both have been evaluated
    not_compared: str = ""
    pid: int | None = None  # process id, once started

    def refresh(self) -> Retraining:
        """Return the current state."""
        return read_retraining(self.events)

    def stop(self) -> Retraining:
        """End the process, delete its unfinished output, and return the new state.

        A finished training is not changed.
        """
        # The pid is written under the lock, and valid only while the lock is held.
        _wait(lambda: self.refresh().pid is not None or self.refresh().state != "running")
        now = self.refresh()
        if now.state != "running":
            return now
        if now.pid is not None and is_held(lock_file(self.events)):
            os.kill(now.pid, signal.SIGTERM)
            _wait(lambda: not is_held(lock_file(self.events)))
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
    """Start training in a separate process, which outlives this one; return at once.

    Events are written to ``OUT.events.jsonl``, other output to ``OUT.log``.

    Raises `TrainingError` if there is no model to adapt, or `out` is already being trained. Raises
    `DatasetError` if `dataset` does not exist. Raises `OutputError` if `out` already exists or
    can't be written.

    Parameters
    ----------
    kind : {"train", "adapt"}
        Train a new model on the dataset, or adapt `model` to it.
    dataset : Path
        Class folders.
    out : Path
        The run folder to create; must be missing or empty. It appears when it is complete.
    model : str, Path or None
        A bundled model's name or a run folder to adapt, and to compare the new model with. A new
        model uses its taxonomy, or with None, that of the folder names.
    """
    dataset, out = Path(dataset).resolve(), Path(out).resolve()
    if kind == "adapt" and model is None:
        raise TrainingError("Adapting needs a model to start from. Received: None. Choose one.")
    if not dataset.is_dir():
        raise DatasetError(f"There is no folder {dataset} to train on. Export one first.")
    _check_free(out)
    events, log = events_file(out), _sibling(out, _LOG)
    ensure_folder(out.parent)
    shutil.rmtree(work_folder(out), ignore_errors=True)
    for path in (log, events):  # of an earlier attempt that failed
        path.unlink(missing_ok=True)
    first_event(
        events,
        "started",
        kind=kind,
        dataset=str(dataset),
        folder=str(out),
        model=None if model is None else str(model),
        seed=seed,
    )
    _launch(events, log)
    return read_retraining(events)


def read_retraining(events: Path) -> Retraining:
    """Return the state of a training from its event file.

    Raises `OutputError` if it is not an event file, or can't be read.
    """
    try:
        read = list(read_events(events))
        while not any(event["event"] in _END_STATES for event in read):
            if is_held(lock_file(events)):
                return _retraining(events, read, "running")
            # The process may have started or ended between reading and checking the lock.
            before, read = read, list(read_events(events))
            if read == before:
                break
        return _retraining(events, read)
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise OutputError(
            f"{events} is not a training's event file ({error}). Expected a file created by "
            "start_retraining; start a new training."
        ) from error


def retrainings(folder: Path) -> list[Retraining]:
    """Return the trainings whose run folders are, or will be, in a folder; newest first."""
    found = [read_retraining(path) for path in folder.glob(f"*{_EVENTS}")]
    return sorted(found, key=lambda retraining: retraining.started, reverse=True)


def events_file(out: Path) -> Path:
    """Return the event file of a run folder."""
    return _sibling(out, _EVENTS)


def lock_file(events: Path) -> Path:
    """Return the lock file that the training process of an event file holds while it runs."""
    return events.with_name(f"{events.name}.lock")


def work_folder(out: Path) -> Path:
    """Return the hidden folder in which a run folder is built."""
    return out.with_name(f".{out.name}.training")


def _step(event: Mapping[str, Any]) -> Step:
    """Return the step of an event; those of earlier versions have no unit."""
    return Step(event["done"], event["total"], event["what"], event.get("unit", ""))


def _retraining(
    events: Path, read: Sequence[dict[str, Any]], state: State | None = None
) -> Retraining:
    newest = {event["event"]: event for event in read}
    started, compared = newest["started"], newest.get("compared")
    folder, at = Path(started["folder"]), datetime.fromisoformat(started["at"])
    log, error = _sibling(folder, _LOG), ""
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
        progress=_step(progress) if progress else _NOT_STARTED,
        epochs=tuple(event["figures"] for event in read if event["event"] == "epoch"),
        notes=tuple(event["sentence"] for event in read if event["event"] == "note"),
        error=error,
        comparison=ModelComparison.from_json(compared["figures"]) if compared else None,
        not_compared=newest.get("not compared", {}).get("reason", ""),
        pid=newest.get("running", {}).get("pid"),
    )


def _end(newest: Mapping[str, dict[str, Any]], at: datetime, log: Path) -> tuple[State, str]:
    """Return the state of a training whose process is not running, and its error."""
    for event, state in _END_STATES.items():
        if event in newest:
            return state, newest[event].get("message", "")
    if "running" not in newest and datetime.now(UTC) - at < _STARTING:
        return "running", ""
    text = log.read_text("utf-8", "replace").strip() if log.is_file() else ""
    output = f" Its last output: {text[-_MAX_LOG:]}" if text else ""
    return "failed", (
        "Training ended unexpectedly: the process was killed, the computer was switched off, or "
        "memory ran out. No model was saved. Start it again; fewer images need less memory."
        f"{output}"
    )


def _sibling(out: Path, suffix: str) -> Path:
    return out.with_name(out.name + suffix)


def _check_free(out: Path) -> None:
    events = events_file(out)
    if events.is_file() and read_retraining(events).state == "running":
        raise TrainingError(f"{out} is being trained. Wait, stop it, or choose a new name.")
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise OutputError(f"{out} already exists; it was not changed. Choose a new name.")


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
            start_new_session=True,  # Ctrl-C at the server must not end it
            creationflags=flags,
        )
    # Wait for the process, or it stays a zombie until this process ends.
    threading.Thread(target=process.wait, daemon=True).start()


def _wait(until: Callable[[], bool]) -> None:
    end = time.monotonic() + _STOPPING
    while not until() and time.monotonic() < end:
        time.sleep(0.05)
