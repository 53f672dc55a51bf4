"""The tables of HematoVision its first version, under their old names; see v0002."""

import sqlalchemy as sa
from alembic import op

from hematovision.review.database import UtcDateTime

__all__ = ["upgrade"]

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    _make_answers()
    _make_reviews()
    _make_settings()
    _make_traces()


def _make_answers() -> None:
    op.create_table(
        "model",
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("classes", sa.JSON, nullable=False),
        sa.Column("max_novelty", sa.Double, nullable=False),
    )
    op.create_table(
        "batch",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column(
            "model_sha256", sa.String(64), sa.ForeignKey("model.sha256"), nullable=False, index=True
        ),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "answer",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("batch_id", sa.Integer, sa.ForeignKey("batch.id"), nullable=False, index=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("image", sa.String(64), nullable=False, index=True),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("probabilities", sa.JSON, nullable=False),
        sa.Column("confidence", sa.Double, nullable=False),
        sa.Column("novelty", sa.Double, nullable=False),
        sa.Column("decision", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", UtcDateTime, nullable=False, index=True),
        sa.CheckConstraint("decision IN ('accepted', 'review')", name="decision"),
        sqlite_autoincrement=True,
    )


def _make_reviews() -> None:
    op.create_table(
        "picture",
        sa.Column(
            "answer_id",
            sa.Integer,
            sa.ForeignKey("answer.id"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("png", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "waiting",
        sa.Column(
            "answer_id",
            sa.Integer,
            sa.ForeignKey("picture.answer_id"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("model_sha256", sa.String(64), sa.ForeignKey("model.sha256"), nullable=False),
        sa.Column("certainty", sa.Double, nullable=False),
        sa.Column("claimed_by", sa.String(100), index=True),
        sa.Column("claimed_until", UtcDateTime),
        sa.Index(None, "model_sha256", "certainty", "answer_id"),
    )
    op.create_table(
        "decision",
        sa.Column(
            "answer_id",
            sa.Integer,
            sa.ForeignKey("answer.id"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("reviewer", sa.String(100), nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("before", sa.Text),
        sa.Column("after", sa.Text),
        sa.Column("stands", sa.Integer),
        sa.CheckConstraint("kind IN ('class', 'unusable', 'undo')", name="kind"),
        sa.Index(None, "reviewer", "at"),
    )


def _make_settings() -> None:
    op.create_table(
        "setting",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("key", sa.String(100), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("by", sa.String(100), nullable=False),
        sa.Index(None, "key", "id"),
        sqlite_autoincrement=True,
    )


def _make_traces() -> None:
    op.create_table(
        "deletion",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("by", sa.String(100), nullable=False),
        sa.Column("what", sa.Text, nullable=False),
        sa.Column("images", sa.Integer, nullable=False),
        sa.Column("answers", sa.Integer, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "deleted_image",
        sa.Column(
            "deletion_id",
            sa.Integer,
            sa.ForeignKey("deletion.id"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("sha256", sa.String(64), primary_key=True),
    )
