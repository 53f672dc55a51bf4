"""Writes a table in a process that is killed at its N-th step on disk, for every N.

``python killed_run.py FOLDER SUFFIX resume|over``: for each N a child classifies FOLDER/images into
a table of its own, is killed (SIGKILL) just before its N-th statement of SQL or its N-th rename or
removal of a file, and the run is resumed (or started over). Prints, as JSON, the number of steps
and those after which the table was not that of an uninterrupted run or a file was left behind.
"""

import json
import os
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from dots import DotCounter
from hematovision.images import iter_images
from hematovision.tables import store
from hematovision.workflows.classify import predict_table

store.COMMIT_SECONDS = 0.0


def table(folder: Path, out: Path, *, resume: bool = True) -> list[str]:
    """Write the table; return the images that were processed."""
    seen: list[str] = []
    with closing(store.RunImages(iter_images([folder / "images"]))) as images:
        predict_table(
            DotCounter(),
            images,
            out=out,
            resume=resume,
            explain=False,
            each=lambda result: seen.append(result.name),
            count=lambda values: None,
            progress=lambda *step: None,
        )
    return seen


def kill_at(step: int) -> None:
    """Kill this process just before its `step`-th step."""
    left = [step]

    def count(*_: object) -> None:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(method):
        def call(*arguments, **options):
            count()
            return method(*arguments, **options)

        return call

    connect = store.sqlite3.connect

    def traced(path) -> sqlite3.Connection:
        db = connect(path)
        if path:
            db.set_trace_callback(count)
        return db

    store.sqlite3.connect = traced
    Path.replace = counted(Path.replace)
    Path.unlink = counted(Path.unlink)


def main(folder: Path, suffix: str, how: str) -> None:
    resume, whole = how == "resume", folder / f"whole{suffix}"
    table(folder, whole, resume=False)
    expected, wrong, step, status = whole.read_bytes(), [], 0, 1
    while status:
        step += 1
        out = folder / str(step) / f"t{suffix}"
        child = os.fork()
        if not child:
            kill_at(step)
            table(folder, out)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        table(folder, out, resume=resume)
        left = {path.name for path in out.parent.iterdir()}
        kept = {out.name, f"{out.name}.resume"} if resume else {out.name}
        if out.read_bytes() != expected or left != kept:
            wrong.append([step, sorted(left)])
        if resume and table(folder, out) != [str(folder / "images" / "broken.png")]:
            wrong.append([step, "processed again"])
    print(json.dumps({"steps": step, "wrong": wrong}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
