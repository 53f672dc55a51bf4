"""The database that holds the records: SQLite in the user's data folder, or PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import URL, Engine, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from hematovision.errors import DatabaseError, ReviewConflictError
from hematovision.paths import data_folder
from hematovision.review.migrating import migrate
from hematovision.review.sqlite import BEGIN, READING, prepare_sqlite

__all__ = ["Database", "database_url"]

_DRIVERS = {
    "sqlite": "sqlite+pysqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
}
_CONNECT_TIMEOUT = 10  # s; without it an address that does not answer is waited for for minutes
_LOCK = 4_849_317_002  # any number that other programs on the server are unlikely to choose


def database_url(url: str | None = None) -> URL:
    """Return which database to use, with the driver that is installed.

    Parameters
    ----------
    url : str, optional
        As SQLAlchemy writes it, ``sqlite:///records.sqlite3`` or
        ``postgresql://user:password@host/name``. Else ``HEMATOVISION_DATABASE_URL`` says it, else
        it is ``records.sqlite3`` in the user's data folder.

    Raises
    ------
    DatabaseError
        If it is no URL, of another kind of database, or of one in memory.
    """
    given = url or os.environ.get("HEMATOVISION_DATABASE_URL")
    if not given:
        path = (data_folder() / "records.sqlite3").absolute()
        return URL.create(_DRIVERS["sqlite"], database=str(path))
    try:
        parsed = make_url(given)
        kind = parsed.drivername.partition("+")[0]
    except (ArgumentError, ValueError):  # its text may hold the password: not passed on
        parsed, kind = URL.create("none"), ""
    if kind not in _DRIVERS:
        raise DatabaseError(
            "The database's URL (HEMATOVISION_DATABASE_URL) must begin with sqlite:/// or "
            f"postgresql://. Received one that begins with {kind or 'neither'!r}."
        )
    name = parsed.database or ":memory:"
    if kind == "sqlite" and name.startswith((":memory:", "file:")):
        raise DatabaseError(
            "The URL must name the file of a SQLite database, sqlite:///records.sqlite3; in memory "
            f"records would be lost when the program ends. Received {name!r}."
        )
    return parsed.set(drivername=_DRIVERS[kind])


class Database:
    """An open database, with sessions that read, write, or write while nobody else does.

    Parameters
    ----------
    url : URL
        From `database_url`.

    Notes
    -----
    Threads may share it. What goes wrong in a session comes out as a `DatabaseError`; two who
    would have written the same row, as a `ReviewConflictError`.
    """

    def __init__(self, url: URL) -> None:
        self.url = url
        self.name = url.set(query={}).render_as_string(hide_password=True)
        self.engine = self._create()
        self._reading = self.engine.execution_options(**READING)

    def _create(self) -> Engine:
        if self.is_sqlite:
            return prepare_sqlite(create_engine(self.url))
        timeout = {"connect_timeout": _CONNECT_TIMEOUT, **self.url.query}["connect_timeout"]
        arguments = {"connect_timeout": timeout}
        return create_engine(self.url, pool_pre_ping=True, connect_args=arguments)

    @property
    def is_sqlite(self) -> bool:
        """Whether this is SQLite rather than PostgreSQL."""
        return self.url.get_backend_name() == "sqlite"

    @classmethod
    def open(cls, url: str | None = None) -> Database:
        """Open a database and bring its tables up to date.

        Raises
        ------
        DatabaseError
            If it cannot be reached, is no database, or of a newer version of this program.
        """
        parsed = database_url(url)
        database = cls(parsed)
        try:
            with database._telling("opened"):
                database._make_private()
                migrate(database.engine, database.name)
        except BaseException:
            database.close()
            raise
        return database

    def _make_private(self) -> None:
        """Create a SQLite file and its folder, if they are not there, for their owner's eyes only.

        SQLite gives the files of its log the same permissions (https://sqlite.org/wal.html).
        """
        path = Path(str(self.url.database))
        if self.is_sqlite and not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600, exist_ok=True)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Give a session that sees one state of the records and changes none."""
        with self._telling("read"), Session(self._reading) as session:
            yield session

    @contextmanager
    def writing(self, *, alone: bool = False) -> Iterator[Session]:
        """Give a session whose changes are on disk when the block ends, or all undone on an error.

        Parameters
        ----------
        alone : bool
            Wait until nobody else writes, and keep them waiting: for deletions, which must not
            miss what is being recorded just now. SQLite has one writer at a time anyhow.
        """
        with self._telling("written"), Session(self.engine) as session, session.begin():
            if not self.is_sqlite:
                function = "pg_advisory_xact_lock" + ("" if alone else "_shared")
                session.execute(text(f"SELECT {function}(:key)"), {"key": _LOCK})
            yield session

    def wipe(self) -> None:
        """Let deleted content leave SQLite's log, too; the file itself has it overwritten.

        Somebody who reads or writes all the time keeps the log; it is then emptied the next time.
        """
        if self.is_sqlite:
            outside = self.engine.execution_options(**{BEGIN: ""})  # of a transaction
            with suppress(OperationalError), outside.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def _telling(self, what: str) -> Iterator[None]:
        """Turn what the database says against the block into an error of ours."""
        try:
            yield
        except IntegrityError as error:
            raise ReviewConflictError(
                "Somebody else changed the same records at the same moment; nothing of this step "
                "was kept. Look at them again and repeat it."
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
            "Check that the file is one of HematoVision's, may be written and has space left; name "
            "another with HEMATOVISION_DATABASE_URL."
            if self.is_sqlite
            else "Check that the server runs and that HEMATOVISION_DATABASE_URL is right."
        )
        return DatabaseError(
            f"The records in {self.name} could not be {what}: {reason.rstrip('.')}. {advice}"
        )
