"""The process that learns: ``python -m hematovision.retraining.worker EVENTS``.

What to do stands in the first line of the file of events; what comes of it is appended there. See
`learning.start_retraining`.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hematovision.errors import HematoVisionError
from hematovision.files import ensure_folder, hold, writing
from hematovision.retraining.events import EventLog, SideBySide, read_events
from hematovision.retraining.run import work_folder

__all__ = ["COMPARISON", "main"]

COMPARISON = "comparison"
"""The folder in a run folder with ``compare.html``."""

_NICER = 5  # Whoever classifies meanwhile goes first.


@dataclass(frozen=True)
class _Task:
    kind: str
    dataset: Path
    out: Path
    model: str | None
    seed: int


def main(arguments: Sequence[str]) -> int:
    """Learn what a file of events asks for; return the process's exit code."""
    events = Path(arguments[0])
    with events.open("ab", buffering=0) as stream:
        hold(stream)
        told = list(read_events(events))
        if any(event["event"] == "stopped" for event in told):
            return 0
        log = EventLog(stream)
        log.write("running", pid=os.getpid())
        try:
            _learn(_task(told[0]), log)
        except HematoVisionError as error:
            log.write("error", message=str(error))
            return 1
        log.write("done")
    return 0


def _task(started: dict[str, Any]) -> _Task:
    return _Task(
        kind=started["kind"],
        dataset=Path(started["dataset"]),
        out=Path(started["folder"]),
        model=started["model"],
        seed=started["seed"],
    )


def _learn(task: _Task, log: EventLog) -> None:
    """Make the run folder beside its place, under its name, and move it there when all is done."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    work = work_folder(task.out)
    run = ensure_folder(work) / task.out.name
    try:
        if task.kind == "adapt":
            _adapt(task, run, log)
        else:
            _train(task, run, log)
        with writing(task.out):
            if task.out.exists():
                task.out.rmdir()
            run.rename(task.out)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _adapt(task: _Task, run: Path, log: EventLog) -> None:
    from hematovision.retraining.comparison import adapted_beside_old
    from hematovision.workflows.adapt import adapt

    model = task.model or ""
    result = adapt(model, task.dataset, out=run, seed=task.seed, progress=log)
    _tell(adapted_beside_old(model, result), log)


def _train(task: _Task, run: Path, log: EventLog) -> None:
    from hematovision.retraining.comparison import compare_models
    from hematovision.workflows.train import TrainOptions, train

    options = TrainOptions(taxonomy=_taxonomy(task.model), seed=task.seed)
    train(task.dataset, run, options, progress=log)
    if task.model is None:
        return
    try:
        found = compare_models(task.model, run, task.dataset, run / COMPARISON, progress=log)
    except HematoVisionError as error:
        # The model is made, and good or bad by its own figures.
        log.write("not compared", reason=str(error))
    else:
        _tell(found, log)


def _tell(found: SideBySide | None, log: EventLog) -> None:
    if found is not None:
        log.write("compared", figures=found.to_json())


def _taxonomy(model: str | None) -> str | None:
    """Keep the classes of the old model; else eight classes of white cells would become one."""
    from hematovision.model.bundle import read_bundle
    from hematovision.model.registry import find_model
    from hematovision.taxonomy import TAXONOMIES

    if model is None:
        return None
    name = read_bundle(find_model(model)).taxonomy.name
    return name if name in TAXONOMIES else "folders"


if __name__ == "__main__":  # pragma: no cover - in a process of its own
    if hasattr(os, "nice"):
        os.nice(_NICER)
    sys.exit(main(sys.argv[1:]))
