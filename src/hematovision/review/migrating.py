"""Bringing the tables of a database to what this version of the program knows."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from hematovision.errors import DatabaseError
from hematovision.review.sqlite import READING

__all__ = ["VERSION_TABLE", "migrate"]

VERSION_TABLE = "hematovision_version"
"""Of our own, so that a server's database may hold other programs' tables as well."""

_LOCK = 4_849_317_001  # any number that other programs on the server are unlikely to choose


def migrate(engine: Engine, name: str) -> None:
    """Bring the tables up to date; when several processes do so at once, one does it.

    Parameters
    ----------
    engine : Engine
    name : str
        The database, as errors call it.

    Raises
    ------
    DatabaseError
        If the tables are of a newer version of this program.
    """
    config = Config()
    config.set_main_option("script_location", "hematovision.review:migrations")
    with engine.execution_options(**READING).connect() as connection:
        if _is_current(connection, config, name):
            return
    with engine.begin() as connection:  # on SQLite this alone waits for the others
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
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
            f"The records in {name} are of version {found!r}, which a newer HematoVision wrote; "
            f"this one knows versions up to {known[0]!r}. Update HematoVision, or name another "
            "database with HEMATOVISION_DATABASE_URL. Nothing was changed."
        )
    return found == known[0]
