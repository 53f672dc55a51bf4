"""Both databases: what is said of the records of reviews holds on each."""

import itertools
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from hematovision.review.service import ReviewService
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
    """Make an empty database on the server; gives its URL."""
    numbers = itertools.count()

    def make(template: str = "template1") -> str:
        name = f"records_{next(numbers)}"
        with psycopg.connect(postgresql_server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return make_url(postgresql_server).set(database=name).render_as_string(hide_password=False)

    return make


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without tables, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'records.sqlite3'}"
    return request.getfixturevalue("new_database")()


@pytest.fixture(scope="session")
def sqlite_with_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "records.sqlite3"
    ReviewService.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def postgresql_with_tables(new_database: Callable[..., str]) -> str:
    url = new_database()
    ReviewService.open(url).close()
    return make_url(url).database or ""


@pytest.fixture(params=["sqlite", "postgresql"])
def ready_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database with empty tables, of each kind in turn; a copy, which is quicker."""
    if request.param == "sqlite":
        path = tmp_path / "records.sqlite3"
        shutil.copy(request.getfixturevalue("sqlite_with_tables"), path)
        return f"sqlite:///{path}"
    template = request.getfixturevalue("postgresql_with_tables")
    return request.getfixturevalue("new_database")(template)


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
def service(ready_url: str, clock: Clock) -> Iterator[ReviewService]:
    """An open service on an empty database, of each kind in turn."""
    with closing(ReviewService.open(ready_url, clock=clock)) as service:
        yield service
