"""Concurrent reviewers and writers, and killed ones: nothing is lost or done twice."""

import sqlite3
import sys
import threading
from contextlib import closing, suppress

import pytest
from sqlalchemy import select

from benchmarks.reviewers import kills, two_reviewers
from hematovision.review import decisions
from hematovision.review.database import Database, DecisionRow
from hematovision.review.decisions import recent
from hematovision.review.repository import find_prediction
from hematovision.review.store import ReviewStore
from review_predictions import MODEL, new, png

CELLS = 240  # `benchmarks/reviewers.py` takes a thousand.


def test_two_reviewers_at_once_lose_no_cell_and_share_none(ready_url):
    found = two_reviewers(ready_url, CELLS)
    assert (found.lost, found.doubled, found.both) == (0, 0, 0)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL and fork are not there")
def test_confirmed_steps_survive_twenty_kills(quick_folder):
    path = quick_folder / "records.sqlite3"
    found = kills(f"sqlite:///{path}", 20)
    assert set(found["confirmed"]) == {"recorded", "decided", "undone"}
    assert sum(found["confirmed"].values()) >= 20
    assert found["lost"] == 0
    assert found["continues"]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def in_threads(*calls):
    """Run every call in its own thread; return the errors."""
    errors = []
    start = threading.Barrier(len(calls))

    def run(call):
        start.wait()
        try:
            call()
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_threads_can_share_a_store(store):
    numbers = store.record(store.start_batch(MODEL), [new(i) for i in range(40)])

    def review(who):
        while cells := store.claim(who, MODEL.sha256, 3):
            for cell in cells:
                store.decide(cell.prediction.id, who, "WBC")

    assert in_threads(*(lambda who=who: review(who) for who in ("Ana", "Ben", "Zoe"))) == []
    assert [len(store.history(number)) for number in numbers] == [1] * 40


def test_one_person_with_two_windows_causes_no_deadlock(store):
    numbers = store.record(store.start_batch(MODEL), [new(i) for i in range(30)])
    store.claim("Ana", MODEL.sha256, 30)

    def window(mine):
        for number in mine:
            store.decide(number, "Ana", "WBC")
            store.claim("Ana", MODEL.sha256, 5)

    assert in_threads(lambda: window(numbers[::2]), lambda: window(numbers[1::2])) == []
    assert store.agreement(MODEL.sha256).matrix.sum() == 30


def test_the_same_model_and_the_same_cells_come_from_several_at_once(store):
    batch = store.start_batch(MODEL)
    numbers = store.record(batch, [new(i, decision="accepted") for i in range(20)])
    queued = []

    def send(order):
        queued.append(store.send_to_review({i: png(i) for i in order}))

    assert in_threads(*(lambda o=o: send(numbers[::o]) for o in (1, -1, 1))) == []
    assert sum(queued) == 20

    def other(i):
        store.start_batch(type(MODEL)("new", f"{i % 2:064}", ("a", "b")))

    assert in_threads(*(lambda i=i: other(i) for i in range(6))) == []
    assert len(store.models()) == 3


def test_records_written_during_deletions_are_complete(store):
    def record():
        for i in range(10):
            store.record(store.start_batch(MODEL), [new(f"{i} {j}") for j in range(3)])
            for cell in store.claim("Ana", MODEL.sha256, 2):
                store.decide(cell.prediction.id, "Ana", "WBC")

    def delete():
        for _ in range(5):
            store.delete_batch(store.start_batch(MODEL), "Ben")
            store.apply_retention()

    assert in_threads(record, delete) == []
    assert sum(batch.n for batch in store.batches()) == 30
    assert store.agreement(MODEL.sha256).matrix.sum() == 20


def test_undo_reads_again_after_waiting_for_a_lock(new_database):
    """Ana undoes in two windows: the second waits, and then takes back the one before."""
    with ReviewStore.open(new_database()) as store:
        a, b = store.record(store.start_batch(MODEL), [new("a"), new("b")])
        store.claim("Ana", MODEL.sha256)
        store.decide(a, "Ana", "WBC")
        store.decide(b, "Ana", "WBC")
        assert in_threads(lambda: store.undo("Ana"), lambda: store.undo("Ana")) == []
        assert [len(store.history(number)) for number in (a, b)] == [2, 2]


def test_a_replaced_decision_cannot_be_undone(new_database):
    url = new_database()
    with ReviewStore.open(url) as store, closing(Database.open(url)) as database:
        [a] = store.record(store.start_batch(MODEL), [new("a")])
        store.claim("Ana", MODEL.sha256)
        at = store.decide(a, "Ana", "WBC").at
        undone = []
        thread = threading.Thread(target=lambda: undone.append(store.undo("Ana")))
        with database.writing() as session:
            find_prediction(session, a)
            assert len(recent(session, "Ana", 2)) == 1
            thread.start()
            thread.join(0.5)  # waits for the lock
            values = {"kind": "class", "reviewer": "Ben", "at": at, "before": "WBC", "stands": 2}
            session.add(DecisionRow(prediction_id=a, number=2, after="RBC", **values))
        thread.join()
        assert undone == [None]
        with database.reading() as session:
            assert session.scalars(select(DecisionRow.number)).all() == [1, 2]


def test_two_writers_that_record_one_image_at_the_same_instant_queue_it_once(
    ready_url, monkeypatch
):
    """Both read before either writes; on SQLite, one of them waits."""
    both_have_read = threading.Barrier(2)
    known = decisions.known

    def known_to_both(*arguments):
        found = known(*arguments)
        with suppress(threading.BrokenBarrierError):
            both_have_read.wait(0.5)
        return found

    monkeypatch.setattr(decisions, "known", known_to_both)
    with ReviewStore.open(ready_url) as store:
        batches = [store.start_batch(MODEL) for _ in range(2)]
        cells = [new("a"), new("b")]

        def record(batch, order):
            store.record(batch, cells[::order])

        writers = [lambda: record(batches[0], 1), lambda: record(batches[1], -1)]
        assert in_threads(*writers) == []
        assert [queue.waiting for queue in store.queues()] == [2]
        assert [len(store.predictions(batch)) for batch in batches] == [2, 2]
        assert store.apply_retention() is None  # the image of the other one was not kept
