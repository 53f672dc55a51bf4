"""Deleting for good, leaving a trace that says how much but shows nothing."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, exists, func, insert, or_, select, true
from sqlalchemy.orm import Session

from hematovision.errors import ReviewError
from hematovision.review.records import Deletion, Retention, clean_sha256
from hematovision.review.repository import find_batch
from hematovision.review.tables import (
    BatchRow,
    DecisionRow,
    DeletedImageRow,
    DeletionRow,
    ImageRow,
    PredictionRow,
    WaitingRow,
)

__all__ = [
    "AUTOMATIC",
    "apply_retention",
    "delete_batch",
    "delete_image",
    "delete_older",
    "deleted_images",
    "deletions",
]

AUTOMATIC = "automatic"
"""Who deletes by the setting of what is kept."""


def delete_image(session: Session, sha256: str, by: str, now: datetime) -> Deletion:
    """Delete every answer to an image, in whatever batch, with all that hangs on it.

    Raises
    ------
    ReviewError
        If there is no answer to such an image.
    """
    clean_sha256(sha256, "An image")
    if (
        session.scalar(select(PredictionRow.id).where(PredictionRow.image == sha256).limit(1))
        is None
    ):
        raise ReviewError(
            f"There is no answer to an image with SHA-256 {sha256}; it may have been deleted "
            "before. The trace of deletions tells."
        )
    return _delete_answers(session, PredictionRow.image == sha256, "an image", by, now)


def delete_batch(session: Session, batch: int, by: str, now: datetime) -> Deletion:
    """Delete a batch with its answers and all that hangs on them.

    Raises
    ------
    ReviewError
        If there is no such batch.
    """
    row, _ = find_batch(session, batch)
    deletion = _delete_answers(session, PredictionRow.batch_id == batch, f"batch {batch}", by, now)
    session.delete(row)
    return deletion


def delete_older(session: Session, days: int, by: str, now: datetime) -> Deletion:
    """Delete all answers recorded more than `days` days ago, and batches that are empty then.

    Raises
    ------
    ReviewError
        If `days` is negative.
    """
    if days < 0:
        raise ReviewError(f"`days` must be 0 or more. Received: {days}")
    before = _days_ago(days, now)
    what = f"everything older than {days} days"
    deletion = _delete_answers(session, PredictionRow.at < before, what, by, now)
    empty = ~exists().where(PredictionRow.batch_id == BatchRow.id)
    session.execute(delete(BatchRow).where(BatchRow.at < before, empty))
    return deletion


def apply_retention(session: Session, retention: Retention, now: datetime) -> Deletion | None:
    """Delete the pictures that are not to be kept; return None if there are none.

    Answers and decisions stay. A cell without its picture cannot be reviewed and leaves the queue.
    """
    condition = _not_kept(retention, now)
    if condition is None:
        return None
    pictures = select(PredictionRow.image).join(ImageRow, ImageRow.answer_id == PredictionRow.id)
    images = set(session.scalars(pictures.where(condition)))
    if not images:
        return None
    # The queue first, for its rows refer to pictures. Whether a cell waits is part of the
    # condition, too: one taken out here meets it all the more.
    for row in (WaitingRow, ImageRow):
        _delete_of(session, row, condition)
    limits = f"{retention.images}, {retention.days or 'any number of'} days"
    return _trace(session, f"pictures that are not kept ({limits})", images, 0, AUTOMATIC, now)


def _not_kept(retention: Retention, now: datetime) -> ColumnElement[bool] | None:
    """Return the condition that an answer's picture is not to be kept; None if all are."""
    if retention.images == "none":
        return true()
    conditions: list[ColumnElement[bool]] = []
    if retention.images == "review":
        waits = exists().where(WaitingRow.answer_id == PredictionRow.id)
        decided = exists().where(DecisionRow.answer_id == PredictionRow.id)
        conditions.append(~or_(waits, decided))
    if retention.days is not None:
        conditions.append(PredictionRow.at < _days_ago(retention.days, now))
    return or_(*conditions) if conditions else None


def deletions(session: Session) -> list[Deletion]:
    """Return the traces of all deletions, newest first."""
    rows = session.scalars(select(DeletionRow).order_by(DeletionRow.id.desc()))
    return [_to_deletion(row) for row in rows]


def deleted_images(session: Session, deletion: int) -> list[str]:
    """Return the SHA-256 of the images of which a deletion removed something, sorted."""
    query = select(DeletedImageRow.sha256).where(DeletedImageRow.deletion_id == deletion)
    return list(session.scalars(query.order_by(DeletedImageRow.sha256)))


def _delete_answers(
    session: Session, condition: ColumnElement[bool], what: str, by: str, now: datetime
) -> Deletion:
    images = set(session.scalars(select(PredictionRow.image).where(condition).distinct()))
    n = session.scalar(select(func.count()).select_from(PredictionRow).where(condition)) or 0
    for row in (WaitingRow, ImageRow, DecisionRow):
        _delete_of(session, row, condition)
    session.execute(delete(PredictionRow).where(condition))
    return _trace(session, what, images, n, by, now)


def _delete_of(
    session: Session,
    row: type[WaitingRow | ImageRow | DecisionRow],
    condition: ColumnElement[bool],
) -> None:
    """Delete what hangs on the answers that meet `condition`."""
    answers = select(PredictionRow.id).where(condition)
    session.execute(delete(row).where(row.answer_id.in_(answers)))


def _trace(
    session: Session, what: str, images: set[str], answers: int, by: str, now: datetime
) -> Deletion:
    row = DeletionRow(at=now, by=by, what=what, images=len(images), answers=answers)
    session.add(row)
    session.flush()
    if images:
        traces = [{"deletion_id": row.id, "sha256": sha256} for sha256 in sorted(images)]
        session.execute(insert(DeletedImageRow), traces)
    return _to_deletion(row)


def _to_deletion(row: DeletionRow) -> Deletion:
    return Deletion(row.id, row.at, row.by, row.what, row.images, row.answers)


def _days_ago(days: int, now: datetime) -> datetime:
    try:
        return now - timedelta(days=days)
    except OverflowError:
        return datetime.min.replace(tzinfo=now.tzinfo)
