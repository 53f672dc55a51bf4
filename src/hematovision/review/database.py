"""The database of predictions and reviews: its tables, SQLite or PostgreSQL, and migrations."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    JSON,
    URL,
    CheckConstraint,
    Connection,
    DateTime,
    Dialect,
    Double,
    Engine,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    create_engine,
    event,
    make_url,
    text,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.types import TypeEngine

from hematovision.errors import DatabaseError, ReviewConflictError
from hematovision.files import sha256_bytes
from hematovision.paths import data_folder

__all__ = [
    "VERSION_TABLE", "Base", "BatchRow", "Database", "DecisionRow", "DeletedImageRow",
    "DeletionRow", "ImageRow", "ModelRow", "PredictionRow", "SettingRow", "UtcDateTime",
    "WaitingRow", "database_url", "image_key",
]  # fmt: skip

VERSION_TABLE = "hematovision_version"
"""Name of Alembic's table; not the default, so that other programs can share the database."""

_LOG = logging.getLogger(__name__)

_DRIVERS = {
    "sqlite": "sqlite+pysqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
}
_CONNECT_TIMEOUT = 10  # seconds
# Keys of PostgreSQL's advisory locks; other programs are unlikely to use them.
_MIGRATION_LOCK, _WRITE_LOCK = 4_849_317_001, 4_849_317_002
_BUSY_TIMEOUT = 30.0  # seconds that a SQLite writer waits for other writers

# Foreign keys are off by default. With a write-ahead log, readers don't wait for the writer
# (https://sqlite.org/wal.html), and commits survive a power cut only with FULL. Secure delete
# overwrites deleted images with zeros (https://sqlite.org/pragma.html).
_PRAGMAS = (
    f"PRAGMA busy_timeout = {int(_BUSY_TIMEOUT * 1000)}",
    "PRAGMA foreign_keys = ON",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = ON",
)
_BEGIN = "hematovision_begin"  # execution option: the statement that begins SQLite transactions
_READING = {_BEGIN: "BEGIN"}  # readers do not wait


# --- tables --------------------------------------------------------------------------------------


class UtcDateTime(TypeDecorator[datetime]):
    """A timezone-aware time stored in UTC; SQLite stores it as text that sorts by time."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the column type of `dialect`."""
        return dialect.type_descriptor(DateTime(timezone=dialect.name != "sqlite"))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the value to store."""
        if value is None:
            return None
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return a stored value in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Base of all tables; constraints have names, so that migrations can change them."""

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
    """A model, with the name it was first recorded under."""

    __tablename__ = "model"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    classes: Mapped[list[str]] = mapped_column(JSON)
    max_novelty: Mapped[float] = mapped_column(Double)


class BatchRow(Base):
    """Predictions recorded together."""

    __tablename__ = "batch"
    # Deleted ids must not be reused: an open page may still refer to one.
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    model_sha256: Mapped[str] = mapped_column(ForeignKey("model.sha256"), index=True)


class PredictionRow(Base):
    """A model's prediction for an image."""

    __tablename__ = "prediction"
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
    """A stored image, in its own table so that lists of predictions don't load it."""

    __tablename__ = "image"

    prediction_id: Mapped[int] = mapped_column(
        ForeignKey("prediction.id"), primary_key=True, autoincrement=False
    )
    png: Mapped[bytes] = mapped_column(LargeBinary)


class WaitingRow(Base):
    """A cell in the queue; the foreign key requires its image.

    `image_key` is NULL if a person queued the cell. Otherwise it is unique, so that the program
    queues an image only once.
    """

    __tablename__ = "waiting"
    __table_args__ = (
        Index(None, "model_sha256", "certainty", "prediction_id"),  # the order of claims
        Index(None, "image_key", unique=True),
    )

    prediction_id: Mapped[int] = mapped_column(
        ForeignKey("image.prediction_id"), primary_key=True, autoincrement=False
    )
    model_sha256: Mapped[str] = mapped_column(ForeignKey("model.sha256"))
    certainty: Mapped[float] = mapped_column(Double)
    claimed_by: Mapped[str | None] = mapped_column(String(100), index=True)
    claimed_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    image_key: Mapped[str | None] = mapped_column(String(64))


