"""The tables of its first version, under their old names; see v0002."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from hematovision.review.database import UtcDateTime

__all__ = ["upgrade"]

revision = "0001"
down_revision = None


def _column(name: str, kind: Any, target: str = "", **options: Any) -> sa.Column[Any]:
    keys = [sa.ForeignKey(target)] if target else []
    return sa.Column(name, kind, *keys, **{"nullable": False, **options})


def _reference(name: str, target: str) -> sa.Column[Any]:
    return _column(name, sa.Integer, target, primary_key=True, autoincrement=False)


def _id() -> sa.Column[Any]:
    return _column("id", sa.Integer, primary_key=True)


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "model",
        _column("sha256", sa.String(64), primary_key=True),
        _column("name", sa.String(255)),
        _column("classes", sa.JSON),
        _column("max_novelty", sa.Double),
    )
    op.create_table(
        "batch",
        _id(),
        _column("at", UtcDateTime),
        _column("model_sha256", sa.String(64), "model.sha256", index=True),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "answer",
        _id(),
        _column("batch_id", sa.Integer, "batch.id", index=True),
        _column("name", sa.String(255)),
        _column("image", sa.String(64), index=True),
        _column("label", sa.Text),
        _column("probabilities", sa.JSON),
        _column("confidence", sa.Double),
        _column("novelty", sa.Double),
        _column("decision", sa.String(16)),
        _column("reason", sa.Text),
        _column("at", UtcDateTime, index=True),
        sa.CheckConstraint("decision IN ('accepted', 'review')", name="decision"),
        sqlite_autoincrement=True,
    )
    op.create_table("picture", _reference("answer_id", "answer.id"), _column("png", sa.LargeBinary))
    op.create_table(
        "waiting",
        _reference("answer_id", "picture.answer_id"),
        _column("model_sha256", sa.String(64), "model.sha256"),
        _column("certainty", sa.Double),
        _column("claimed_by", sa.String(100), index=True, nullable=True),
        _column("claimed_until", UtcDateTime, nullable=True),
        sa.Index(None, "model_sha256", "certainty", "answer_id"),
    )
    op.create_table(
        "decision",
        _reference("answer_id", "answer.id"),
        _reference("number", ""),
        _column("kind", sa.String(16)),
        _column("reviewer", sa.String(100)),
        _column("at", UtcDateTime),
        _column("before", sa.Text, nullable=True),
        _column("after", sa.Text, nullable=True),
        _column("stands", sa.Integer, nullable=True),
        sa.CheckConstraint("kind IN ('class', 'unusable', 'undo')", name="kind"),
        sa.Index(None, "reviewer", "at"),
    )
    op.create_table(
        "setting",
        _id(),
        _column("key", sa.String(100)),
        _column("value", sa.Text),
        _column("at", UtcDateTime),
        _column("by", sa.String(100)),
        sa.Index(None, "key", "id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "deletion",
        _id(),
        _column("at", UtcDateTime),
        _column("by", sa.String(100)),
        _column("what", sa.Text),
        _column("images", sa.Integer),
        _column("answers", sa.Integer),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "deleted_image",
        _reference("deletion_id", "deletion.id"),
        _column("sha256", sa.String(64), primary_key=True),
    )
