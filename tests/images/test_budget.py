"""Threads share how many pixels they decode at once."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from hematovision import images
from image_files import noise, save


def most_at_once(budget, sizes):
    """Take all sizes on threads; return the most pixels, and the most images, held at once."""
    lock, held, most = threading.Lock(), list[int](), [0, 0]

    def take(size):
        with budget.taken(size):
            with lock:
                held.append(size)
                most[:] = max(most[0], sum(held)), max(most[1], len(held))
            time.sleep(0.01)
            with lock:
                held.remove(size)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(take, sizes))
    return most


def test_large_images_are_decoded_as_far_as_they_fit_together():
    pixels, number = most_at_once(images.PixelBudget(2**24), [5 * 10**6] * 24)
    assert pixels <= 2**24
    assert number == 3


def test_one_beyond_the_budget_is_decoded_alone_and_not_left_waiting():
    _, number = most_at_once(images.PixelBudget(2**22), [2**26] * 6)
    assert number == 1
    mixed = [2**21, 2**26] * 8
    assert most_at_once(images.PixelBudget(2**22), mixed)[0] <= 2**26 + 2**21


def test_ordinary_images_do_not_wait():
    assert most_at_once(images.PixelBudget(2**20), [360 * 363] * 64)[1] > 3


def test_a_budget_changes_no_pixel(tmp_path):
    data = save(noise(1100, 1000, 3), "PNG")
    budget = images.PixelBudget(2**20)
    assert (images.load(data, budget=budget) == images.load(data)).all()
