"""Queries on predictions, their images and queue, settings and deletions, within a session."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, cast

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from hematovision.errors import ReviewError
from hematovision.model.prediction import Prediction
from hematovision.review.database import (
    BatchRow,
    DecisionRow,
    DeletedImageRow,
    DeletionRow,
    ImageRow,
    ModelRow,
    PredictionRow,
    SettingRow,
    WaitingRow,
    image_key,
)
from hematovision.review.records import (
    Batch,
    Deletion,
    ModelRef,
    NewPrediction,
    Queue,
    RecordedPrediction,
    Retention,
    Waiting,
    check_png,
    clean_name,
    clean_sha256,
)

__all__ = [
    "RETENTION", "apply_retention", "batches", "certainty", "claim", "delete_batch", "delete_image",
    "delete_older", "deletions", "enqueue", "find_batch", "find_model", "find_prediction",
    "get_retention", "get_setting", "lock_claims", "predictions_of", "predictions_with_models",
    "queues", "record", "send_to_review", "set_setting", "start_batch", "to_model", "to_prediction",
]  # fmt: skip

RETENTION = "keeping"
"""The key of the setting, as first released."""

_MAX_KEY = 100


# --- models, batches, predictions ----------------------------------------------------------------


def to_model(row: ModelRow) -> ModelRef:
    """Convert a row to a value."""
    return ModelRef(row.name, row.sha256, tuple(row.classes), row.max_novelty)


def to_prediction(row: PredictionRow, model: ModelRow) -> RecordedPrediction:
    """Return a row as a value."""
    return RecordedPrediction(
        id=row.id,
        batch=row.batch_id,
        name=row.name,
        image=row.image,
        model=to_model(model),
        label=row.label,
        probabilities=tuple(row.probabilities),
        confidence=row.confidence,
        novelty=row.novelty,
        decision=cast("Literal['accepted', 'review']", row.decision),
        reason=row.reason,
        at=row.at,
    )


def predictions_with_models() -> Select[PredictionRow, ModelRow]:
    """Return a query of all predictions, each with its model."""
    return select(PredictionRow, ModelRow).join_from(PredictionRow, BatchRow).join(ModelRow)


def find_model(session: Session, sha256: str) -> ModelRef:
    """Return a model; raise `ReviewError` if there is none."""
    row = session.get(ModelRow, sha256)
    if row is None:
        raise ReviewError(
            f"There are no records of a model with SHA-256 {sha256[:80]!r}. Classify images with "
            "it first."
        )
    return to_model(row)


def find_batch(session: Session, batch: int) -> tuple[BatchRow, ModelRef]:
    """Return a batch and its model; raise `ReviewError` if there is none."""
    row = session.get(BatchRow, batch)
    if row is None:
        raise ReviewError(f"There is no batch {batch}; it may have been deleted. Start a new one.")
    return row, find_model(session, row.model_sha256)


def find_prediction(session: Session, prediction_id: int) -> tuple[PredictionRow, ModelRef]:
    """Return a prediction, locked for review, and its model; raise `ReviewError` if none."""
    # Weaker than FOR UPDATE: rows that refer to the prediction may be added meanwhile.
    query = predictions_with_models().where(PredictionRow.id == prediction_id)
    found = session.execute(query.with_for_update(key_share=True, of=PredictionRow)).first()
    if found is None:
        raise ReviewError(
            f"There is no prediction {prediction_id}; it may have been deleted. Request more cells."
        )
    return found[0], to_model(found[1])


def start_batch(session: Session, model: ModelRef, now: datetime) -> int:
    """Add an empty batch for `model`, which is registered if new; return its number."""
    row = session.get(ModelRow, model.sha256) or _register(session, model)
    if tuple(row.classes) != model.classes:
        raise ReviewError(
            f"Model {model.name!r} is recorded with the classes {', '.join(row.classes)}. "
            f"Received: {', '.join(model.classes)}. An ONNX file has one list of classes: use the "
            "bundle's."
        )
    batch = BatchRow(at=now, model_sha256=model.sha256)
    session.add(batch)
    session.flush()
    return batch.id


def _register(session: Session, model: ModelRef) -> ModelRow:
    row = ModelRow(
        sha256=model.sha256,
        name=clean_name(model.name),
        classes=list(model.classes),
        max_novelty=model.max_novelty,
    )
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:  # another session has just registered it
        return session.get_one(ModelRow, model.sha256)
    return row


def batches(session: Session, limit: int) -> list[Batch]:
    """Return the newest batches, newest first."""

    def count(decision: str) -> Any:
        predictions = select(func.count()).where(PredictionRow.batch_id == BatchRow.id)
        return predictions.where(PredictionRow.decision == decision).scalar_subquery()

    query = select(BatchRow, ModelRow, count("accepted"), count("review")).join(ModelRow)
    rows = session.execute(query.order_by(BatchRow.id.desc()).limit(limit))
    return [
        Batch(batch.id, batch.at, to_model(model), accepted + review, accepted, review)
        for batch, model, accepted, review in rows
    ]


def predictions_of(session: Session, batch: int) -> list[RecordedPrediction]:
    """Return the predictions of a batch in the order they were recorded."""
    find_batch(session, batch)
    query = predictions_with_models().where(PredictionRow.batch_id == batch)
    rows = session.execute(query.order_by(PredictionRow.id))
    return [to_prediction(row, model) for row, model in rows]


def record(
    session: Session,
    batch: int,
    new: Sequence[NewPrediction],
    retention: Retention,
    now: datetime,
    known: Collection[str],
) -> list[int]:
    """Insert predictions, kept images and queue entries; return the prediction ids.

    An image (by SHA-256) is queued only once, and not if it is in `known`. If two sessions queue it
    at the same time, the unique `image_key` keeps only one.
    """
    _, model = find_batch(session, batch)
    usable = [each for each in new if each.prediction.decision != "refused"]
    if not usable:
        return []
    values = [_prediction_values(each, batch, model, now) for each in usable]
    inserted = insert(PredictionRow).returning(PredictionRow.id, sort_by_parameter_order=True)
    ids = list(session.scalars(inserted, values))
    keeps_all = retention.images == "all"
    images = {
        id_: each
        for id_, each in zip(ids, usable, strict=True)
        if each.png is not None and retention.images != "none"
    }
    queued = {
        each.sha256: id_
        for id_, each in reversed(images.items())
        if each.prediction.decision == "review" and each.sha256 not in known
    }
    kept = list(images if keeps_all else queued.values())
    if kept:
        rows = [{"prediction_id": id_, "png": images[id_].png} for id_ in kept]
        session.execute(insert(ImageRow), rows)
    lost = set(queued.values()) - _queue(session, {i: images[i] for i in queued.values()}, model)
    if lost and not keeps_all:
        session.execute(delete(ImageRow).where(ImageRow.prediction_id.in_(lost)))
    return ids


def _numbers(prediction: Prediction) -> tuple[float, float]:
    """Return the confidence and the novelty score, or 0 for a model without one."""
    assert prediction.confidence is not None
    return float(prediction.confidence), float(prediction.novelty or 0.0)


def _prediction_values(
    new: NewPrediction, batch: int, model: ModelRef, now: datetime
) -> dict[str, Any]:
    prediction = new.prediction
    confidence, novelty = _numbers(prediction)
    probabilities = [float(p) for p in prediction.probabilities]
    numbers = (*probabilities, confidence, novelty)
    if prediction.classes != model.classes or len(probabilities) != len(model.classes):
        raise ReviewError(
            f"The prediction for {clean_name(new.name)!r} has the classes "
            f"{', '.join(prediction.classes)}; batch {batch} has {', '.join(model.classes)}. Use "
            "one batch per model."
        )
    if prediction.label not in model.classes or not all(map(math.isfinite, numbers)):
        raise ReviewError(
            f"The prediction for {clean_name(new.name)!r} must be one of "
            f"{', '.join(model.classes)} with finite numbers. Received: {prediction.label!r} with "
            f"{numbers}"
        )
    return {
        "batch_id": batch,
        "name": clean_name(new.name),
        "image": new.sha256,
        "label": prediction.label,
        "probabilities": probabilities,
        "confidence": confidence,
        "novelty": novelty,
        "decision": prediction.decision,
        "reason": prediction.reason,
        "at": now,
    }


# --- queue ---------------------------------------------------------------------------------------


def certainty(confidence: float, novelty: float, max_novelty: float) -> float:
    """Return a prediction's certainty, 0 to 1; the least certain are reviewed first.

    The confidence, but at most ``max_novelty / novelty``: 0.5 for an image with a novelty score of
    twice the limit.
    """
    return min(confidence, max_novelty / novelty if novelty > max_novelty else 1.0)


def _queue(session: Session, new: Mapping[int, NewPrediction], model: ModelRef) -> set[int]:
    """Queue images unless another session has queued them; return their prediction ids."""
    if not new:
        return set()
    connection = session.connection()
    rows = [
        {
            "prediction_id": id_,
            "model_sha256": model.sha256,
            "certainty": certainty(*_numbers(each.prediction), model.max_novelty),
            "image_key": image_key(each.sha256, model.classes),
        }
        # In one order for all sessions, so that no two wait for each other.
        for id_, each in sorted(new.items(), key=lambda item: item[1].sha256)
    ]
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(WaitingRow.__table__).on_conflict_do_nothing(
        index_elements=["image_key"]
    )
    return set(connection.scalars(statement.returning(WaitingRow.prediction_id), rows))


def queues(session: Session, now: datetime) -> list[Queue]:
    """Return the queues that are not empty, the longest first."""
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
    """Claim up to `n` cells: first those already claimed by the reviewer, then the least certain.

    A claim with an expired lease remains until somebody else claims the cell.
    """

    def first(count: int) -> Select[int]:
        query = select(WaitingRow.prediction_id).where(WaitingRow.model_sha256 == model)
        return query.order_by(WaitingRow.certainty, WaitingRow.prediction_id).limit(count)

    held = lock_claims(session, reviewer)
    mine = session.scalars(first(n).where(WaitingRow.prediction_id.in_(held))).all()
    free = or_(
        WaitingRow.claimed_by.is_(None),
        and_(WaitingRow.claimed_by != reviewer, WaitingRow.claimed_until <= now),
    )
    # PostgreSQL skips rows that another session is claiming or deciding; SQLite has one writer.
    further = first(n - len(mine)).where(free).with_for_update(skip_locked=True)
    ids = [*mine, *session.scalars(further)]
    session.execute(
        update(WaitingRow)
        .where(WaitingRow.prediction_id.in_(ids))
        .values(claimed_by=reviewer, claimed_until=now + lease)
    )
    query = predictions_with_models().add_columns(ImageRow.png)
    query = query.join(ImageRow, ImageRow.prediction_id == PredictionRow.id)
    rows = session.execute(query.where(PredictionRow.id.in_(ids)))
    found = {row.id: Waiting(to_prediction(row, model), png) for row, model, png in rows}
    return [found[i] for i in ids]


def lock_claims(session: Session, reviewer: str) -> Sequence[int]:
    """Return a reviewer's claimed predictions, for all models, with their rows locked.

    Rows are locked in a fixed order, so that a person with two windows causes no deadlock.
    """
    query = select(WaitingRow.prediction_id).where(WaitingRow.claimed_by == reviewer)
    return session.scalars(query.order_by(WaitingRow.prediction_id).with_for_update()).all()


def send_to_review(session: Session, images: Mapping[int, bytes], retention: Retention) -> int:
    """Queue predictions by id, with their images (PNG); return the number added."""
    if retention.images == "none":
        raise ReviewError(
            "No images are kept, and a cell can't be reviewed without its image. Choose to keep "
            "images of reviewed cells in the settings first."
        )
    for image in images.values():
        check_png(image)
    # In one order for all sessions, so that no two wait for each other.
    return sum(
        enqueue(session, *find_prediction(session, prediction_id), images[prediction_id])
        for prediction_id in sorted(images)
    )


def enqueue(session: Session, row: PredictionRow, model: ModelRef, image: bytes | None) -> bool:
    """Queue a prediction, locked by `find_prediction`, with its stored image or `image`.

    Returns False if it is already waiting or has no image.
    """
    if session.get(WaitingRow, row.id) is not None:
        return False
    stored = select(ImageRow.prediction_id).where(ImageRow.prediction_id == row.id)
    if session.scalar(stored) is None:
        if image is None:
            return False
        session.add(ImageRow(prediction_id=row.id, png=image))
        session.flush()
    sure = certainty(row.confidence, row.novelty, model.max_novelty)
    session.add(WaitingRow(prediction_id=row.id, model_sha256=model.sha256, certainty=sure))
    session.flush()
    return True


# --- settings ------------------------------------------------------------------------------------


def get_setting(session: Session, key: str) -> str | None:
    """Return a setting, or None if it was never set."""
    query = select(SettingRow.value).where(SettingRow.key == key)
    return session.scalar(query.order_by(SettingRow.id.desc()).limit(1))


def set_setting(session: Session, key: str, value: str, by: str, now: datetime) -> None:
    """Append a setting; the newest is in force."""
    try:
        is_text = b"\0" not in value.encode()
    except UnicodeEncodeError:
        is_text = False
    if not is_text or clean_name(key) != key or not 1 <= len(key) <= _MAX_KEY:
        raise ReviewError(
            f"A setting has a key of 1 to {_MAX_KEY} characters and a value of text without NUL. "
            f"Received: {key[:40]!r} = {value[:40]!r}"
        )
    session.add(SettingRow(key=key, value=value, at=now, by=by))


def get_retention(session: Session) -> Retention:
    """Return the retention setting."""
    value = get_setting(session, RETENTION)
    return Retention() if value is None else Retention(**json.loads(value))


# --- deletions -----------------------------------------------------------------------------------


def delete_image(session: Session, sha256: str, by: str, now: datetime) -> Deletion:
    """Delete all predictions for an image; raise `ReviewError` if there are none."""
    clean_sha256(sha256, "An image")
    first = select(PredictionRow.id).where(PredictionRow.image == sha256).limit(1)
    if session.scalar(first) is None:
        raise ReviewError(
            f"There is no prediction for an image with SHA-256 {sha256}; it may have been deleted: "
            "see the list of deletions."
        )
    return _delete(session, PredictionRow.image == sha256, "an image", by, now)


def delete_batch(session: Session, batch: int, by: str, now: datetime) -> Deletion:
    """Delete a batch with its predictions; raise `ReviewError` if there is none."""
    row, _ = find_batch(session, batch)
    deletion = _delete(session, PredictionRow.batch_id == batch, f"batch {batch}", by, now)
    session.delete(row)
    return deletion


def delete_older(session: Session, days: int, by: str, now: datetime) -> Deletion:
    """Delete predictions older than `days` days, and batches left empty."""
    if days < 0:
        raise ReviewError(f"`days` must be 0 or more. Received: {days}")
    before = _days_ago(days, now)
    what = f"everything older than {days} days"
    deletion = _delete(session, PredictionRow.at < before, what, by, now)
    empty = ~exists().where(PredictionRow.batch_id == BatchRow.id)
    session.execute(delete(BatchRow).where(BatchRow.at < before, empty))
    return deletion


def apply_retention(session: Session, retention: Retention, now: datetime) -> Deletion | None:
    """Delete images beyond the retention and their queue entries; None if there are none."""
    condition = _is_not_kept(retention, now)
    if condition is None:
        return None
    kept = select(PredictionRow.image).join(ImageRow, ImageRow.prediction_id == PredictionRow.id)
    images = set(session.scalars(kept.where(condition)))
    if not images:
        return None
    # Queue entries first: they refer to images, and deleting them does not change the condition.
    _delete_rows(session, (WaitingRow, ImageRow), condition)
    limits = f"{retention.images}, {retention.days or 'any number of'} days"
    return _trace(session, f"images that are not kept ({limits})", images, 0, "automatic", now)


def _is_not_kept(retention: Retention, now: datetime) -> ColumnElement[bool] | None:
    """Return the condition that a prediction's image is not kept; None if all are kept."""
    if retention.images == "none":
        return true()
    conditions: list[ColumnElement[bool]] = []
    if retention.images == "review":
        is_waiting = exists().where(WaitingRow.prediction_id == PredictionRow.id)
        is_decided = exists().where(DecisionRow.prediction_id == PredictionRow.id)
        conditions.append(~or_(is_waiting, is_decided))
    if retention.days is not None:
        conditions.append(PredictionRow.at < _days_ago(retention.days, now))
    return or_(*conditions) if conditions else None


