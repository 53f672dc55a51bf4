"""Measure lost and duplicate decisions with two reviewers at once, and after killing the program.

    python -m benchmarks.reviewers [--cells 1000] [--kills 20]

The second row needs PostgreSQL's programs; its server runs on loopback and is removed afterwards.
Killing needs a system with SIGKILL.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

from hematovision.files import sha256_bytes
from hematovision.model.prediction import Prediction
from hematovision.review.records import ModelRef, NewPrediction
from hematovision.review.store import ReviewStore

ROOT = Path(__file__).resolve().parent.parent
CLASSES = ("RBC", "WBC", "Platelets")
MODEL = ModelRef("three classes", sha256_bytes(b"three classes"), CLASSES)
REVIEWERS = ("Ana", "Ben")
IMAGE = b"\x89PNG\r\n\x1a\n" + bytes(20_000)  # as large as that of a cell


def doubtful(key: object) -> NewPrediction:
    """Make a prediction for review, of an image unique to `key`."""
    numbers = (0.5, 0.3, 0.2)
    prediction = Prediction("", CLASSES, "RBC", numbers, 0.5, 1.0, "review", "low confidence")
    return NewPrediction(f"{key}.png", sha256_bytes(str(key).encode()), prediction, IMAGE)


# --- two at once ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Together:
    """The results of two reviewers at once; `both` counts cells that were assigned to both."""

    seconds: float
    lost: int
    doubled: int
    both: int


def two_reviewers(url: str, cells: int) -> Together:
    """Let two processes review `cells` cells until none wait, and check the records."""
    with ReviewStore.open(url) as store:
        store.record(store.start_batch(MODEL), [doubtful(i) for i in range(cells)])
    people = [start("review", url, who) for who in REVIEWERS]
    for person in people:
        person.stdout.readline()  # has opened the records
    began = time.time()
    for person in people:
        person.stdin.write("go\n")
        person.stdin.flush()
    reported = [json.loads(person.communicate()[0]) for person in people]
    seconds = max(one["ended"] for one in reported) - began
    with ReviewStore.open(url) as store:
        steps = Counter(
            step.prediction_id for who in REVIEWERS for step in store.recent(who, 3 * cells)
        )
        kept = {(cell.prediction.id, cell.reviewer) for cell in store.reviewed(MODEL.sha256)}
        waiting = sum(queue.waiting for queue in store.queues())
    confirmed = {
        (i, who) for who, one in zip(REVIEWERS, reported, strict=True) for i in one["decided"]
    }
    missing = len(confirmed - kept) + waiting + max(0, cells - len(steps))
    doubled = sum(n - 1 for n in steps.values())
    both = len(set(reported[0]["claimed"]) & set(reported[1]["claimed"]))
    return Together(seconds, missing, doubled, both)


def start(job: str, url: str, *arguments: str) -> subprocess.Popen:
    """Start a process of this program; the URL, with its password, is not on its command line."""
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.reviewers", "--job", job, *arguments],
        cwd=ROOT,
        env={**os.environ, "HEMATOVISION_DATABASE_URL": url},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def review(who: str) -> None:
    """Claim twelve cells at a time and decide on each, until none wait."""
    claimed, decided = [], []
    with ReviewStore.open() as store:
        print("ready", flush=True)
        sys.stdin.readline()
        while cells := store.claim(who, MODEL.sha256, 12):
            claimed += [cell.prediction.id for cell in cells]
            for cell in cells:
                label = CLASSES[cell.prediction.id % len(CLASSES)]
                decided.append(store.decide(cell.prediction.id, who, label).prediction_id)
    print(json.dumps({"claimed": claimed, "decided": decided, "ended": time.time()}))


# --- killed --------------------------------------------------------------------------------------


def kills(url: str, times: int) -> dict[str, Any]:
    """Kill a program that records and decides `times` times, and check the records."""
    process = start("kills", url, str(times))
    return dict(json.loads(process.communicate()[0]))


def kill_often(times: int) -> None:
    """Kill one child after the other; each continues on the database that the last one left."""
    generator = random.Random(0)
    confirmed: list[list[Any]] = []
    for life in range(times):
        confirmed += one_life(life, generator.randint(1, 12), generator.uniform(0, 0.02))
    with ReviewStore.open() as store:
        lost = sum(not is_there(store, step) for step in confirmed)
        waits = len(store.claim("afterwards", MODEL.sha256))
    kinds = Counter(step[0] for step in confirmed)
    print(json.dumps({"confirmed": kinds, "lost": lost, "continues": waits > 0}))


def one_life(life: int, least: int, seconds: float) -> list[list[Any]]:
    """Kill a child `seconds` after its step number `least`; return all that it had confirmed."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        work_until_killed(life, into)
    os.close(into)
    with os.fdopen(out) as lines:
        first = [lines.readline() for _ in range(least)]
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            raise RuntimeError("the child ended before it was killed; its error is above")
        return [json.loads(line) for line in (*first, *lines)]


