"""Work on threads comes in order, is never far ahead, and ends when nobody listens."""

import itertools
import threading
import time

import pytest

from hematovision.model.inference import LOOK_AHEAD, ahead


def test_results_come_in_the_order_of_the_items():
    delays = [0.05, 0.0, 0.02, 0.0]
    assert list(ahead(lambda s: (time.sleep(s), s)[1], delays, 4)) == delays


def test_an_endless_supply_is_read_no_further_than_needed():
    taken = []
    supply = (taken.append(i) or i for i in itertools.count())
    results = ahead(lambda i: i, supply, 2)
    assert next(results) == 0
    results.close()
    assert len(taken) == 2 * LOOK_AHEAD
    assert not [thread for thread in threading.enumerate() if "classify" in thread.name]


def test_what_an_item_raises_is_raised_in_its_turn():
    results = ahead(lambda i: 6 // i, [3, 2, 0, 1], 2)
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)