def deletions(session: Session) -> list[Deletion]:
    """Return the records of all deletions, newest first."""
    rows = session.scalars(select(DeletionRow).order_by(DeletionRow.id.desc()))
    return [_to_deletion(row) for row in rows]


def _delete(
    session: Session, condition: ColumnElement[bool], what: str, by: str, now: datetime
) -> Deletion:
    images = set(session.scalars(select(PredictionRow.image).where(condition).distinct()))
    n = session.scalar(select(func.count()).select_from(PredictionRow).where(condition)) or 0
    _delete_rows(session, (WaitingRow, ImageRow, DecisionRow), condition)
    session.execute(delete(PredictionRow).where(condition))
    return _trace(session, what, images, n, by, now)


def _delete_rows(
    session: Session,
    tables: Sequence[type[WaitingRow | ImageRow | DecisionRow]],
    condition: ColumnElement[bool],
) -> None:
    ids = select(PredictionRow.id).where(condition)
    for table in tables:
        session.execute(delete(table).where(table.prediction_id.in_(ids)))


def _trace(
    session: Session, what: str, images: set[str], predictions: int, by: str, now: datetime
) -> Deletion:
    row = DeletionRow(at=now, by=by, what=what, images=len(images), predictions=predictions)
    session.add(row)
    session.flush()
    if images:
        traces = [{"deletion_id": row.id, "sha256": sha256} for sha256 in sorted(images)]
        session.execute(insert(DeletedImageRow), traces)
    return _to_deletion(row)


def _to_deletion(row: DeletionRow) -> Deletion:
    return Deletion(row.id, row.at, row.by, row.what, row.images, row.predictions)


def _days_ago(days: int, now: datetime) -> datetime:
    try:
        return now - timedelta(days=days)
    except OverflowError:
        return datetime.min.replace(tzinfo=now.tzinfo)
