"""Recording, claiming and deciding, on both databases."""

from datetime import UTC, timedelta

import numpy as np
import pytest

from answers_to_review import CLASSES, MODEL, OTHER, new, png, said
from hematovision.errors import ReviewConflictError, ReviewError
from hematovision.review.records import Decision, NewPrediction, Queue
from hematovision.review.service import ReviewService


def recorded(service: ReviewService, *answers: NewPrediction) -> list[int]:
    return service.record(service.start_batch(MODEL), answers)


def three_cells(service: ReviewService) -> list[int]:
    return recorded(service, new("a"), new("b", confidence=0.7), new("c", confidence=0.8))


def claimed(service: ReviewService, who: str, n: int = 12) -> list[int]:
    return [cell.answer.id for cell in service.claim(who, MODEL.sha256, n)]


def test_an_answer_comes_back_as_it_was_recorded(service, clock):
    batch = service.start_batch(MODEL)
    probabilities = (0.1, 0.6000000000000001, 0.3)
    answer = new("a", "WBC", 0.6000000000000001, probabilities=probabilities, novelty=1.25)
    [number] = service.record(batch, [answer])
    [kept] = service.answers(batch)
    assert (kept.id, kept.batch, kept.name, kept.image) == (number, batch, "a.png", answer.sha256)
    assert (kept.model, kept.label, kept.decision) == (MODEL, "WBC", "review")
    assert (kept.probabilities, kept.confidence, kept.novelty) == (
        probabilities,
        0.6000000000000001,
        1.25,
    )
    assert (kept.reason, kept.at, kept.at.tzinfo) == ("low confidence", clock.now, UTC)


def test_numbers_come_in_the_order_of_the_answers_and_leave_out_refused_ones(service):
    batch = service.start_batch(MODEL)
    refused = NewPrediction("bad", "0" * 64, said(None, decision="refused", error="empty"), None)
    numbers = service.record(batch, [new("a"), refused, *(new(i) for i in range(30))])
    assert len(numbers) == 31
    names = {answer.id: answer.name for answer in service.answers(batch)}
    assert [names[n] for n in numbers] == ["a.png", *(f"{i}.png" for i in range(30))]
    assert service.record(batch, [refused]) == []


def test_batches_count_their_answers_newest_first(service, clock):
    first = service.start_batch(MODEL)
    service.record(first, [new("a"), new("b", decision="accepted"), new("c", decision="accepted")])
    clock.advance(days=1)
    second = service.start_batch(OTHER)
    newest, older = service.batches()
    assert (newest.id, newest.model, newest.n) == (second, OTHER, 0)
    assert (older.id, older.n, older.accepted, older.review) == (first, 3, 2, 1)
    assert newest.at - older.at == timedelta(days=1)
    assert [batch.id for batch in service.batches(limit=1)] == [second]
    assert service.models() == [MODEL, OTHER]


def test_the_queue_hands_out_the_least_certain_first(service):
    numbers = recorded(
        service,
        new("sure", confidence=0.79),
        new("unlike", confidence=0.95, novelty=2.5),  # 1 / 2.5 = 0.4
        new("unsure", confidence=0.45),
        new("ordinary", confidence=0.5, novelty=0.2),
        new("accepted", decision="accepted"),
        new("without picture", picture=None),
    )
    waiting = service.claim("Ana", MODEL.sha256)
    assert [cell.answer.id for cell in waiting] == [numbers[i] for i in (1, 2, 3, 0)]
    assert [cell.picture for cell in waiting] == list(
        map(png, ("unlike", "unsure", "ordinary", "sure"))
    )


def test_queues_count_what_waits_and_what_is_held(service, clock):
    three_cells(service)
    service.record(service.start_batch(OTHER), [])
    assert service.queues() == [Queue(MODEL, 3, 0)]
    service.claim("Ana", MODEL.sha256, 2)
    assert service.queues() == [Queue(MODEL, 3, 2)]
    clock.advance(minutes=11)
    assert service.queues() == [Queue(MODEL, 3, 0)]


def test_claimed_cells_are_nobody_elses_until_they_are_given_back(service):
    a, b, c = three_cells(service)
    assert claimed(service, "Ana", 2) == [a, b]
    assert claimed(service, "Ben") == [c]
    assert claimed(service, "Ana") == [a, b]
    assert service.release("Ana") == 2
    assert service.release("Ana") == 0
    assert claimed(service, "Ben") == [c, a, b]
    assert service.claim("Ben", OTHER.sha256) == []


