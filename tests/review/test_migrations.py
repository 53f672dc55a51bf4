"""Databases of the first version (0001), really written by its code, migrate and keep every record.

``data/records-v0001-*.sql`` are dumps of them: SQLite's own and pg_dump's.
"""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text

from hematovision.files import sha256_bytes
from hematovision.review.database import VERSION_TABLE, Base, Database, database_url, image_key
from hematovision.review.records import Retention
from hematovision.review.store import ReviewStore
from review_predictions import CLASSES, MODEL, new, png

DATA = Path(__file__).with_name("data")
RENAMED = {"answer": "prediction", "picture": "image"}
WAITING = f"INSERT INTO waiting VALUES (7, '{sha256_bytes(b'retrained')}', 0.6, NULL, NULL)"


@pytest.fixture
def old_url(url: str) -> str:
    """The URL of a database of version 0001; the image c is waiting twice, as could happen."""
    kind = url.partition(":")[0]
    script = (DATA / f"records-v0001-{kind}.sql").read_text()
    if kind == "sqlite":
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.executescript(script)
            connection.execute(WAITING)
            connection.commit()
    else:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(script)
            connection.execute(WAITING)
    return url


def rows(url: str) -> dict[str, list[tuple[object, ...]]]:
    """The content of all tables, under their new names, without the column `image_key`."""
    found = {}
    with closing(Database(database_url(url))) as database, database.engine.connect() as connection:
        for table in set(inspect(connection).get_table_names()) - {VERSION_TABLE}:
            selected = connection.execute(text(f"SELECT * FROM {table}"))
            values = [dict(row) | {"image_key": None} for row in selected.mappings()]
            found[RENAMED.get(table, table)] = sorted(repr(list(row.values())) for row in values)
    return found


def test_a_migration_keeps_every_record(old_url):
    before = rows(old_url)
    assert {table: len(values) for table, values in before.items()} == {
        "model": 2,
        "batch": 2,
        "prediction": 7,
        "image": 7,
        "waiting": 5,
        "decision": 4,
        "setting": 2,
        "deletion": 2,
        "deleted_image": 3,
    }
    ReviewStore.open(old_url).close()
    assert rows(old_url) == before


def test_a_migrated_database_has_the_tables_of_a_new_one(old_url):
    with closing(Database.open(old_url)) as database, database.reading() as session:
        options = {"version_table": VERSION_TABLE}
        context = MigrationContext.configure(session.connection(), opts=options)
        assert compare_metadata(context, Base.metadata) == []
        if not database.is_sqlite:
            query = (
                "SELECT conname FROM pg_constraint UNION SELECT relname FROM pg_class "
                "WHERE relnamespace = 'public'::regnamespace"
            )
            names = session.scalars(text(query)).all()
            assert not [name for name in names if "answer" in name or "picture" in name]


def test_a_migrated_database_works(old_url, clock):
    clock.now = clock.now.replace(minute=5)
    with ReviewStore.open(old_url, clock=clock) as store:
        assert {queue.model.name: queue.waiting for queue in store.queues()} == {
            "three": 3,
            "retrained": 2,
        }
        assert [(step.kind, step.before, step.after) for step in store.history(3)] == [
            ("class", "RBC", "RBC"),
            ("undo", "RBC", "RBC"),
        ]
        assert [(cell.label, cell.png) for cell in store.reviewed()] == [("WBC", png("a"))]
        assert store.agreement(MODEL.sha256).unusable == 1
        assert [deletion.predictions for deletion in store.deletions()] == [1, 2]
        assert store.retention() == Retention("all")
        assert store.setting("model in use") == "three"
        assert [cell.prediction.name for cell in store.claim("Ana", MODEL.sha256)] == [
            *("c.png", "sure.png")
        ]  # Ben still holds d
        store.decide(3, "Ana", "WBC")
        assert store.undo("Ana").prediction_id == 3
        batch = store.start_batch(MODEL)
        assert batch > 3  # numbers of deleted batches and predictions do not come back
        assert store.record(batch, [new("d"), new("g")])[0] > 10
        assert sum(queue.waiting for queue in store.queues()) == 6


def test_of_cells_that_wait_twice_the_first_keeps_the_key(old_url):
    with closing(Database.open(old_url)) as database, database.reading() as session:
        found = session.execute(text("SELECT prediction_id, image_key FROM waiting")).all()
    keys = {3: "c", 4: "d", 6: "e"}  # 5 was sent by a person, 7 is c again
    assert {number: key for number, key in found if key} == {
        number: image_key(sha256_bytes(name.encode()), CLASSES) for number, name in keys.items()
    }


KILLED = """
import os, signal, sys
from sqlalchemy import Engine, event
from hematovision.review.database import Database

left = int(sys.argv[1])

@event.listens_for(Engine, "after_cursor_execute")
def count(connection, cursor, statement, *_):
    global left
    if statement.startswith(("ALTER", "DROP", "CREATE", "UPDATE")):
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

Database.open(os.environ["HEMATOVISION_DATABASE_URL"])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is not there")
@pytest.mark.parametrize("statements", [1, 4, 9, 13])
def test_a_migration_killed_in_the_middle_loses_nothing_and_the_next_start_finishes(
    old_url, statements
):
    before = rows(old_url)
    environment = {**os.environ, "HEMATOVISION_DATABASE_URL": old_url}
    command = [sys.executable, "-c", KILLED, str(statements)]
    assert subprocess.run(command, env=environment, check=False).returncode == -9
    assert rows(old_url) == before
    with closing(Database.open(old_url)) as database, database.reading() as session:
        assert session.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}")) == "0002"
    assert rows(old_url) == before
