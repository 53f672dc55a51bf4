"""The feature cache: rows, threads, damage and errors."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from hematovision.errors import OutputError
from hematovision.training.feature_cache import FeatureCache, open_cache


def test_a_row_is_returned_as_it_was_stored():
    row = np.arange(1284, dtype=np.float32)
    with open_cache("ab" * 32) as cache:
        cache.put([(b"key", row)])
    with open_cache("ab" * 32) as cache:
        np.testing.assert_array_equal(cache.get(b"key"), row)
        assert cache.get(b"another") is None


def test_stored_keys_are_listed_without_their_rows():
    keys = [bytes([i]) * 33 for i in range(200)]
    with open_cache("ab" * 32) as cache:
        cache.put((key, np.zeros(1284, np.float32)) for key in keys[::2])
        cache.put([(keys[1], np.zeros(3, np.float32))])
        assert cache.known(keys) == set(keys[::2])
        assert cache.known([]) == set()


def test_threads_read_and_write_at_once():
    def use(number: int) -> float:
        key = bytes([number]) * 33
        cache.put([(key, np.full(1284, number, np.float32))])
        row = cache.get(key)
        assert row is not None
        return float(row[-1])

    with open_cache("ab" * 32) as cache, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(use, range(64))) == list(range(64))


def test_a_damaged_cache_is_an_error_that_names_the_file(tmp_path: Path):
    with open_cache("ab" * 32) as cache:
        path = cache.path
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(OutputError, match="Delete the file"):
        FeatureCache("ab" * 32)


def test_using_a_closed_cache_is_an_output_error():
    cache = FeatureCache("ab" * 32)
    cache.close()
    with pytest.raises(OutputError, match="cannot be used"):
        cache.get(b"key")
    with pytest.raises(OutputError, match="cannot be used"):
        cache.known([b"key"])
    with pytest.raises(OutputError, match="cannot be used"):
        cache.put([(b"key", np.zeros(1284, np.float32))])


def damaged(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement, values)


def test_an_altered_row_is_ignored_with_one_warning(caplog):
    rows = [(bytes([i]) * 33, np.full(1284, i, np.float32)) for i in range(4)]
    with open_cache("cd" * 32) as cache:
        cache.put(rows)
        path = cache.path
    stored = bytearray(np.full(1284, 1, "<f4").tobytes() + bytes(4))
    damaged(path, "UPDATE features SET row = ? WHERE key = ?", bytes(stored), rows[1][0])
    with closing(sqlite3.connect(path)) as connection:
        (flipped,) = connection.execute(
            "SELECT row FROM features WHERE key = ?", (rows[2][0],)
        ).fetchone()
    one_bit = bytes([*flipped[:2000], flipped[2000] ^ 1, *flipped[2001:]])
    damaged(path, "UPDATE features SET row = ? WHERE key = ?", one_bit, rows[2][0])
    with open_cache("cd" * 32) as cache:
        known = [cache.get(key) is not None for key, _ in rows]
        assert known == [True, False, False, True]
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "computed again" in caplog.text
        cache.put(rows)
        assert all(np.array_equal(cache.get(key), row) for key, row in rows)


def test_swapped_rows_are_ignored():
    first, second = b"\1" * 33, b"\2" * 33
    with open_cache("de" * 32) as cache:
        cache.put([(first, np.zeros(1284, np.float32)), (second, np.ones(1284, np.float32))])
        path = cache.path
    damaged(path, "UPDATE features SET key = ? WHERE key = ?", b"\3" * 33, first)
    damaged(path, "UPDATE features SET key = ? WHERE key = ?", first, second)
    with open_cache("de" * 32) as cache:
        assert cache.get(first) is None
