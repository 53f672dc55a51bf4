"""Queries on reviewers' decisions; steps are only appended, and an undo is another step."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import cast

import numpy as np
from sqlalchemy import ColumnElement, Select, and_, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from hematovision.errors import ReviewConflictError, ReviewError
from hematovision.review.database import (
    BatchRow,
    DecisionRow,
    ImageRow,
    ModelRow,
    PredictionRow,
    WaitingRow,
)
from hematovision.review.records import LEASE, Agreement, Decision, Kind, Known, ModelRef, Reviewed
from hematovision.review.repository import (
    enqueue,
    find_model,
    find_prediction,
    lock_claims,
    to_prediction,
)

__all__ = ["agreement", "decide", "history", "known", "recent", "reviewed", "undo"]

_TICK = timedelta(microseconds=1)


def decide(
    session: Session, prediction_id: int, reviewer: str, label: str | None, now: datetime
) -> Decision:
    """Append a decision on a claimed cell, and remove the cell from the queue.

    `label` is a class of the model; None if the cell is unusable. Raises `ReviewError` if there is
    no such prediction, or `label` is not a class of its model. Raises `ReviewConflictError` if the
    reviewer has not claimed the cell.
    """
    row, model = find_prediction(session, prediction_id)
    if label is not None and label not in model.classes:
        raise ReviewError(
            f"{label!r} is not a class of model {model.name!r}. Its classes: "
            f"{', '.join(model.classes)}. Choose one of them, or mark the cell as unusable."
        )
    _dequeue(session, prediction_id, reviewer, now)
    last, current = _state(session, prediction_id)
    number = last.number + 1 if last else 1
    step = DecisionRow(
        prediction_id=prediction_id,
        number=number,
        kind="unusable" if label is None else "class",
        reviewer=reviewer,
        at=_after_the_last(session, reviewer, now),
        before=current.after if current else row.label,
        after=label,
        stands=number,
    )
    return _append(session, step)


def undo(session: Session, reviewer: str, now: datetime) -> Decision | None:
    """Undo the reviewer's newest decision in force and queue its cell; None if there is none."""
    newest = _newest_first(reviewer).where(_is_in_force()).limit(1)
    while (found := session.scalars(newest).first()) is not None:
        row, model = find_prediction(session, found.prediction_id)
        last, current = _state(session, found.prediction_id)
        if last is None or current is None or current.number != found.number:
            continue  # somebody else changed it while this session waited for the lock
        restored = _decision_before(session, current)
        step = DecisionRow(
            prediction_id=row.id,
            number=last.number + 1,
            kind="undo",
            reviewer=reviewer,
            at=_after_the_last(session, reviewer, now),
            before=current.after,
            after=restored.after if restored else row.label,
            stands=restored.number if restored else None,
        )
        enqueue(session, row, model, None)
        _claim_again(session, row.id, reviewer, now)
        return _append(session, step)
    return None


def recent(session: Session, reviewer: str, n: int) -> list[Decision]:
    """Return a reviewer's newest steps, newest first."""
    return [_to_decision(row) for row in session.scalars(_newest_first(reviewer).limit(n))]


def history(session: Session, prediction_id: int) -> list[Decision]:
    """Return all steps for a prediction, oldest first."""
    query = select(DecisionRow).where(DecisionRow.prediction_id == prediction_id)
    return [_to_decision(row) for row in session.scalars(query.order_by(DecisionRow.number))]


def agreement(session: Session, model_sha256: str) -> Agreement:
    """Count a model's predictions against the decisions in force."""
    model = find_model(session, model_sha256)
    query = (
        select(PredictionRow.label, DecisionRow.after, func.count())
        .join_from(DecisionRow, PredictionRow)
        .join(BatchRow)
        .where(BatchRow.model_sha256 == model_sha256, _is_settled())
        .group_by(PredictionRow.label, DecisionRow.after)
    )
    index = {label: i for i, label in enumerate(model.classes)}
    matrix = np.zeros((len(index), len(index)), np.int64)
    unusable = 0
    for predicted, decided, n in session.execute(query):
        if decided is None:
            unusable += n
        else:
            matrix[index[predicted], index[decided]] = n
    return Agreement(model, model.classes, matrix, unusable)


def reviewed(session: Session, model_sha256: str | None, after: int, limit: int) -> list[Reviewed]:
    """Return up to `limit` labelled cells with stored images and ids above `after`, by id."""
    query = (
        select(PredictionRow, ModelRow, DecisionRow, ImageRow.png)
        .join_from(DecisionRow, PredictionRow)
        .join(BatchRow)
        .join(ModelRow)
        .join(ImageRow, ImageRow.prediction_id == PredictionRow.id)
        .where(PredictionRow.id > after, DecisionRow.kind == "class", _is_settled())
        .order_by(PredictionRow.id)
        .limit(limit)
    )
    if model_sha256 is not None:
        query = query.where(BatchRow.model_sha256 == model_sha256)
    return [
        Reviewed(to_prediction(row, model), str(step.after), step.reviewer, step.at, png)
        for row, model, step, png in session.execute(query)
    ]


