"""Opening a database, creating its tables, and databases that can't be reached."""

import shutil
import subprocess
import sys
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import func, inspect, make_url, select, text

from hematovision.errors import DatabaseError, ReviewConflictError, ReviewError
from hematovision.review import database as module
from hematovision.review.database import (
    VERSION_TABLE,
    Base,
    BatchRow,
    Database,
    DecisionRow,
    SettingRow,
    database_url,
)
from hematovision.review.store import ReviewStore
from review_predictions import MODEL, new


def test_the_url_comes_from_the_caller_then_the_environment_then_the_data_folder(
    monkeypatch, tmp_path
):
    monkeypatch.delenv("HEMATOVISION_DATABASE_URL", raising=False)
    monkeypatch.setenv("HEMATOVISION_HOME", str(tmp_path / "mine"))
    assert database_url().database == str(tmp_path / "mine" / "records.sqlite3")
    monkeypatch.setenv("HEMATOVISION_DATABASE_URL", "postgres://ana@host/records")
    assert database_url().drivername == "postgresql+psycopg"
    assert database_url("sqlite:///a.db").database == "a.db"


def test_the_data_folder_is_created_for_its_owner_only(monkeypatch, tmp_path):
    monkeypatch.delenv("HEMATOVISION_DATABASE_URL", raising=False)
    monkeypatch.setenv("HEMATOVISION_HOME", str(tmp_path / "new" / "hematovision"))
    with ReviewStore.open() as store:
        assert store.where.endswith("records.sqlite3")
    folder = tmp_path / "new" / "hematovision"
    assert (folder / "records.sqlite3").is_file()
    if sys.platform != "win32":
        for path in (folder, folder / "records.sqlite3"):
            assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://ana:secret@host/db", "begins with 'mysql'"),
        ("no url, secret", "begins with 'neither'"),
        ("postgresql://ana:secret@host:port/db", "begins with 'neither'"),
        ("sqlite://", "in memory"),
        ("sqlite:///file:records?mode=memory&uri=true", "must name the file"),
        ("sqlite:///:memory:", "in memory"),
    ],
)
def test_other_databases_are_rejected(url, message):
    with pytest.raises(DatabaseError, match=message) as caught:
        ReviewStore.open(url)
    assert "secret" not in str(caught.value)


def test_a_new_database_has_the_declared_tables(url):
    with closing(Database.open(url)) as database, database.reading() as session:
        options = {"version_table": VERSION_TABLE}
        context = MigrationContext.configure(session.connection(), opts=options)
        assert compare_metadata(context, Base.metadata) == []
        names = inspect(session.connection()).get_table_names()
        assert set(names) == {*Base.metadata.tables, VERSION_TABLE}


def test_reopening_finds_the_records(url):
    with ReviewStore.open(url) as store:
        [a] = store.record(store.start_batch(MODEL), [new("a")])
    with ReviewStore.open(url) as store:
        assert [cell.prediction.id for cell in store.claim("Ana", MODEL.sha256)] == [a]


OPEN = """
import sys
from hematovision.review import database, store
print("ready", flush=True)
url = sys.stdin.readline().strip()
upgrade, upgraded = database.command.upgrade, []
database.command.upgrade = lambda *a: (upgraded.append(1), upgrade(*a))
opened = store.ReviewStore.open(url)
opened.set_setting("opened", "yes", "process")
opened.close()
print(len(upgraded))
"""


def test_several_processes_can_open_an_empty_database_and_one_creates_the_tables(url):
    command = [sys.executable, "-W", "error", "-c", OPEN]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write(url + "\n")
        process.stdin.flush()
    upgrades = [process.communicate()[0].strip() for process in processes]
    assert sorted(upgrades) == ["0", "0", "1"]
    with closing(Database.open(url)) as database, database.reading() as session:
        assert session.scalar(select(func.count()).select_from(SettingRow)) == 3


def test_one_process_waits_for_another_that_creates_the_tables(url, monkeypatch):
    """The race above, made certain: the tables are up to date when the lock is released."""
    is_current, asked = module._is_current, []

    def is_current_and_note(*arguments: object) -> bool:
        asked.append(is_current(*arguments))
        if len(asked) == 1:  # the second comes when the first has looked but does not hold the lock
            ReviewStore.open(url).close()
        return asked[-1]

    monkeypatch.setattr(module, "_is_current", is_current_and_note)
    ReviewStore.open(url).close()
    assert asked == [False, False, False, True]


def test_records_of_a_newer_version_are_rejected_and_left_unchanged(url):
    with closing(Database.open(url)) as database, database.writing() as session:
        session.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '0999'"))
    with pytest.raises(
        DatabaseError, match=r"'0999', written by a newer.*up to '0002'.*Update"
    ) as e:
        ReviewStore.open(url)
    assert (make_url(url).password or "***") not in str(e.value)


