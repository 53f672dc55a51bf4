"""What people have settled: agreement with the model, and cells to learn from again."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from sqlalchemy import ColumnElement, and_, exists, func, select
from sqlalchemy.orm import Session

from hematovision.review.deciding import in_force
from hematovision.review.records import Agreement, Known, ModelRef, Reviewed
from hematovision.review.repository import find_model, to_prediction
from hematovision.review.tables import (
    BatchRow,
    DecisionRow,
    ImageRow,
    ModelRow,
    PredictionRow,
    WaitingRow,
)

__all__ = ["agreement", "known", "reviewed"]


def _is_settled() -> ColumnElement[bool]:
    """Return the condition that a `DecisionRow` is in force and its cell does not wait again."""
    return and_(in_force(), ~exists().where(WaitingRow.answer_id == DecisionRow.answer_id))


def agreement(session: Session, model_sha256: str) -> Agreement:
    """Count the model's answers against people's.

    Raises
    ------
    ReviewError
        If there are no records of the model.
    """
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
    for said, found, n in session.execute(query):
        if found is None:
            unusable += n
        else:
            matrix[index[said], index[found]] = n
    return Agreement(model, model.classes, matrix, unusable)


def reviewed(session: Session, model_sha256: str | None, after: int, limit: int) -> list[Reviewed]:
    """Return up to `limit` cells settled as a class, those of answers above `after`, in order.

    A cell whose picture is no longer kept is left out.
    """
    query = (
        select(PredictionRow, ModelRow, DecisionRow, ImageRow.png)
        .join_from(DecisionRow, PredictionRow)
        .join(BatchRow)
        .join(ModelRow)
        .join(ImageRow, ImageRow.answer_id == PredictionRow.id)
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
    """Return which of the images wait for a decision or have one, by their SHA-256.

    Answers of every model with the same classes count: a person decides on the cell, not on the
    model that doubted it. Of several decisions the newest holds.
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
        .join(WaitingRow, WaitingRow.answer_id == PredictionRow.id)
        .join(BatchRow)
        .where(of_these)
    )
    found = {
        image: Known(is_waiting=False, label=step.after, reviewer=step.reviewer)
        for image, step in session.execute(decided)
    }
    return found | {image: Known(is_waiting=True) for image in session.scalars(waiting)}
