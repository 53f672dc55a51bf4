"""The tables in which records are kept; `migrations/` makes them, a test holds the two together."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    CheckConstraint,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeEngine

__all__ = [
    "Base",
    "BatchRow",
    "DecisionRow",
    "DeletedImageRow",
    "DeletionRow",
    "ImageRow",
    "ModelRow",
    "PredictionRow",
    "SettingRow",
    "UtcDateTime",
    "WaitingRow",
]


class UtcDateTime(TypeDecorator[datetime]):
    """A time aware of its zone, kept in UTC; SQLite keeps it as text that sorts by time."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the column type that `dialect` has for it."""
        return dialect.type_descriptor(DateTime(timezone=dialect.name != "sqlite"))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return what is handed to the database."""
        if value is None:
            return None
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return what the database gave, in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


class Base(DeclarativeBase):
    """What all tables share: constraints have names, so that a later version can change them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class ModelRow(Base):
    """A model that gave answers, under the name by which it first came."""

    __tablename__ = "model"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    classes: Mapped[list[str]] = mapped_column(JSON)
    max_novelty: Mapped[float] = mapped_column(Double)


class BatchRow(Base):
    """Answers recorded together."""

    __tablename__ = "batch"
    # An id that was deleted must not come back: a page may still be showing it.
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    model_sha256: Mapped[str] = mapped_column(ForeignKey("model.sha256"), index=True)


class PredictionRow(Base):
    """What a model said of an image."""

    __tablename__ = "answer"
    __table_args__ = (
        CheckConstraint("decision IN ('accepted', 'review')", name="decision"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    batch_id: Mapped[int] = mapped_column(ForeignKey("batch.id"), index=True)
    name: Mapped[str] = mapped_column(String(255))
    image: Mapped[str] = mapped_column(String(64), index=True)
    label: Mapped[str] = mapped_column(Text)
    probabilities: Mapped[list[float]] = mapped_column(JSON)
    confidence: Mapped[float] = mapped_column(Double)
    novelty: Mapped[float] = mapped_column(Double)
    decision: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class ImageRow(Base):
    """A kept picture, apart from its answer so that lists of answers do not read it."""

    __tablename__ = "picture"

    answer_id: Mapped[int] = mapped_column(
        ForeignKey("answer.id"), primary_key=True, autoincrement=False
    )
    png: Mapped[bytes] = mapped_column(LargeBinary)


class WaitingRow(Base):
    """A cell in the queue; without a picture there is nothing to look at, hence the foreign key."""

    __tablename__ = "waiting"
    # The order in which cells are handed out.
    __table_args__ = (Index(None, "model_sha256", "certainty", "answer_id"),)

    answer_id: Mapped[int] = mapped_column(
        ForeignKey("picture.answer_id"), primary_key=True, autoincrement=False
    )
    model_sha256: Mapped[str] = mapped_column(ForeignKey("model.sha256"))
    certainty: Mapped[float] = mapped_column(Double)
    claimed_by: Mapped[str | None] = mapped_column(String(100), index=True)
    claimed_until: Mapped[datetime | None] = mapped_column(UtcDateTime)


class DecisionRow(Base):
    """One step in what people said of an answer; the primary key refuses a double.

    ``stands`` is the number of the decision that is in force after this step: its own, or for an
    undo that of the one before what was undone, if there is one.
    """

    __tablename__ = "decision"
    __table_args__ = (
        CheckConstraint("kind IN ('class', 'unusable', 'undo')", name="kind"),
        Index(None, "reviewer", "at"),
    )

    answer_id: Mapped[int] = mapped_column(
        ForeignKey("answer.id"), primary_key=True, autoincrement=False
    )
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(16))
    reviewer: Mapped[str] = mapped_column(String(100))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    before: Mapped[str | None] = mapped_column(Text)
    after: Mapped[str | None] = mapped_column(Text)
    stands: Mapped[int | None]


class SettingRow(Base):
    """A setting from then on; the newest row of a key holds."""

    __tablename__ = "setting"
    __table_args__ = (Index(None, "key", "id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(100))
    value: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    by: Mapped[str] = mapped_column(String(100))


class DeletionRow(Base):
    """The trace of a deletion."""

    __tablename__ = "deletion"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    by: Mapped[str] = mapped_column(String(100))
    what: Mapped[str] = mapped_column(Text)
    images: Mapped[int]
    answers: Mapped[int]


class DeletedImageRow(Base):
    """An image of which a deletion removed something."""

    __tablename__ = "deleted_image"

    deletion_id: Mapped[int] = mapped_column(
        ForeignKey("deletion.id"), primary_key=True, autoincrement=False
    )
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