def test_other_programs_can_have_tables_in_the_same_database(url):
    parsed = database_url(url)
    with closing(Database(parsed)) as database, database.writing() as session:
        session.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        session.execute(text("INSERT INTO alembic_version VALUES ('theirs')"))
    with ReviewStore.open(url) as store:
        assert store.batches() == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b"no database, despite its name" * 100),
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
        lambda path: path.write_bytes(path.read_bytes()[:100] + bytes(10_000)),
        lambda path: (path.unlink(), path.mkdir()),
    ],
    ids=["text", "truncated", "zeros", "folder"],
)
def test_a_file_that_is_not_a_database_is_rejected(sqlite_with_tables: Path, tmp_path, spoil):
    path = tmp_path / "records.sqlite3"
    shutil.copy(sqlite_with_tables, path)
    spoil(path)
    with pytest.raises(DatabaseError, match=r"could not be opened: .*HEMATOVISION_DATABASE_URL"):
        ReviewStore.open(f"sqlite:///{path}")


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DatabaseError, match="could not be opened"):
        ReviewStore.open(f"sqlite:///{tmp_path / 'file' / 'records.sqlite3'}")


@pytest.mark.parametrize("where", ["", "?password=hunter2"])
def test_an_unreachable_server_is_an_error_that_hides_the_password(where):
    url = f"postgresql://ana:hunter2@127.0.0.1:9/records{where}"
    with pytest.raises(DatabaseError, match="Check that the server is running") as caught:
        ReviewStore.open(url)
    error: BaseException | None = caught.value
    while error is not None:
        assert "hunter2" not in str(error)
        error = error.__cause__ or error.__context__


def test_a_wrong_password_is_not_shown(new_database):
    url = make_url(new_database()).set(password="hunter2")
    with pytest.raises(DatabaseError, match="could not be opened") as caught:
        ReviewStore.open(url.render_as_string(hide_password=False))
    assert "hunter2" not in str(caught.value)
    assert ":***@127.0.0.1" in str(caught.value)


def test_a_closed_connection_is_an_error_and_the_next_call_works(new_database):
    ended = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid != pg_backend_pid()"
    )
    with closing(Database.open(new_database())) as database:
        with pytest.raises(DatabaseError, match="could not be read"), database.reading() as session:
            session.scalar(select(func.count()).select_from(BatchRow))
            with database.engine.begin() as other:
                other.execute(ended)
            session.scalar(select(func.count()).select_from(BatchRow))
        with database.reading() as session:
            assert session.scalar(select(func.count()).select_from(BatchRow)) == 0


def test_a_locked_sqlite_file_is_an_error_after_the_timeout(tmp_path, monkeypatch):
    monkeypatch.setattr("hematovision.review.database._PRAGMAS", ("PRAGMA busy_timeout = 50",))
    with closing(Database.open(f"sqlite:///{tmp_path / 'records.sqlite3'}")) as database:
        with database.writing() as first:
            first.execute(select(1))
            match = "could not be written: database is locked"
            with pytest.raises(DatabaseError, match=match), database.writing() as second:
                second.execute(select(1))
        with database.writing() as third:
            assert third.scalar(select(1)) == 1


def test_a_file_locked_during_setup_is_retried(tmp_path, monkeypatch):
    """As when several processes put a new file into WAL mode: SQLite itself does not wait."""
    import sqlite3

    from hematovision.review import database as module

    path = tmp_path / "records.sqlite3"
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        pragmas = ("PRAGMA busy_timeout = 0", "PRAGMA journal_mode = WAL")
        monkeypatch.setattr(module, "_PRAGMAS", pragmas)
        timer = threading.Timer(0.3, other.execute, ("ROLLBACK",))
        timer.start()
        ReviewStore.open(f"sqlite:///{path}").close()
        timer.join()
        other.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr(module, "_BUSY_TIMEOUT", 0.0)
        monkeypatch.setattr(module, "_PRAGMAS", (*pragmas, "PRAGMA journal_mode = DELETE"))
        with pytest.raises(DatabaseError, match="locked"):
            ReviewStore.open(f"sqlite:///{path}")


def test_sqlite_settings_are_durable_and_private(tmp_path):
    names = ("foreign_keys", "synchronous", "secure_delete", "journal_mode", "busy_timeout")
    url = f"sqlite:///{tmp_path / 'records.sqlite3'}"
    with closing(Database.open(url)) as database, database.reading() as session:
        found = [session.scalar(text(f"PRAGMA {name}")) for name in names]
    assert found == [1, 2, 1, "wal", 30_000]


def test_the_database_rejects_a_second_decision_of_the_same_number(ready_url):
    with ReviewStore.open(ready_url) as store:
        [a] = store.record(store.start_batch(MODEL), [new("a")])
        store.claim("Ana", MODEL.sha256)
        store.decide(a, "Ana", "WBC")
        at = store.history(a)[0].at
    values = {"kind": "class", "reviewer": "Ben", "at": at, "after": "RBC"}
    double = DecisionRow(prediction_id=a, number=1, **values)
    with closing(Database.open(ready_url)) as database:
        match = "at the same time"
        with pytest.raises(ReviewConflictError, match=match), database.writing() as session:
            session.add(double)
        with database.reading() as session:
            assert session.scalars(select(DecisionRow.reviewer)).all() == ["Ana"]


def test_an_error_in_the_middle_leaves_nothing(ready_url):
    with closing(Database.open(ready_url)) as database:
        with pytest.raises(ReviewError, match="no"), database.writing() as session:
            session.add(SettingRow(key="k", value="v", by="Ana", at=datetime.now(UTC)))
            session.flush()
            raise ReviewError("no")
        with database.reading() as session:
            assert session.scalars(select(SettingRow.id)).all() == []
