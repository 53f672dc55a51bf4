"""Answers in the database: written with their pictures, read back as values."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Literal, cast

from sqlalchemy import Select, func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from hematovision.errors import ReviewError
from hematovision.model.prediction import Prediction
from hematovision.review.records import (
    Batch,
    ModelRef,
    NewPrediction,
    RecordedPrediction,
    Retention,
    clean_name,
)
from hematovision.review.tables import BatchRow, ImageRow, ModelRow, PredictionRow, WaitingRow

__all__ = [
    "batches",
    "certainty",
    "find_batch",
    "find_model",
    "find_prediction",
    "models",
    "predictions_of",
    "predictions_with_models",
    "record",
    "start_batch",
    "to_model",
    "to_prediction",
]


def certainty(confidence: float, novelty: float, max_novelty: float) -> float:
    """Return how certain an answer is, 0 to 1: the queue hands out the least certain first.

    It is the confidence, or for an unlike image what its novelty is above the model's limit, if
    that is less: an image twice as novel as is accepted counts as a confidence of 0.5.
    """
    return min(confidence, max_novelty / novelty if novelty > max_novelty else 1.0)


def to_model(row: ModelRow) -> ModelRef:
    """Return a row as a value."""
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
    """Return a query of all answers, each with its model, to narrow down."""
    return select(PredictionRow, ModelRow).join_from(PredictionRow, BatchRow).join(ModelRow)


def models(session: Session) -> list[ModelRef]:
    """Return every model that ever started a batch, by name."""
    rows = session.scalars(select(ModelRow).order_by(ModelRow.name, ModelRow.sha256))
    return [to_model(row) for row in rows]


def find_model(session: Session, sha256: str) -> ModelRef:
    """Return a model.

    Raises
    ------
    ReviewError
        If no batch of it was ever started.
    """
    row = session.get(ModelRow, sha256)
    if row is None:
        raise ReviewError(
            f"There are no records of a model with SHA-256 {sha256[:80]!r}. Classify images with "
            "it first."
        )
    return to_model(row)


def find_batch(session: Session, batch: int) -> tuple[BatchRow, ModelRef]:
    """Return a batch and its model.

    Raises
    ------
    ReviewError
        If there is no such batch.
    """
    row = session.get(BatchRow, batch)
    if row is None:
        raise ReviewError(f"There is no batch {batch}; it may have been deleted. Start a new one.")
    return row, find_model(session, row.model_sha256)


def find_prediction(session: Session, answer: int) -> tuple[PredictionRow, ModelRef]:
    """Return an answer and its model; others who would change what is said of it wait.

    Raises
    ------
    ReviewError
        If there is no such answer.
    """
    # Weaker than FOR UPDATE: rows that refer to the answer may be added meanwhile.
    query = predictions_with_models().where(PredictionRow.id == answer)
    found = session.execute(query.with_for_update(key_share=True, of=PredictionRow)).first()
    if found is None:
        raise ReviewError(
            f"There is no answer {answer}; it may have been deleted. Ask for further cells."
        )
    return found[0], to_model(found[1])


def start_batch(session: Session, model: ModelRef, now: datetime) -> int:
    """Make an empty batch of `model`, which is registered if it is new; return its number."""
    row = session.get(ModelRow, model.sha256) or _register(session, model)
    if tuple(row.classes) != model.classes:
        raise ReviewError(
            f"Model {model.name!r} is recorded with the classes {', '.join(row.classes)}. "
            f"Received: {', '.join(model.classes)}. One ONNX file has one list of classes; take it "
            "from the bundle."
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
    except IntegrityError:  # somebody else was quicker, which is as good
        return session.get_one(ModelRow, model.sha256)
    return row


def record(
    session: Session,
    batch: int,
    answers: Sequence[NewPrediction],
    retention: Retention,
    now: datetime,
    known: Collection[str] = (),
) -> list[int]:
    """Write answers, their pictures as far as they are kept, and queue those for review.

    An image enters the queue once: not if its SHA-256 is among those `known`, nor a second time.
    """
    _, model = find_batch(session, batch)
    said = [new for new in answers if new.prediction.decision != "refused"]
    if not said:
        return []
    queued = _to_queue(said, known)
    rows = [_answer_values(new, batch, model, now) for new in said]
    inserted = insert(PredictionRow).returning(PredictionRow.id, sort_by_parameter_order=True)
    ids = list(session.scalars(inserted, rows))
    kept = [
        (i, new, is_queued)
        for i, new, is_queued in zip(ids, said, queued, strict=True)
        if _is_kept(new, retention, is_queued=is_queued)
    ]
    if kept:
        session.execute(insert(ImageRow), [{"answer_id": i, "png": new.png} for i, new, _ in kept])
    waiting = [_waiting_values(i, new, model) for i, new, is_queued in kept if is_queued]
    if waiting:
        session.execute(insert(WaitingRow), waiting)
    return ids


def _to_queue(answers: Sequence[NewPrediction], known: Collection[str]) -> list[bool]:
    """Tell of each answer whether a person should look, and nobody has or will anyway."""
    seen, queued = set(known), []
    for new in answers:
        queued.append(new.prediction.decision == "review" and new.sha256 not in seen)
        if queued[-1]:
            seen.add(new.sha256)
    return queued


def _is_kept(new: NewPrediction, retention: Retention, *, is_queued: bool) -> bool:
    if new.png is None or retention.images == "none":
        return False
    return retention.images == "all" or is_queued


def _numbers(prediction: Prediction) -> tuple[float, float]:
    """Return confidence and novelty; an answer that was not refused has both."""
    assert prediction.confidence is not None
    assert prediction.novelty is not None
    return float(prediction.confidence), float(prediction.novelty)


def _answer_values(
    new: NewPrediction, batch: int, model: ModelRef, now: datetime
) -> dict[str, Any]:
    said = new.prediction
    confidence, novelty = _numbers(said)
    probabilities = [float(p) for p in said.probabilities]
    numbers = (*probabilities, confidence, novelty)
    if said.classes != model.classes or len(probabilities) != len(model.classes):
        raise ReviewError(
            f"The answer to {clean_name(new.name)!r} is of the classes {', '.join(said.classes)}; "
            f"batch {batch} is of {', '.join(model.classes)}. Start a batch for each model."
        )
    if said.label not in model.classes or not all(map(math.isfinite, numbers)):
        raise ReviewError(
            f"The answer to {clean_name(new.name)!r} must be one of {', '.join(model.classes)} "
            f"with finite numbers. Received: {said.label!r} with {numbers}"
        )
    return {
        "batch_id": batch,
        "name": clean_name(new.name),
        "image": new.sha256,
        "label": said.label,
        "probabilities": probabilities,
        "confidence": confidence,
        "novelty": novelty,
        "decision": said.decision,
        "reason": said.reason,
        "at": now,
    }


def _waiting_values(answer: int, new: NewPrediction, model: ModelRef) -> dict[str, Any]:
    return {
        "answer_id": answer,
        "model_sha256": model.sha256,
        "certainty": certainty(*_numbers(new.prediction), model.max_novelty),
    }


def batches(session: Session, limit: int) -> list[Batch]:
    """Return the newest batches, newest first."""

    def count(decision: str) -> Any:
        answers = select(func.count()).where(PredictionRow.batch_id == BatchRow.id)
        return answers.where(PredictionRow.decision == decision).scalar_subquery()

    query = select(BatchRow, ModelRow, count("accepted"), count("review")).join(ModelRow)
    rows = session.execute(query.order_by(BatchRow.id.desc()).limit(limit))
    return [
        Batch(batch.id, batch.at, to_model(model), accepted + review, accepted, review)
        for batch, model, accepted, review in rows
    ]


def predictions_of(session: Session, batch: int) -> list[RecordedPrediction]:
    """Return the answers of a batch, in the order in which they were recorded."""
    find_batch(session, batch)
    query = (
        predictions_with_models().where(PredictionRow.batch_id == batch).order_by(PredictionRow.id)
    )
    return [to_prediction(row, model) for row, model in session.execute(query)]
