"""The cache of features gives back what was put, and says what is wrong with it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from hematovision.errors import OutputError
from hematovision.training.feature_cache import FeatureCache, open_cache


def test_a_row_is_given_back_as_it_was_put():
    row = np.arange(1283, dtype=np.float32)
    with open_cache("ab" * 32) as cache:
        cache.put([(b"key", row)])
    with open_cache("ab" * 32) as cache:
        np.testing.assert_array_equal(cache.get(b"key"), row)
        assert cache.get(b"another") is None


def test_what_is_known_is_told_without_its_rows():
    keys = [bytes([i]) * 33 for i in range(200)]
    with open_cache("ab" * 32) as cache:
        cache.put((key, np.zeros(1283, np.float32)) for key in keys[::2])
        cache.put([(keys[1], np.zeros(3, np.float32))])
        assert cache.known(keys) == set(keys[::2])
        assert cache.known([]) == set()


def test_threads_read_and_write_at_once():
    def use(number: int) -> float:
        key = bytes([number]) * 33
        cache.put([(key, np.full(1283, number, np.float32))])
        row = cache.get(key)
        assert row is not None
        return float(row[-1])

    with open_cache("ab" * 32) as cache, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(use, range(64))) == list(range(64))


def test_a_damaged_cache_says_which_file_to_delete(tmp_path: Path):
    with open_cache("ab" * 32) as cache:
        path = cache.path
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(OutputError, match="Delete the file"):
        FeatureCache("ab" * 32)


def test_a_closed_cache_is_an_error_of_ours():
    cache = FeatureCache("ab" * 32)
    cache.close()
    with pytest.raises(OutputError, match="cannot be used"):
        cache.get(b"key")
    with pytest.raises(OutputError, match="cannot be used"):
        cache.known([b"key"])
    with pytest.raises(OutputError, match="cannot be used"):
        cache.put([(b"key", np.zeros(1283, np.float32))])
