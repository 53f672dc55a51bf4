"""Fixtures that run each test of the review store on SQLite and on PostgreSQL."""

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from hematovision.review.database import Base
from hematovision.review.store import ReviewStore
from postgresql_server import NoServerError, postgresql


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a PostgreSQL server that runs while the tests do."""
    try:
        server = postgresql()
        url = server.__enter__()
    except NoServerError as error:
        pytest.skip(str(error))
    yield url
    server.__exit__(None, None, None)


@pytest.fixture(scope="session")
def new_database(postgresql_server: str) -> Callable[[], str]:
    """Create an empty database on the server; yield its URL."""
    numbers = itertools.count()

    def make() -> str:
        name = f"records_{next(numbers)}"
        with psycopg.connect(postgresql_server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return make_url(postgresql_server).set(database=name).render_as_string(hide_password=False)

    return make


@pytest.fixture
def quick_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where the system has such: a busy disk takes its time for every commit."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, quick_folder: Path) -> str:
    """The URL of a database without tables, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{quick_folder / 'records.sqlite3'}"
    return request.getfixturevalue("new_database")()


@pytest.fixture(scope="session")
def sqlite_with_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "records.sqlite3"
    ReviewStore.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def postgresql_with_tables(new_database: Callable[[], str]) -> str:
    url = new_database()
    ReviewStore.open(url).close()
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def ready_url(request: pytest.FixtureRequest, quick_folder: Path) -> str:
    """The URL of a database with empty tables, of each kind in turn; made once, for speed."""
    if request.param == "sqlite":
        path = quick_folder / "records.sqlite3"
        shutil.copy(request.getfixturevalue("sqlite_with_tables"), path)
        return f"sqlite:///{path}"
    url: str = request.getfixturevalue("postgresql_with_tables")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"TRUNCATE {', '.join(Base.metadata.tables)} RESTART IDENTITY")
    return url


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **time: float) -> None:
        self.now += timedelta(**time)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(ready_url: str, clock: Clock) -> Iterator[ReviewStore]:
    """An open service on an empty database, of each kind in turn."""
    with closing(ReviewStore.open(ready_url, clock=clock)) as store:
        yield store