class DecisionRow(Base):
    """One step in the review of a prediction; the primary key prevents duplicates.

    ``stands`` is the number of the decision in force after this step: its own, or after an undo the
    previous decision's, if any.
    """

    __tablename__ = "decision"
    __table_args__ = (
        CheckConstraint("kind IN ('class', 'unusable', 'undo')", name="kind"),
        Index(None, "reviewer", "at"),
    )

    prediction_id: Mapped[int] = mapped_column(
        ForeignKey("prediction.id"), primary_key=True, autoincrement=False
    )
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(16))
    reviewer: Mapped[str] = mapped_column(String(100))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    before: Mapped[str | None] = mapped_column(Text)
    after: Mapped[str | None] = mapped_column(Text)
    stands: Mapped[int | None]


class SettingRow(Base):
    """A change of a setting; the newest row of a key is in force."""

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
    predictions: Mapped[int]


class DeletedImageRow(Base):
    """An image affected by a deletion."""

    __tablename__ = "deleted_image"

    deletion_id: Mapped[int] = mapped_column(
        ForeignKey("deletion.id"), primary_key=True, autoincrement=False
    )
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)


def image_key(image: str, classes: Sequence[str]) -> str:
    """Return the `WaitingRow.image_key` of an image (SHA-256) for models with these classes."""
    return sha256_bytes("\0".join((image, *classes)).encode())


# --- connections ---------------------------------------------------------------------------------


def database_url(url: str | None = None) -> URL:
    """Return the URL of the database, with the installed driver.

    `url` is ``sqlite:///records.sqlite3`` or ``postgresql://user:password@host/name``. The default
    is ``HEMATOVISION_DATABASE_URL``, or ``records.sqlite3`` in the user's data folder. Raises
    `DatabaseError` unless it is the URL of a SQLite file or PostgreSQL database.
    """
    given = url or os.environ.get("HEMATOVISION_DATABASE_URL")
    if not given:
        path = (data_folder() / "records.sqlite3").absolute()
        return URL.create(_DRIVERS["sqlite"], database=str(path))
    try:
        parsed = make_url(given)
        kind = parsed.drivername.partition("+")[0]
    except (ArgumentError, ValueError):  # not chained: its text may contain the password
        parsed, kind = URL.create("none"), ""
    if kind not in _DRIVERS:
        raise DatabaseError(
            "The database URL (HEMATOVISION_DATABASE_URL) must begin with sqlite:/// or "
            f"postgresql://. Received a URL that begins with {kind or 'neither'!r}."
        )
    name = parsed.database or ":memory:"
    if kind == "sqlite" and name.startswith((":memory:", "file:")):
        raise DatabaseError(
            "The URL must name the file of a SQLite database, such as sqlite:///records.sqlite3; "
            f"records in memory would be lost when the program ends. Received {name!r}."
        )
    return parsed.set(drivername=_DRIVERS[kind])