def known(session: Session, images: Collection[str], model: ModelRef) -> dict[str, Known]:
    """Return which images are waiting or decided, by their SHA-256.

    Predictions of all models with the same classes count, since a decision is about the cell. The
    newest decision is in force.
    """
    classes = session.execute(select(ModelRow.sha256, ModelRow.classes))
    models = [sha256 for sha256, names in classes if tuple(names) == model.classes]
    of_these = and_(PredictionRow.image.in_(images), BatchRow.model_sha256.in_(models))
    decided = (
        select(PredictionRow.image, DecisionRow)
        .join_from(DecisionRow, PredictionRow)
        .join(BatchRow)
        .where(of_these, _is_settled())
        .order_by(DecisionRow.at)
    )
    waiting = (
        select(PredictionRow.image)
        .join(WaitingRow, WaitingRow.prediction_id == PredictionRow.id)
        .join(BatchRow)
        .where(of_these)
    )
    found = {
        image: Known(is_waiting=False, label=step.after, reviewer=step.reviewer)
        for image, step in session.execute(decided)
    }
    return found | {image: Known(is_waiting=True) for image in session.scalars(waiting)}


def _to_decision(row: DecisionRow) -> Decision:
    kind = cast("Kind", row.kind)
    return Decision(
        row.prediction_id, row.number, kind, row.reviewer, row.at, row.before, row.after
    )


def _append(session: Session, step: DecisionRow) -> Decision:
    session.add(step)
    session.flush()
    return _to_decision(step)


def _dequeue(session: Session, prediction_id: int, reviewer: str, now: datetime) -> None:
    """Remove a claimed cell from the queue, and renew the reviewer's other claims."""
    if prediction_id not in lock_claims(session, reviewer):
        raise _conflict(session, prediction_id, reviewer)
    session.execute(delete(WaitingRow).where(WaitingRow.prediction_id == prediction_id))
    until = now + LEASE
    others = update(WaitingRow).where(
        WaitingRow.claimed_by == reviewer, WaitingRow.claimed_until < until
    )
    session.execute(others.values(claimed_until=until))


def _conflict(session: Session, prediction_id: int, reviewer: str) -> ReviewConflictError:
    waiting = session.get(WaitingRow, prediction_id)
    last, current = _state(session, prediction_id)
    if waiting is not None and waiting.claimed_by is not None:
        state = f"is claimed by {waiting.claimed_by!r}; the claim of {reviewer!r} has expired"
    elif waiting is not None:
        state = f"is waiting, but {reviewer!r} has not claimed it"
    elif last is not None and current is not None:
        state = (
            f"was decided by {current.reviewer!r} at {current.at:%Y-%m-%d %H:%M} UTC: "
            f"{current.after or 'unusable'}"
        )
    else:
        state = "is not waiting for a decision"
    return ReviewConflictError(
        f"Cell {prediction_id} {state}. Nothing was recorded. Claim more cells to continue."
    )


def _claim_again(session: Session, prediction_id: int, reviewer: str, now: datetime) -> None:
    free = or_(
        WaitingRow.claimed_by.is_(None),
        WaitingRow.claimed_by == reviewer,
        WaitingRow.claimed_until <= now,
    )
    session.execute(
        update(WaitingRow)
        .where(WaitingRow.prediction_id == prediction_id, free)
        .values(claimed_by=reviewer, claimed_until=now + LEASE)
    )


def _state(session: Session, prediction_id: int) -> tuple[DecisionRow | None, DecisionRow | None]:
    """Return a prediction's last step and the decision in force."""
    query = select(DecisionRow).where(DecisionRow.prediction_id == prediction_id)
    last = session.scalars(query.order_by(DecisionRow.number.desc()).limit(1)).first()
    if last is None or last.stands is None:
        return last, None
    return last, session.get_one(DecisionRow, (prediction_id, last.stands))


def _decision_before(session: Session, step: DecisionRow) -> DecisionRow | None:
    """Return the decision that was in force before `step`."""
    if step.number == 1:
        return None
    before = session.get_one(DecisionRow, (step.prediction_id, step.number - 1))
    return session.get(DecisionRow, (step.prediction_id, before.stands)) if before.stands else None


def _is_in_force() -> ColumnElement[bool]:
    """Return the condition that a `DecisionRow` is in force after the last step of its cell."""
    last, later = aliased(DecisionRow), aliased(DecisionRow)
    follows = exists().where(later.prediction_id == last.prediction_id, later.number > last.number)
    return (
        exists()
        .where(last.prediction_id == DecisionRow.prediction_id, last.stands == DecisionRow.number)
        .where(~follows)
    )


def _is_settled() -> ColumnElement[bool]:
    """Return the condition that a `DecisionRow` is in force and its cell is not waiting again."""
    is_waiting = exists().where(WaitingRow.prediction_id == DecisionRow.prediction_id)
    return and_(_is_in_force(), ~is_waiting)


def _newest_first(reviewer: str) -> Select[DecisionRow]:
    query = select(DecisionRow).where(DecisionRow.reviewer == reviewer)
    return query.order_by(
        DecisionRow.at.desc(), DecisionRow.prediction_id.desc(), DecisionRow.number.desc()
    )


def _after_the_last(session: Session, reviewer: str, now: datetime) -> datetime:
    """Return `now`, or just after the reviewer's last step if the clock has not advanced.

    Steps are ordered by time, but clocks may be set back or tick in hundredths of a second.
    """
    last = session.scalar(select(func.max(DecisionRow.at)).where(DecisionRow.reviewer == reviewer))
    return now if last is None else max(now, last + _TICK)
