"""What people decide: appended step by step, taken back by a further step."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import cast

from sqlalchemy import ColumnElement, Select, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from hematovision.errors import ReviewConflictError, ReviewError
from hematovision.review.claiming import enqueue, lock_claims
from hematovision.review.records import LEASE, Decision, Kind
from hematovision.review.repository import find_prediction
from hematovision.review.tables import DecisionRow, WaitingRow

__all__ = ["decide", "history", "in_force", "recent", "undo"]

_TICK = timedelta(microseconds=1)


def decide(
    session: Session, answer: int, reviewer: str, label: str | None, now: datetime
) -> Decision:
    """Append a reviewer's decision on a cell they hold, and take the cell out of the queue.

    Parameters
    ----------
    session : Session
    answer : int
    reviewer : str
    label : str or None
        A class of the model; None if the cell is unusable.
    now : datetime

    Raises
    ------
    ReviewError
        If there is no such answer, or `label` is no class of its model.
    ReviewConflictError
        If the reviewer does not hold the cell.
    """
    row, model = find_prediction(session, answer)
    if label is not None and label not in model.classes:
        raise ReviewError(
            f"{label!r} is not a class of model {model.name!r}. Its classes: "
            f"{', '.join(model.classes)}. Choose one of them, or mark the cell as unusable."
        )
    _take_out(session, answer, reviewer, now)
    last, standing = _state(session, answer)
    number = last.number + 1 if last else 1
    step = DecisionRow(
        answer_id=answer,
        number=number,
        kind="unusable" if label is None else "class",
        reviewer=reviewer,
        at=_after_the_last(session, reviewer, now),
        before=standing.after if standing else row.label,
        after=label,
        stands=number,
    )
    return _append(session, step)


def undo(session: Session, reviewer: str, now: datetime) -> Decision | None:
    """Take back the reviewer's newest decision that is in force; return None if there is none.

    The cell waits again, claimed by the reviewer, unless somebody else already holds it or its
    picture is no longer kept. A decision that somebody else has since replaced stays.
    """
    while (found := _newest(session, reviewer)) is not None:
        row, model = find_prediction(session, found.answer_id)
        last, standing = _state(session, found.answer_id)
        if last is None or standing is None or standing.number != found.number:
            continue  # changed by somebody else while this session waited for the answer
        restored = _standing_before(session, standing)
        step = DecisionRow(
            answer_id=row.id,
            number=last.number + 1,
            kind="undo",
            reviewer=reviewer,
            at=_after_the_last(session, reviewer, now),
            before=standing.after,
            after=restored.after if restored else row.label,
            stands=restored.number if restored else None,
        )
        enqueue(session, row, model, None)
        _claim_again(session, row.id, reviewer, now)
        return _append(session, step)
    return None


def recent(session: Session, reviewer: str, n: int) -> list[Decision]:
    """Return a reviewer's newest steps, newest first."""
    rows = session.scalars(_newest_first(reviewer).limit(n))
    return [_to_decision(row) for row in rows]


def history(session: Session, answer: int) -> list[Decision]:
    """Return all steps of an answer, oldest first."""
    query = select(DecisionRow).where(DecisionRow.answer_id == answer)
    return [_to_decision(row) for row in session.scalars(query.order_by(DecisionRow.number))]


def _to_decision(row: DecisionRow) -> Decision:
    kind = cast("Kind", row.kind)
    return Decision(row.answer_id, row.number, kind, row.reviewer, row.at, row.before, row.after)


def _append(session: Session, step: DecisionRow) -> Decision:
    session.add(step)
    session.flush()
    return _to_decision(step)


def _take_out(session: Session, answer: int, reviewer: str, now: datetime) -> None:
    """Take a cell that the reviewer holds out of the queue, and renew their other claims."""
    if answer not in lock_claims(session, reviewer):
        raise _conflict(session, answer, reviewer)
    session.execute(delete(WaitingRow).where(WaitingRow.answer_id == answer))
    until = now + LEASE
    others = update(WaitingRow).where(
        WaitingRow.claimed_by == reviewer, WaitingRow.claimed_until < until
    )
    session.execute(others.values(claimed_until=until))


def _conflict(session: Session, answer: int, reviewer: str) -> ReviewConflictError:
    """Say why the reviewer cannot decide on a cell, and what to do."""
    waiting = session.get(WaitingRow, answer)
    last, standing = _state(session, answer)
    if waiting is not None and waiting.claimed_by is not None:
        said = f"is being looked at by {waiting.claimed_by!r}; the claim of {reviewer!r} ran out"
    elif waiting is not None:
        said = f"waits, but {reviewer!r} has not claimed it"
    elif last is not None and standing is not None:
        said = (
            f"was decided by {standing.reviewer!r} at {standing.at:%Y-%m-%d %H:%M} UTC: "
            f"{standing.after or 'unusable'}"
        )
    else:
        said = "does not wait for a decision"
    return ReviewConflictError(
        f"Cell {answer} {said}. Nothing was recorded. Claim further cells to go on."
    )


def _claim_again(session: Session, answer: int, reviewer: str, now: datetime) -> None:
    free = or_(
        WaitingRow.claimed_by.is_(None),
        WaitingRow.claimed_by == reviewer,
        WaitingRow.claimed_until <= now,
    )
    session.execute(
        update(WaitingRow)
        .where(WaitingRow.answer_id == answer, free)
        .values(claimed_by=reviewer, claimed_until=now + LEASE)
    )


def _state(session: Session, answer: int) -> tuple[DecisionRow | None, DecisionRow | None]:
    """Return an answer's last step and the decision in force after it."""
    query = select(DecisionRow).where(DecisionRow.answer_id == answer)
    last = session.scalars(query.order_by(DecisionRow.number.desc()).limit(1)).first()
    if last is None or last.stands is None:
        return last, None
    return last, session.get_one(DecisionRow, (answer, last.stands))


def _standing_before(session: Session, step: DecisionRow) -> DecisionRow | None:
    """Return the decision that was in force before `step`."""
    if step.number == 1:
        return None
    before = session.get_one(DecisionRow, (step.answer_id, step.number - 1))
    return session.get(DecisionRow, (step.answer_id, before.stands)) if before.stands else None


def in_force() -> ColumnElement[bool]:
    """Return the condition that a `DecisionRow` is what its answer's last step leaves in force."""
    last, later = aliased(DecisionRow), aliased(DecisionRow)
    follows = exists().where(later.answer_id == last.answer_id, later.number > last.number)
    return (
        exists()
        .where(last.answer_id == DecisionRow.answer_id, last.stands == DecisionRow.number)
        .where(~follows)
    )


def _newest_first(reviewer: str) -> Select[DecisionRow]:
    query = select(DecisionRow).where(DecisionRow.reviewer == reviewer)
    return query.order_by(
        DecisionRow.at.desc(), DecisionRow.answer_id.desc(), DecisionRow.number.desc()
    )


def _newest(session: Session, reviewer: str) -> DecisionRow | None:
    return session.scalars(_newest_first(reviewer).where(in_force()).limit(1)).first()


def _after_the_last(session: Session, reviewer: str, now: datetime) -> datetime:
    """Return `now`, or just after the reviewer's last step if the clock has not gone on.

    Steps are put in order by time; clocks are set back, and some tick in hundredths of a second.
    """
    last = session.scalar(select(func.max(DecisionRow.at)).where(DecisionRow.reviewer == reviewer))
    return now if last is None else max(now, last + _TICK)
