"""Opening, bringing up to date, and all the ways in which a database can be out of reach."""

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
from hematovision.review import migrating
from hematovision.review.database import Database, database_url
from hematovision.review.store import ReviewStore
from hematovision.review.tables import Base, BatchRow, DecisionRow, SettingRow
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


def test_the_data_folder_is_made_for_its_owner_alone(monkeypatch, tmp_path):
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
def test_other_databases_are_refused(url, message):
    with pytest.raises(DatabaseError, match=message) as caught:
        ReviewStore.open(url)
    assert "secret" not in str(caught.value)


def test_the_tables_are_those_that_the_program_knows(url):
    with closing(Database.open(url)) as database, database.reading() as session:
        options = {"version_table": migrating.VERSION_TABLE}
        context = MigrationContext.configure(session.connection(), opts=options)
        assert compare_metadata(context, Base.metadata) == []
        names = inspect(session.connection()).get_table_names()
        assert set(names) == {*Base.metadata.tables, migrating.VERSION_TABLE}


def test_opening_again_finds_what_was_recorded(url):
    with ReviewStore.open(url) as store:
        [a] = store.record(store.start_batch(MODEL), [new("a")])
    with ReviewStore.open(url) as store:
        assert [cell.prediction.id for cell in store.claim("Ana", MODEL.sha256)] == [a]


OPEN = """
import sys
from hematovision.review import migrating, store
print("ready", flush=True)
url = sys.stdin.readline().strip()
upgrade, upgraded = migrating.command.upgrade, []
migrating.command.upgrade = lambda *a: (upgraded.append(1), upgrade(*a))
opened = store.ReviewStore.open(url)
opened.set_setting("opened", "yes", "process")
opened.close()
print(len(upgraded))
"""


def test_several_processes_may_open_an_empty_database_at_once_and_one_makes_the_tables(url):
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


def test_one_process_waits_for_another_that_makes_the_tables(url, monkeypatch):
    """What the race above shows only now and then: it was up to date when the lock came free."""
    is_current, asked = migrating._is_current, []

    def answer(*arguments: object) -> bool:
        asked.append(is_current(*arguments))
        if len(asked) == 1:  # the second comes when the first has looked but does not hold the lock
            ReviewStore.open(url).close()
        return asked[-1]

    monkeypatch.setattr(migrating, "_is_current", answer)
    ReviewStore.open(url).close()
    assert asked == [False, False, False, True]


def test_records_of_a_newer_version_are_refused_and_left_alone(url):
    with closing(Database.open(url)) as database, database.writing() as session:
        session.execute(text(f"UPDATE {migrating.VERSION_TABLE} SET version_num = '0999'"))
    with pytest.raises(DatabaseError, match=r"'0999', which a newer.*up to '0001'.*Update") as e:
        ReviewStore.open(url)
    assert (make_url(url).password or "***") not in str(e.value)


def test_other_programs_tables_may_be_in_the_same_database(url):
    parsed = database_url(url)
    with closing(Database(parsed)) as database, database.writing() as session:
        session.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        session.execute(text("INSERT INTO alembic_version VALUES ('theirs')"))
    with ReviewStore.open(url) as store:
        assert store.batches() == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b"no database, whatever its name says" * 100),
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
        lambda path: path.write_bytes(path.read_bytes()[:100] + bytes(10_000)),
        lambda path: (path.unlink(), path.mkdir()),
    ],
    ids=["text", "truncated", "zeros", "folder"],
)
def test_a_file_that_is_no_database_is_refused(sqlite_with_tables: Path, tmp_path, spoil):
    path = tmp_path / "records.sqlite3"
    shutil.copy(sqlite_with_tables, path)
    spoil(path)
    with pytest.raises(DatabaseError, match=r"could not be opened: .*HEMATOVISION_DATABASE_URL"):
        ReviewStore.open(f"sqlite:///{path}")


def test_a_file_where_the_folder_should_be_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DatabaseError, match="could not be opened"):
        ReviewStore.open(f"sqlite:///{tmp_path / 'file' / 'records.sqlite3'}")


@pytest.mark.parametrize("where", ["", "?password=hunter2"])
def test_a_server_that_cannot_be_reached_is_told_without_the_password(where):
    url = f"postgresql://ana:hunter2@127.0.0.1:9/records{where}"
    with pytest.raises(DatabaseError, match="Check that the server runs") as caught:
        ReviewStore.open(url)
    error: BaseException | None = caught.value
    while error is not None:
        assert "hunter2" not in str(error)
        error = error.__cause__ or error.__context__


def test_a_wrong_password_is_not_repeated(new_database):
    url = make_url(new_database()).set(password="hunter2")
    with pytest.raises(DatabaseError, match="could not be opened") as caught:
        ReviewStore.open(url.render_as_string(hide_password=False))
    assert "hunter2" not in str(caught.value)
    assert ":***@127.0.0.1" in str(caught.value)


def test_a_server_that_ended_the_connection_is_told_and_the_next_call_works(new_database):
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


def test_a_locked_sqlite_is_told_when_patience_ends(tmp_path, monkeypatch):
    monkeypatch.setattr("hematovision.review.sqlite._PRAGMAS", ("PRAGMA busy_timeout = 50",))
    with closing(Database.open(f"sqlite:///{tmp_path / 'records.sqlite3'}")) as database:
        with database.writing() as first:
            first.execute(select(1))
            match = "could not be written: database is locked"
            with pytest.raises(DatabaseError, match=match), database.writing() as second:
                second.execute(select(1))
        with database.writing() as third:
            assert third.scalar(select(1)) == 1


def test_a_file_locked_while_it_is_set_up_is_asked_again(tmp_path, monkeypatch):
    """As when several processes put a new file into WAL mode: SQLite itself does not wait."""
    import sqlite3

    from hematovision.review import sqlite

    path = tmp_path / "records.sqlite3"
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        pragmas = ("PRAGMA busy_timeout = 0", "PRAGMA journal_mode = WAL")
        monkeypatch.setattr(sqlite, "_PRAGMAS", pragmas)
        timer = threading.Timer(0.3, other.execute, ("ROLLBACK",))
        timer.start()
        ReviewStore.open(f"sqlite:///{path}").close()
        timer.join()
        other.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr(sqlite, "_PATIENCE", 0.0)
        monkeypatch.setattr(sqlite, "_PRAGMAS", (*pragmas, "PRAGMA journal_mode = DELETE"))
        with pytest.raises(DatabaseError, match="locked"):
            ReviewStore.open(f"sqlite:///{path}")


def test_sqlite_is_told_to_be_safe(tmp_path):
    names = ("foreign_keys", "synchronous", "secure_delete", "journal_mode", "busy_timeout")
    url = f"sqlite:///{tmp_path / 'records.sqlite3'}"
    with closing(Database.open(url)) as database, database.reading() as session:
        told = [session.scalar(text(f"PRAGMA {name}")) for name in names]
    assert told == [1, 2, 1, "wal", 30_000]


def test_the_database_itself_refuses_a_second_decision_of_the_same_number(ready_url):
    with ReviewStore.open(ready_url) as store:
        [a] = store.record(store.start_batch(MODEL), [new("a")])
        store.claim("Ana", MODEL.sha256)
        store.decide(a, "Ana", "WBC")
        at = store.history(a)[0].at
    double = DecisionRow(answer_id=a, number=1, kind="class", reviewer="Ben", at=at, after="RBC")
    with closing(Database.open(ready_url)) as database:
        match = "at the same moment"
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
