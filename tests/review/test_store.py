"""Recording, claiming and deciding, on both databases."""

from datetime import UTC, timedelta

import numpy as np
import pytest

from hematovision.errors import ReviewConflictError, ReviewError
from hematovision.review.records import Decision, NewPrediction, Queue
from hematovision.review.store import ReviewStore
from review_predictions import CLASSES, MODEL, OTHER, new, png, predicted


def recorded(store: ReviewStore, *predictions: NewPrediction) -> list[int]:
    return store.record(store.start_batch(MODEL), predictions)


def three_cells(store: ReviewStore) -> list[int]:
    return recorded(store, new("a"), new("b", confidence=0.7), new("c", confidence=0.8))


def claimed(store: ReviewStore, who: str, n: int = 12) -> list[int]:
    return [cell.prediction.id for cell in store.claim(who, MODEL.sha256, n)]


def test_a_prediction_is_returned_as_it_was_recorded(store, clock):
    batch = store.start_batch(MODEL)
    probabilities = (0.1, 0.6000000000000001, 0.3)
    made = new("a", "WBC", 0.6000000000000001, probabilities=probabilities, novelty=1.25)
    [number] = store.record(batch, [made])
    [kept] = store.predictions(batch)
    assert (kept.id, kept.batch, kept.name, kept.image) == (
        number,
        batch,
        "a.png",
        made.sha256,
    )
    assert (kept.model, kept.label, kept.decision) == (MODEL, "WBC", "review")
    assert (kept.probabilities, kept.confidence, kept.novelty) == (
        probabilities,
        0.6000000000000001,
        1.25,
    )
    assert (kept.reason, kept.at, kept.at.tzinfo) == ("low confidence", clock.now, UTC)


def test_ids_are_in_the_order_of_predictions_without_refused_ones(store):
    batch = store.start_batch(MODEL)
    refused = NewPrediction(
        "bad", "0" * 64, predicted(None, decision="refused", error="empty"), None
    )
    numbers = store.record(batch, [new("a"), refused, *(new(i) for i in range(30))])
    assert len(numbers) == 31
    names = {each.id: each.name for each in store.predictions(batch)}
    assert [names[n] for n in numbers] == ["a.png", *(f"{i}.png" for i in range(30))]
    assert store.record(batch, [refused]) == []


def test_batches_count_their_predictions_newest_first(store, clock):
    first = store.start_batch(MODEL)
    store.record(first, [new("a"), new("b", decision="accepted"), new("c", decision="accepted")])
    clock.advance(days=1)
    second = store.start_batch(OTHER)
    newest, older = store.batches()
    assert (newest.id, newest.model, newest.n) == (second, OTHER, 0)
    assert (older.id, older.n, older.accepted, older.review) == (first, 3, 2, 1)
    assert newest.at - older.at == timedelta(days=1)
    assert [batch.id for batch in store.batches(limit=1)] == [second]
    assert store.models() == [MODEL, OTHER]


def test_the_queue_hands_out_the_least_certain_first(store):
    numbers = recorded(
        store,
        new("sure", confidence=0.79),
        new("unlike", confidence=0.95, novelty=2.5),  # 1 / 2.5 = 0.4
        new("unsure", confidence=0.45),
        new("ordinary", confidence=0.5, novelty=0.2),
        new("accepted", decision="accepted"),
        new("without image", png=None),
    )
    waiting = store.claim("Ana", MODEL.sha256)
    assert [cell.prediction.id for cell in waiting] == [numbers[i] for i in (1, 2, 3, 0)]
    assert [cell.png for cell in waiting] == list(
        map(png, ("unlike", "unsure", "ordinary", "sure"))
    )


def test_queues_count_what_waits_and_what_is_held(store, clock):
    three_cells(store)
    store.record(store.start_batch(OTHER), [])
    assert store.queues() == [Queue(MODEL, 3, 0)]
    store.claim("Ana", MODEL.sha256, 2)
    assert store.queues() == [Queue(MODEL, 3, 2)]
    clock.advance(minutes=11)
    assert store.queues() == [Queue(MODEL, 3, 0)]


def test_claimed_cells_are_nobody_elses_until_they_are_given_back(store):
    a, b, c = three_cells(store)
    assert claimed(store, "Ana", 2) == [a, b]
    assert claimed(store, "Ben") == [c]
    assert claimed(store, "Ana") == [a, b]
    assert store.release("Ana") == 2
    assert store.release("Ana") == 0
    assert claimed(store, "Ben") == [c, a, b]
    assert store.claim("Ben", OTHER.sha256) == []