def test_one_who_claims_again_gets_their_own_cells_first(service):
    a, b, c = three_cells(service)
    assert claimed(service, "Ana", 1) == [a]
    assert claimed(service, "Ben", 1) == [b]
    service.release("Ana")
    assert claimed(service, "Ben", 2) == [b, a]
    assert claimed(service, "Ben", 1) == [a]  # of his own, the least certain
    assert claimed(service, "Ana") == [c]


def test_a_lease_that_ran_out_goes_to_the_next_and_a_late_decision_is_refused(service, clock):
    [a] = recorded(service, new("a"))
    service.claim("Ana", MODEL.sha256, lease=timedelta(minutes=5))
    clock.advance(minutes=4)
    assert claimed(service, "Ben") == []
    clock.advance(minutes=1)
    assert claimed(service, "Ben") == [a]
    with pytest.raises(ReviewConflictError, match=r"looked at by 'Ben'.*claim of 'Ana' ran out"):
        service.decide(a, "Ana", "WBC")
    assert service.history(a) == []
    service.decide(a, "Ben", "RBC")
    with pytest.raises(ReviewConflictError, match=r"decided by 'Ben' at 2026-03-01 12:05 UTC: RBC"):
        service.decide(a, "Ana", "WBC")
    assert len(service.history(a)) == 1


def test_a_late_decision_counts_while_nobody_else_has_asked(service, clock):
    [a] = recorded(service, new("a"))
    claimed(service, "Ana")
    clock.advance(hours=2)
    assert service.decide(a, "Ana", "WBC").after == "WBC"


def test_a_decision_renews_the_other_claims_but_never_shortens_them(service, clock):
    a, b, c = three_cells(service)
    claimed(service, "Ana", 2)
    clock.advance(minutes=9)
    service.decide(a, "Ana", "RBC")
    clock.advance(minutes=9)
    assert claimed(service, "Ben") == [c]
    service.claim("Ana", MODEL.sha256, lease=timedelta(hours=3))
    assert service.release("Ben") == 1
    clock.advance(hours=1)
    [*_, last] = claimed(service, "Ben")
    service.decide(last, "Ben", "RBC")
    clock.advance(hours=1)
    assert b not in claimed(service, "Ben")


def test_what_is_not_claimed_cannot_be_decided(service):
    [a, accepted] = recorded(service, new("a"), new("b", decision="accepted"))
    with pytest.raises(ReviewConflictError, match="'Ana' has not claimed it"):
        service.decide(a, "Ana", "RBC")
    with pytest.raises(ReviewConflictError, match="does not wait"):
        service.decide_unusable(accepted, "Ana")
    with pytest.raises(ReviewError, match="no answer 4711"):
        service.decide(4711, "Ana", "RBC")


def test_only_classes_of_the_model_are_decided(service):
    [a] = recorded(service, new("a"))
    claimed(service, "Ana")
    for label in ("rbc", "a", "", "RBC; DROP TABLE answer"):
        with pytest.raises(ReviewError, match="Its classes: RBC, WBC, Platelets"):
            service.decide(a, "Ana", label)
    assert claimed(service, "Ana") == [a]


def test_a_decision_says_who_when_from_what_to_what(service, clock):
    a, b, _ = three_cells(service)
    claimed(service, "Ana")
    clock.advance(minutes=1)
    decision = service.decide(a, "Ana", "WBC")
    assert decision == Decision(a, 1, "class", "Ana", clock.now, "RBC", "WBC")
    assert service.history(a) == [decision]
    unusable = service.decide_unusable(b, "Ana")
    assert (unusable.kind, unusable.before, unusable.after) == ("unusable", "RBC", None)
    assert service.recent("Ana") == [unusable, decision]
    assert service.recent("Ana", 1) == [unusable]
    assert service.recent("Ben") == []
    assert service.queues()[0].waiting == 1


def steps(service: ReviewService, answer: int) -> list[tuple[str, str | None, str | None]]:
    return [(step.kind, step.before, step.after) for step in service.history(answer)]


def test_undo_appends_and_the_cell_waits_again_for_the_one_who_undid(service):
    a, *_ = three_cells(service)
    claimed(service, "Ana", 1)
    service.decide(a, "Ana", "WBC")
    undone = service.undo("Ana")
    assert (undone.answer, undone.number, undone.kind) == (a, 2, "undo")
    assert service.queues() == [Queue(MODEL, 3, 1)]
    assert claimed(service, "Ben") != [a]
    service.decide_unusable(a, "Ana")
    service.undo("Ana")
    service.decide(a, "Ana", "RBC")
    assert steps(service, a) == [
        ("class", "RBC", "WBC"),
        ("undo", "WBC", "RBC"),
        ("unusable", "RBC", None),
        ("undo", None, "RBC"),
        ("class", "RBC", "RBC"),
    ]
    assert [step.number for step in service.recent("Ana")] == [5, 4, 3, 2, 1]