def work_until_killed(life: int, into: int) -> NoReturn:
    """Record, decide and undo for ever; report each step once it is confirmed."""
    try:
        with ReviewStore.open() as store:
            batch = store.start_batch(MODEL)
            for step in steps(store, batch, f"reviewer {life}"):
                os.write(into, (json.dumps(step) + "\n").encode())
    except Exception:  # noqa: BLE001
        traceback.print_exc()
    finally:
        os._exit(1)  # never back into what the parent does next


def steps(store: ReviewStore, batch: int, who: str) -> Iterator[list[Any]]:
    """Yield each step: its kind, the number of the prediction, and what identifies it."""
    for i in count():
        new = [doubtful(f"{who} {i} {j}") for j in range(3)]
        for number, prediction in zip(store.record(batch, new), new, strict=True):
            yield ["recorded", number, batch, prediction.sha256]
        for cell in store.claim(who, MODEL.sha256, 2):
            done = store.decide(cell.prediction.id, who, "WBC")
            yield ["decided", done.prediction_id, done.number, who, done.after]
        if i % 2:
            undone = store.undo(who)
            assert undone is not None
            yield ["undone", undone.prediction_id, undone.number, who, undone.after]


def is_there(store: ReviewStore, step: list[Any]) -> bool:
    """Whether the records hold a step that had been confirmed."""
    kind, number, *what = step
    if kind == "recorded":
        batch, sha256 = what
        return any(one.id == number and one.image == sha256 for one in store.predictions(batch))
    history = store.history(number)
    return any([one.number, one.reviewer, one.after] == what for one in history)


# --- the report ----------------------------------------------------------------------------------


def report(cells: int, times: int) -> None:
    """Print the tables."""
    from tests.postgresql_server import NoServerError, postgresql

    print(f"| {cells} corrections, two reviewers at once | seconds | lost | duplicates |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        row("SQLite", two_reviewers(f"sqlite:///{folder}/together.sqlite3", cells))
        try:
            with postgresql(safe=True) as url:
                row("PostgreSQL", two_reviewers(url, cells))
        except NoServerError as error:
            print(f"| PostgreSQL | {error} | | |")
        print("\n| SQLite, killed | steps confirmed | lost | opens again |\n|---|---|---|---|")
        found = kills(f"sqlite:///{folder}/killed.sqlite3", times)
        confirmed, again = sum(found["confirmed"].values()), "yes" if found["continues"] else "no"
        print(f"| {times} times | {confirmed} | {found['lost']} | {again} |")


def row(name: str, found: Together) -> None:
    """Print a row of the first table; a cell assigned to both counts as a duplicate."""
    print(f"| {name} | {found.seconds:.1f} | {found.lost} | {found.doubled + found.both} |")


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--job", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.job is None:
        report(chosen.cells, chosen.kills)
    elif chosen.job[0] == "review":
        review(chosen.job[1])
    else:
        kill_often(int(chosen.job[1]))


if __name__ == "__main__":
    main()