def test_one_who_claims_again_gets_their_own_cells_first(store):
    a, b, c = three_cells(store)
    assert claimed(store, "Ana", 1) == [a]
    assert claimed(store, "Ben", 1) == [b]
    store.release("Ana")
    assert claimed(store, "Ben", 2) == [b, a]
    assert claimed(store, "Ben", 1) == [a]  # of his own, the least certain
    assert claimed(store, "Ana") == [c]


def test_an_expired_claim_goes_to_the_next_and_a_late_decision_is_rejected(store, clock):
    [a] = recorded(store, new("a"))
    store.claim("Ana", MODEL.sha256, lease=timedelta(minutes=5))
    clock.advance(minutes=4)
    assert claimed(store, "Ben") == []
    clock.advance(minutes=1)
    assert claimed(store, "Ben") == [a]
    with pytest.raises(ReviewConflictError, match=r"claimed by 'Ben'.*claim of 'Ana' has expired"):
        store.decide(a, "Ana", "WBC")
    assert store.history(a) == []
    store.decide(a, "Ben", "RBC")
    with pytest.raises(ReviewConflictError, match=r"decided by 'Ben' at 2026-03-01 12:05 UTC: RBC"):
        store.decide(a, "Ana", "WBC")
    assert len(store.history(a)) == 1


def test_a_late_decision_counts_while_nobody_else_has_asked(store, clock):
    [a] = recorded(store, new("a"))
    claimed(store, "Ana")
    clock.advance(hours=2)
    assert store.decide(a, "Ana", "WBC").after == "WBC"


def test_a_decision_renews_the_other_claims_but_never_shortens_them(store, clock):
    a, b, c = three_cells(store)
    claimed(store, "Ana", 2)
    clock.advance(minutes=9)
    store.decide(a, "Ana", "RBC")
    clock.advance(minutes=9)
    assert claimed(store, "Ben") == [c]
    store.claim("Ana", MODEL.sha256, lease=timedelta(hours=3))
    assert store.release("Ben") == 1
    clock.advance(hours=1)
    [*_, last] = claimed(store, "Ben")
    store.decide(last, "Ben", "RBC")
    clock.advance(hours=1)
    assert b not in claimed(store, "Ben")


def test_a_cell_that_is_not_claimed_cannot_be_decided(store):
    [a, accepted] = recorded(store, new("a"), new("b", decision="accepted"))
    with pytest.raises(ReviewConflictError, match="'Ana' has not claimed it"):
        store.decide(a, "Ana", "RBC")
    with pytest.raises(ReviewConflictError, match="is not waiting"):
        store.decide(accepted, "Ana", None)
    with pytest.raises(ReviewError, match="no prediction 4711"):
        store.decide(4711, "Ana", "RBC")


def test_only_classes_of_the_model_are_decided(store):
    [a] = recorded(store, new("a"))
    claimed(store, "Ana")
    for label in ("rbc", "a", "", "RBC; DROP TABLE prediction"):
        with pytest.raises(ReviewError, match="Its classes: RBC, WBC, Platelets"):
            store.decide(a, "Ana", label)
    assert claimed(store, "Ana") == [a]


def test_a_decision_has_its_reviewer_time_and_labels(store, clock):
    a, b, _ = three_cells(store)
    claimed(store, "Ana")
    clock.advance(minutes=1)
    decision = store.decide(a, "Ana", "WBC")
    assert decision == Decision(a, 1, "class", "Ana", clock.now, "RBC", "WBC")
    assert store.history(a) == [decision]
    unusable = store.decide(b, "Ana", None)
    assert (unusable.kind, unusable.before, unusable.after) == ("unusable", "RBC", None)
    assert store.recent("Ana") == [unusable, decision]
    assert store.recent("Ana", 1) == [unusable]
    assert store.recent("Ben") == []
    assert store.queues()[0].waiting == 1


def steps(store: ReviewStore, prediction_id: int) -> list[tuple[str, str | None, str | None]]:
    return [(step.kind, step.before, step.after) for step in store.history(prediction_id)]


def test_undo_appends_and_the_cell_waits_again_for_the_one_who_undid(store):
    a, *_ = three_cells(store)
    claimed(store, "Ana", 1)
    store.decide(a, "Ana", "WBC")
    undone = store.undo("Ana")
    assert (undone.prediction_id, undone.number, undone.kind) == (a, 2, "undo")
    assert store.queues() == [Queue(MODEL, 3, 1)]
    assert claimed(store, "Ben") != [a]
    store.decide(a, "Ana", None)
    store.undo("Ana")
    store.decide(a, "Ana", "RBC")
    assert steps(store, a) == [
        ("class", "RBC", "WBC"),
        ("undo", "WBC", "RBC"),
        ("unusable", "RBC", None),
        ("undo", None, "RBC"),
        ("class", "RBC", "RBC"),
    ]
    assert [step.number for step in store.recent("Ana")] == [5, 4, 3, 2, 1]


