"""What SQLite needs to be told before records are safe in it."""

from __future__ import annotations

import sqlite3
import time
from typing import Any

from sqlalchemy import Connection, Engine, event

__all__ = ["BEGIN", "READING", "prepare_sqlite"]

BEGIN = "hematovision_begin"
"""Execution option of a connection: the statement that begins its transactions, or nothing."""

READING = {BEGIN: "BEGIN"}
"""Execution options of connections that only read; they wait for nobody."""

_PATIENCE = 30.0  # s that a writer waits for the others

# Foreign keys are off unless asked for. With a write-ahead log readers do not wait for the writer
# (https://sqlite.org/wal.html); in that mode only FULL makes a commit survive a loss of power.
# Secure delete overwrites deleted pictures with zeros (https://sqlite.org/pragma.html).
_PRAGMAS = (
    f"PRAGMA busy_timeout = {int(_PATIENCE * 1000)}",
    "PRAGMA foreign_keys = ON",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = ON",
)


def prepare_sqlite(engine: Engine) -> Engine:
    """Set up every connection of `engine`, and make its transactions whole.

    Python's module begins a transaction at the first change, after what was read before it, and
    commits before tables are made. Here it leaves that to us: who writes takes the lock at the
    beginning, so that nothing changes between looking and writing.
    """
    event.listen(engine, "connect", _connected)
    event.listen(engine, "begin", _begin)
    return engine


def _connected(connection: sqlite3.Connection, _: Any) -> None:
    connection.isolation_level = None
    try:
        for pragma in _PRAGMAS:
            _insist(connection, pragma)
    except sqlite3.Error:
        connection.close()
        raise


def _insist(connection: sqlite3.Connection, statement: str) -> None:
    """Execute `statement`, again while the file is locked.

    SQLite does not wait by itself while several processes at once put a new file into WAL mode.
    """
    until = time.monotonic() + _PATIENCE
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
    if statement := connection.get_execution_options().get(BEGIN, "BEGIN IMMEDIATE"):
        connection.exec_driver_sql(statement)
