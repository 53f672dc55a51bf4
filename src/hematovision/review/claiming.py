"""The queue: which cells wait, and whose they are for the moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Select, and_, func, or_, select, update
from sqlalchemy.orm import Session

from hematovision.errors import ReviewError
from hematovision.review.records import ModelRef, Queue, Retention, Waiting, check_png
from hematovision.review.repository import (
    certainty,
    find_prediction,
    predictions_with_models,
    to_model,
    to_prediction,
)
from hematovision.review.tables import ImageRow, ModelRow, PredictionRow, WaitingRow

__all__ = ["claim", "enqueue", "lock_claims", "queues", "release", "send_to_review"]


def queues(session: Session, now: datetime) -> list[Queue]:
    """Return the queues in which cells wait, the longest first."""
    waiting = func.count()
    claimed = func.count().filter(WaitingRow.claimed_until > now)
    query = (
        select(ModelRow, waiting, claimed)
        .join_from(WaitingRow, ModelRow)
        .group_by(WaitingRow.model_sha256, ModelRow.sha256)
        .order_by(waiting.desc(), ModelRow.sha256)
    )
    return [Queue(to_model(model), n, held) for model, n, held in session.execute(query)]


def claim(
    session: Session, reviewer: str, model: str, n: int, lease: timedelta, now: datetime
) -> list[Waiting]:
    """Return up to `n` cells, now the reviewer's: those that were, then the least certain.

    A cell whose lease ran out stays its reviewer's until somebody else asks for it.
    """
    held = lock_claims(session, reviewer)
    mine = session.scalars(_first(model, n).where(WaitingRow.answer_id.in_(held))).all()
    free = or_(
        WaitingRow.claimed_by.is_(None),
        and_(WaitingRow.claimed_by != reviewer, WaitingRow.claimed_until <= now),
    )
    # PostgreSQL leaves out those that another session has locked: it is just claiming or deciding
    # them. SQLite needs no lock, for it has one writer at a time.
    further = _first(model, n - len(mine)).where(free).with_for_update(skip_locked=True)
    ids = [*mine, *session.scalars(further)]
    session.execute(
        update(WaitingRow)
        .where(WaitingRow.answer_id.in_(ids))
        .values(claimed_by=reviewer, claimed_until=now + lease)
    )
    return _load(session, ids)


def lock_claims(session: Session, reviewer: str) -> Sequence[int]:
    """Return the answers a reviewer holds, of any model; others who would take one wait.

    Locked in one order, so that a person with two windows does not wait for themselves.
    """
    query = select(WaitingRow.answer_id).where(WaitingRow.claimed_by == reviewer)
    return session.scalars(query.order_by(WaitingRow.answer_id).with_for_update()).all()


def _first(model: str, n: int) -> Select[int]:
    query = select(WaitingRow.answer_id).where(WaitingRow.model_sha256 == model)
    return query.order_by(WaitingRow.certainty, WaitingRow.answer_id).limit(n)


def _load(session: Session, ids: Sequence[int]) -> list[Waiting]:
    query = (
        predictions_with_models()
        .add_columns(ImageRow.png)
        .join(ImageRow, ImageRow.answer_id == PredictionRow.id)
    )
    rows = session.execute(query.where(PredictionRow.id.in_(ids)))
    found = {row.id: Waiting(to_prediction(row, model), png) for row, model, png in rows}
    return [found[i] for i in ids]


def release(session: Session, reviewer: str) -> int:
    """Give back all cells of a reviewer; return how many."""
    released = session.scalars(
        update(WaitingRow)
        .where(WaitingRow.claimed_by == reviewer)
        .values(claimed_by=None, claimed_until=None)
        .returning(WaitingRow.answer_id)
    )
    return len(released.all())


def send_to_review(session: Session, pictures: Mapping[int, bytes], retention: Retention) -> int:
    """Queue answers that do not wait yet, with their pictures; return how many."""
    if retention.images == "none":
        raise ReviewError(
            "No pictures are kept, and without a picture nobody can review a cell. Choose to keep "
            "those of reviewed answers in the settings first."
        )
    for picture in pictures.values():
        check_png(picture)
    # In one order for everybody, so that no two wait for each other.
    return sum(
        enqueue(session, *find_prediction(session, answer), pictures[answer])
        for answer in sorted(pictures)
    )


def enqueue(session: Session, row: PredictionRow, model: ModelRef, picture: bytes | None) -> bool:
    """Put an answer, locked by `find_prediction`, into the queue with its kept picture or this one.

    Returns
    -------
    bool
        Whether it is new there; not so either if there is no picture at all.
    """
    if session.get(WaitingRow, row.id) is not None:
        return False
    is_kept = select(ImageRow.answer_id).where(ImageRow.answer_id == row.id)
    if session.scalar(is_kept) is None:
        if picture is None:
            return False
        session.add(ImageRow(answer_id=row.id, png=picture))
        session.flush()
    sure = certainty(row.confidence, row.novelty, model.max_novelty)
    session.add(WaitingRow(answer_id=row.id, model_sha256=model.sha256, certainty=sure))
    session.flush()
    return True