def test_undo_goes_back_step_by_step_and_then_there_is_none(service, clock):
    cells = three_cells(service)
    claimed(service, "Ana")
    for cell in cells:
        service.decide(cell, "Ana", "WBC")
    clock.advance(hours=-1)  # the computer's clock was set back
    assert [service.undo("Ana").answer for _ in cells] == cells[::-1]
    assert service.undo("Ana") is None
    assert claimed(service, "Ana") == cells


def test_nobody_undoes_what_another_decided(service):
    a, b, _ = three_cells(service)
    claimed(service, "Ana", 1)
    service.decide(a, "Ana", "WBC")
    assert service.undo("Ben") is None
    claimed(service, "Ben", 1)
    service.decide(b, "Ben", "WBC")
    assert service.undo("Ben").answer == b
    assert service.undo("Ben") is None
    assert len(service.history(a)) == 1


def test_a_decided_cell_can_be_looked_at_again_and_undo_restores_what_was_there(service):
    [a] = recorded(service, new("a"))
    claimed(service, "Ana")
    service.decide_unusable(a, "Ana")
    assert service.send_to_review({a: png("new")}) == 1
    [cell] = service.claim("Ben", MODEL.sha256)
    assert cell.picture == png("a")
    assert service.agreement(MODEL.sha256).unusable == 0  # it is in doubt again
    service.decide(a, "Ben", "Platelets")
    assert service.undo("Ana") is None  # what she decided has been replaced
    assert service.agreement(MODEL.sha256).matrix.sum() == 1
    restored = service.undo("Ben")
    assert (restored.before, restored.after) == ("Platelets", None)
    assert steps(service, a)[1] == ("class", None, "Platelets")
    assert service.undo("Ana").answer == a  # it is in force again, while Ben holds the cell
    assert claimed(service, "Ana") == []
    assert claimed(service, "Ben") == [a]
    assert service.history(a)[-1].after == "RBC"


def test_accepted_answers_can_be_sent_to_review(service):
    [a, b] = recorded(service, new("a", decision="accepted"), new("b"))
    assert service.send_to_review({a: png("later"), b: png("later")}) == 1
    assert service.send_to_review({a: png("later")}) == 0
    found = {cell.answer.id: cell.picture for cell in service.claim("Ana", MODEL.sha256)}
    assert found == {a: png("later"), b: png("b")}
    assert service.answers(1)[0].decision == "accepted"
    with pytest.raises(ReviewError, match="must be a PNG"):
        service.send_to_review({a: b"GIF89a"})
    with pytest.raises(ReviewError, match="no answer 99"):
        service.send_to_review({99: png("x")})


def test_agreement_counts_only_decisions_that_stand(service):
    answers = [new(i, label) for i, label in enumerate(("RBC", "RBC", "RBC", "WBC", "WBC"))]
    a, b, c, d, e = recorded(service, *answers)
    claimed(service, "Ana")
    service.decide(a, "Ana", "RBC")
    service.decide(b, "Ana", "WBC")
    service.decide(d, "Ana", "WBC")
    service.decide_unusable(e, "Ana")
    service.decide(c, "Ana", "Platelets")
    service.undo("Ana")
    agreement = service.agreement(MODEL.sha256)
    assert (agreement.model, agreement.classes, agreement.unusable) == (MODEL, CLASSES, 1)
    assert agreement.matrix.dtype == np.int64
    assert agreement.matrix.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    with pytest.raises(ReviewError, match="no records of a model"):
        service.agreement(OTHER.sha256)


def test_reviewed_gives_cells_settled_as_a_class_with_their_pictures(service, monkeypatch):
    monkeypatch.setattr("hematovision.review.service._PAGE", 2)
    numbers = recorded(service, *(new(i, confidence=0.5 + i / 100) for i in range(6)))
    claimed(service, "Ana")
    for number in numbers[:4]:
        service.decide(number, "Ana", "WBC")
    service.decide_unusable(numbers[4], "Ana")
    cells = list(service.reviewed())
    assert [cell.answer.id for cell in cells] == numbers[:4]
    assert [cell.picture for cell in cells] == [png(i) for i in range(4)]
    assert {(cell.label, cell.reviewer) for cell in cells} == {("WBC", "Ana")}
    assert cells[0].at == service.history(numbers[0])[0].at
    assert list(service.reviewed(OTHER.sha256)) == []
    assert len(list(service.reviewed(MODEL.sha256))) == 4