class Database:
    """An open database, shared by threads.

    Errors in a session are raised as `DatabaseError`; if two sessions write the same row, one gets
    a `ReviewConflictError`.

    Parameters
    ----------
    url : URL
        From `database_url`.
    """

    def __init__(self, url: URL) -> None:
        self.url = url
        self.name = url.set(query={}).render_as_string(hide_password=True)
        self.engine = self._create()
        self._reading = self.engine.execution_options(**_READING)

    def _create(self) -> Engine:
        if self.is_sqlite:
            engine = create_engine(self.url)
            event.listen(engine, "connect", _connected)
            event.listen(engine, "begin", _begin)
            return engine
        timeout = {"connect_timeout": _CONNECT_TIMEOUT, **self.url.query}["connect_timeout"]
        arguments = {"connect_timeout": timeout}
        return create_engine(self.url, pool_pre_ping=True, connect_args=arguments)

    @property
    def is_sqlite(self) -> bool:
        """Whether this is SQLite rather than PostgreSQL."""
        return self.url.get_backend_name() == "sqlite"

    @classmethod
    def open(cls, url: str | None = None) -> Database:
        """Open a database and migrate its tables to this version.

        Raises `DatabaseError` if it can't be reached, is not a database, or was written by a newer
        version.
        """
        database = cls(database_url(url))
        try:
            with database._converting_errors("opened"):
                database._make_private()
                _migrate(database.engine, database.name)
        except BaseException:
            database.close()
            raise
        _LOG.info("Records: %s.", database.name)
        return database

    def _make_private(self) -> None:
        """Create a missing SQLite file and its folder, readable by their owner only.

        SQLite gives its log files the same permissions (https://sqlite.org/wal.html).
        """
        path = Path(str(self.url.database))
        if self.is_sqlite and not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600, exist_ok=True)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Yield a read-only session on a consistent snapshot of the records."""
        with self._converting_errors("read"), Session(self._reading) as session:
            yield session

    @contextmanager
    def writing(self, *, exclusive: bool = False) -> Iterator[Session]:
        """Yield a session that is committed when the block ends, or rolled back on an error.

        `exclusive` excludes other writers: deletions must not miss records that are being written.
        SQLite always allows only one writer.
        """
        with self._converting_errors("written"), Session(self.engine) as session, session.begin():
            if not self.is_sqlite:
                function = "pg_advisory_xact_lock" + ("" if exclusive else "_shared")
                session.execute(text(f"SELECT {function}(:key)"), {"key": _WRITE_LOCK})
            yield session

    def wipe(self) -> None:
        """Remove deleted content from SQLite's log (the file itself is overwritten on deletion).

        This has no effect while other connections use the log.
        """
        if self.is_sqlite:
            outside = self.engine.execution_options(**{_BEGIN: ""})  # of a transaction
            with suppress(OperationalError), outside.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def _converting_errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except IntegrityError as error:
            raise ReviewConflictError(
                "Somebody else changed the same records at the same time, so this step was not "
                "saved. Check the records and try again."
            ) from error
        except DBAPIError as error:
            raise self._error(what, str(error.orig)) from error
        except (OSError, PoolTimeoutError) as error:
            raise self._error(what, str(error)) from error

    def _error(self, what: str, reason: str) -> DatabaseError:
        reason = " ".join(reason.split())
        for password in filter(None, (self.url.password, self.url.query.get("password"))):
            reason = reason.replace(str(password), "***")
        advice = (
            "Check that the file belongs to HematoVision and is writable, and that the disk has "
            "space, or choose another file with HEMATOVISION_DATABASE_URL."
            if self.is_sqlite
            else "Check that the server is running and that HEMATOVISION_DATABASE_URL is right."
        )
        return DatabaseError(
            f"The records in {self.name} could not be {what}: {reason.rstrip('.')}. {advice}"
        )


def _connected(connection: sqlite3.Connection, _: Any) -> None:
    # Python's module would begin transactions only at the first change, and commit before DDL.
    connection.isolation_level = None
    try:
        for pragma in _PRAGMAS:
            _execute_patiently(connection, pragma)
    except sqlite3.Error:
        connection.close()
        raise


def _execute_patiently(connection: sqlite3.Connection, statement: str) -> None:
    """Execute `statement`, and retry while the file is locked.

    SQLite itself doesn't wait while several processes switch a new file to WAL mode.
    """
    until = time.monotonic() + _BUSY_TIMEOUT
    while True:
        try:
            connection.execute(statement)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return


def _begin(connection: Connection) -> None:
    """Acquire SQLite's write lock first, so that nothing changes between reads and writes."""
    if statement := connection.get_execution_options().get(_BEGIN, "BEGIN IMMEDIATE"):
        connection.exec_driver_sql(statement)


# --- migrations ----------------------------------------------------------------------------------


def _migrate(engine: Engine, name: str) -> None:
    """Migrate the tables in one transaction, in one process at a time."""
    config = Config()
    config.set_main_option("script_location", "hematovision.review:migrations")
    with engine.execution_options(**_READING).connect() as connection:
        if _is_current(connection, config, name):
            return
    with engine.begin() as connection:  # on SQLite, waits for the others
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        if not _is_current(connection, config, name):
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def _is_current(connection: Connection, config: Config, name: str) -> bool:
    scripts = ScriptDirectory.from_config(config)
    options = {"version_table": VERSION_TABLE}
    found = MigrationContext.configure(connection, opts=options).get_current_revision()
    known = [script.revision for script in scripts.walk_revisions()]
    if found is not None and found not in known:
        raise DatabaseError(
            f"The records in {name} have version {found!r}, written by a newer HematoVision; this "
            f"one supports versions up to {known[0]!r}. Update HematoVision, or choose another "
            "database with HEMATOVISION_DATABASE_URL. Nothing was changed."
        )
    return found == known[0]
