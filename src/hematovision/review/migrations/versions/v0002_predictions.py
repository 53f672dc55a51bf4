"""Rename answer to prediction and picture to image, and let the program queue an image once."""

import sqlalchemy as sa
from alembic import op

from hematovision.review.database import image_key

__all__ = ["upgrade"]

revision = "0002"
down_revision = "0001"

_TABLES = {"answer": "prediction", "picture": "image"}
_COLUMNS = [
    ("image", "answer_id", "prediction_id"),
    ("waiting", "answer_id", "prediction_id"),
    ("decision", "answer_id", "prediction_id"),
    ("deletion", "answers", "predictions"),
]
_CONSTRAINTS = [
    ("prediction", "pk_answer", "pk_prediction"),
    ("prediction", "ck_answer_decision", "ck_prediction_decision"),
    ("prediction", "fk_answer_batch_id_batch", "fk_prediction_batch_id_batch"),
    ("image", "pk_picture", "pk_image"),
    ("image", "fk_picture_answer_id_answer", "fk_image_prediction_id_prediction"),
    ("waiting", "fk_waiting_answer_id_picture", "fk_waiting_prediction_id_image"),
    ("decision", "fk_decision_answer_id_answer", "fk_decision_prediction_id_prediction"),
]


def upgrade() -> None:
    """Rename tables, columns, constraints and indexes; fill the new column `image_key`."""
    for old, new in _TABLES.items():
        op.rename_table(old, new)
    for table, old, new in _COLUMNS:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")
    if op.get_bind().dialect.name == "postgresql":  # SQLite can't, and ignores the names
        for table, old, new in _CONSTRAINTS:
            op.execute(f"ALTER TABLE {table} RENAME CONSTRAINT {old} TO {new}")
        op.execute("ALTER SEQUENCE answer_id_seq RENAME TO prediction_id_seq")
    for column in ("batch_id", "image", "at"):
        op.drop_index(f"ix_answer_{column}", "prediction")
        op.create_index(f"ix_prediction_{column}", "prediction", [column])
    op.drop_index("ix_waiting_model_sha256_certainty_answer_id", "waiting")
    op.create_index(
        "ix_waiting_model_sha256_certainty_prediction_id",
        "waiting",
        ["model_sha256", "certainty", "prediction_id"],
    )
    op.add_column("waiting", sa.Column("image_key", sa.String(64)))
    _fill_image_keys(op.get_bind())
    op.create_index("ix_waiting_image_key", "waiting", ["image_key"], unique=True)


def _fill_image_keys(connection: sa.Connection) -> None:
    """Set the key of the first of each waiting image that the program queued."""
    waiting = sa.table("waiting", *map(sa.column, ("prediction_id", "model_sha256", "image_key")))
    prediction = sa.table("prediction", *map(sa.column, ("id", "image", "decision")))
    model = sa.table("model", sa.column("sha256"), sa.column("classes", sa.JSON))
    query = (
        sa.select(prediction.c.id, prediction.c.image, model.c.classes)
        .join(waiting, waiting.c.prediction_id == prediction.c.id)
        .join(model, model.c.sha256 == waiting.c.model_sha256)
        .where(prediction.c.decision == "review")
        .order_by(prediction.c.id.desc())
    )
    first = {image_key(image, classes): id_ for id_, image, classes in connection.execute(query)}
    update = sa.update(waiting).where(waiting.c.prediction_id == sa.bindparam("id"))
    if first:
        rows = [{"id": id_, "key": key} for key, id_ in first.items()]
        connection.execute(update.values(image_key=sa.bindparam("key")), rows)