def test_undo_goes_back_step_by_step_and_then_there_is_none(store, clock):
    cells = three_cells(store)
    claimed(store, "Ana")
    for cell in cells:
        store.decide(cell, "Ana", "WBC")
    clock.advance(hours=-1)  # the computer's clock was set back
    assert [store.undo("Ana").prediction_id for _ in cells] == cells[::-1]
    assert store.undo("Ana") is None
    assert claimed(store, "Ana") == cells


def test_nobody_undoes_what_another_decided(store):
    a, b, _ = three_cells(store)
    claimed(store, "Ana", 1)
    store.decide(a, "Ana", "WBC")
    assert store.undo("Ben") is None
    claimed(store, "Ben", 1)
    store.decide(b, "Ben", "WBC")
    assert store.undo("Ben").prediction_id == b
    assert store.undo("Ben") is None
    assert len(store.history(a)) == 1


def test_a_decided_cell_can_be_looked_at_again_and_undo_restores_what_was_there(store):
    [a] = recorded(store, new("a"))
    claimed(store, "Ana")
    store.decide(a, "Ana", None)
    assert store.send_to_review({a: png("new")}) == 1
    [cell] = store.claim("Ben", MODEL.sha256)
    assert cell.png == png("a")
    assert store.agreement(MODEL.sha256).unusable == 0  # it is in doubt again
    store.decide(a, "Ben", "Platelets")
    assert store.undo("Ana") is None  # what she decided has been replaced
    assert store.agreement(MODEL.sha256).matrix.sum() == 1
    restored = store.undo("Ben")
    assert (restored.before, restored.after) == ("Platelets", None)
    assert steps(store, a)[1] == ("class", None, "Platelets")
    assert store.undo("Ana").prediction_id == a  # it is in force again, while Ben holds the cell
    assert claimed(store, "Ana") == []
    assert claimed(store, "Ben") == [a]
    assert store.history(a)[-1].after == "RBC"


def test_accepted_predictions_can_be_sent_to_review(store):
    [a, b] = recorded(store, new("a", decision="accepted"), new("b"))
    assert store.send_to_review({a: png("later"), b: png("later")}) == 1
    assert store.send_to_review({a: png("later")}) == 0
    found = {cell.prediction.id: cell.png for cell in store.claim("Ana", MODEL.sha256)}
    assert found == {a: png("later"), b: png("b")}
    assert store.predictions(1)[0].decision == "accepted"
    with pytest.raises(ReviewError, match="must be a PNG"):
        store.send_to_review({a: b"GIF89a"})
    with pytest.raises(ReviewError, match="no prediction 99"):
        store.send_to_review({99: png("x")})


def test_agreement_counts_only_decisions_in_force(store):
    cells = [new(i, label) for i, label in enumerate(("RBC", "RBC", "RBC", "WBC", "WBC"))]
    a, b, c, d, e = recorded(store, *cells)
    claimed(store, "Ana")
    store.decide(a, "Ana", "RBC")
    store.decide(b, "Ana", "WBC")
    store.decide(d, "Ana", "WBC")
    store.decide(e, "Ana", None)
    store.decide(c, "Ana", "Platelets")
    store.undo("Ana")
    agreement = store.agreement(MODEL.sha256)
    assert (agreement.model, agreement.classes, agreement.unusable) == (MODEL, CLASSES, 1)
    assert agreement.matrix.dtype == np.int64
    assert agreement.matrix.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    with pytest.raises(ReviewError, match="no records of a model"):
        store.agreement(OTHER.sha256)


def test_reviewed_yields_labelled_cells_with_their_images(store, monkeypatch):
    monkeypatch.setattr("hematovision.review.store._PAGE", 2)
    numbers = recorded(store, *(new(i, confidence=0.5 + i / 100) for i in range(6)))
    claimed(store, "Ana")
    for number in numbers[:4]:
        store.decide(number, "Ana", "WBC")
    store.decide(numbers[4], "Ana", None)
    cells = list(store.reviewed())
    assert [cell.prediction.id for cell in cells] == numbers[:4]
    assert [cell.png for cell in cells] == [png(i) for i in range(4)]
    assert {(cell.label, cell.reviewer) for cell in cells} == {("WBC", "Ana")}
    assert cells[0].at == store.history(numbers[0])[0].at
    assert list(store.reviewed(OTHER.sha256)) == []
    assert len(list(store.reviewed(MODEL.sha256))) == 4
