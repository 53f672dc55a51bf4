"""The inference loop: results in order, little read ahead, stopped when the caller stops."""

import itertools
import re
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import hematovision
from dots import SCHEMA, DotCounter, dots, png
from hematovision.errors import ImageError, NotAnImageError, TooManyPixelsError
from hematovision.model.inference import (
    LOOK_AHEAD,
    Item,
    Together,
    ahead,
    infer,
    predict_image,
)


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


def test_running_work_can_be_stopped_when_the_results_are_closed():
    stop, begun = threading.Event(), threading.Event()

    def work(number):
        if number:
            begun.set()
            assert stop.wait(20)
        return number

    results = ahead(work, [0, 1, 2], 2, on_close=stop.set)
    assert next(results) == 0
    assert begun.wait(20)
    assert not stop.is_set()
    results.close()
    assert stop.is_set()


def test_an_items_error_is_raised_at_its_position():
    results = ahead(lambda i: 6 // i, [3, 2, 0, 1], 2)
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_images_yield_none_one_or_several_rows():
    items = [Item("none", dots()), Item("one", png(3)), Item("three", dots(0, 2, 7))]
    results = list(infer(DotCounter(), items))
    assert [result.name for result in results] == ["none", "one", "three"]
    assert [[row.x for row in result.rows] for result in results] == [[], [3], [0, 2, 7]]
    assert [row.on_edge for row in results[2].rows] == [True, False, True]
    assert results[1].prediction.share == 1
    assert all(result.error is result.pixels is result.attention is None for result in results)
    for row in itertools.chain.from_iterable(result.rows for result in results):
        SCHEMA.check(row.values())


def test_an_unreadable_image_yields_one_row_with_the_error():
    fetched = ImageError("lost", "the share is away")
    items = [Item("text", b"no image"), Item("lost", fetched), Item("one", dots(1))]
    text, lost, one = infer(DotCounter(), items)
    assert isinstance(text.error, NotAnImageError)
    assert [row.error for row in text.rows] == [text.error.reason]
    assert lost.error is fetched
    assert lost.prediction.error == "the share is away"
    assert one.prediction.x == 1
    SCHEMA.check(text.prediction.values())


def test_an_image_that_does_not_fit_into_memory_is_an_error_of_its_own():
    class Starved(DotCounter):
        def predict_rows(self, pixels, name, *, explain=False):
            raise MemoryError

    result = predict_image(Starved(), Item("large", dots(1)))
    assert isinstance(result.error, TooManyPixelsError)
    assert "not enough free memory" in result.prediction.error


def test_pixels_are_kept_only_if_requested():
    item = Item("one", png(3))
    assert predict_image(DotCounter(), item).pixels is None
    np.testing.assert_array_equal(
        predict_image(DotCounter(), item, keep_pixels=True).pixels, dots(3)
    )


def test_several_predictors_read_each_image_once():
    read = []

    class Counting(DotCounter):
        def read(self, source, name):
            read.append(name)
            return super().read(source, name)

    together = Together([Counting(), Counting(), Counting()])
    items = [Item("a", png(3)), Item("b", b"no image")]
    good, bad = infer(together, items, threads=1)
    assert read == ["a", "b"]
    assert [row.x for row in good.rows] == [3, 3, 3]
    assert len(bad.rows) == 1


def test_a_predictor_of_another_size_reads_the_shared_image_itself():
    class Halving(DotCounter):
        def read(self, source, name):
            return super().read(source, name)[:, ::2]

    def read(source, name):
        return DotCounter().read(source, name)

    both = Together([DotCounter(), Halving()], read)
    (result,) = infer(both, [Item("a", dots(2, 4))])
    assert [row.x for row in result.rows] == [2, 4, 1, 2]


def test_only_this_module_calls_a_predictor_on_an_image():
    package = Path(hematovision.__file__).parent
    call = re.compile(r"\.(predict_rows|predict_batch|predict_images|attention)\(")
    found = [p.name for p in sorted(package.rglob("*.py")) if call.search(p.read_text("utf-8"))]
    # All are part of a predictor: two pass on images, one classifies cells of a field, and one runs
    # its self-test.
    assert found == ["analyzer.py", "deciding.py", "slides.py", "classifier.py", "inference.py"]
