"""Counts and tables of the benchmarks of `classify`, without the timing."""

import sys
import threading
from pathlib import Path

import pytest

from benchmarks import startup, throughput
from benchmarks.machine import Measured, run_measured
from benchmarks.throughput import Rates, on_all_processors, process, table_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs os.wait4")


def test_a_process_is_timed_and_its_output_kept():
    run = run_measured([sys.executable, "-c", "print('x' * 3); bytearray(50_000_000)"])
    assert run.output == "xxx\n"
    assert 0 < run.seconds < 20
    assert 50 < run.peak_mb < 500


def test_a_failing_process_is_an_error_with_the_reason():
    with pytest.raises(RuntimeError, match=r"(?s)ended with 1.*no such thing"):
        run_measured([sys.executable, "-c", "raise SystemExit('no such thing')"])


def test_every_image_is_dealt_to_one_thread(monkeypatch):
    monkeypatch.setattr(throughput, "usable_cpus", lambda: 3)
    done, threads = [], set()

    def work(number):
        done.append(number)
        threads.add(threading.get_ident())

    rates = on_all_processors(work, 100)
    assert sorted(done) == list(range(100))
    assert rates.whole == rates.steady > 0


def test_the_start_is_the_time_for_one_image(tmp_path: Path, monkeypatch):
    for name, n in (("one", 1), ("images", 5)):
        (tmp_path / name).mkdir()
        for number in range(n):
            (tmp_path / name / f"{number}.jpg").touch()
    seconds = {"one": 2.0, "images": 4.0}
    monkeypatch.setattr(
        throughput, "run_measured", lambda words: Measured(seconds[words[0].name], 1.0, "")
    )
    assert process(tmp_path / "images", lambda folder: [folder]) == Rates(1.25, 2.0, 2.0)


def test_the_limit_is_that_of_one_part_after_the_other():
    flat = {"decode": 600.0, "inference": 300.0}
    runs = {name: [Rates(rate, rate, 0)] * 3 for name, rate in flat.items()}
    runs["classify"] = [Rates(rate, rate + 20, 0.5) for rate in (180.0, 100.0, 500.0)]
    runs["Keras, same bundle"] = [Rates(45.0, 50.0, 7.0)] * 3
    table = table_of(runs, 20_000)
    assert "| limit | 200 | 200 |  | 0.90 | 1.00 |" in table
    assert "| Keras, same bundle | 45 | 50 | 7.0 s | 4.00 | 4.00 |" in table
    assert "| classify | 180 | 200 | 0.5 s | 1.00 | 1.00 |" in table
    assert "20,000 JPEGs" in table
    assert "Medians of 3 rounds." in table


def test_partial_rounds_are_compared_with_classify_in_the_same_rounds():
    runs = {
        "classify": [Rates(100.0, 110.0, 0.5), Rates(200.0, 220.0, 0.5), Rates(200.0, 220.0, 0.5)],
        "decode": [Rates(600.0, 600.0, 0)] * 3,
        "inference": [Rates(300.0, 300.0, 0)] * 3,
        "Keras": [Rates(50.0, 55.0, 7.0)],
    }
    table = table_of(runs, 20_000)
    assert "| Keras | 50 | 55 | 7.0 s | 2.00 | 2.00 |" in table
    assert "| classify | 200 | 220 | 0.5 s | 1.00 | 1.00 |" in table
    assert "Medians of 3 rounds; Keras ran in the first 1." in table


def test_memory_is_compared_with_that_of_a_thousand_images():
    cold = [Measured(seconds, 120.0, "") for seconds in (0.6, 0.5, 0.9)]
    many = {
        (1000, ".csv"): Measured(5.0, 140.0, ""),
        (100_000, ".csv"): Measured(400.0, 147.0, ""),
    }
    table = startup.table_of(cold, many)
    assert "| one prediction | 0.60 s | 120 MB | 3 runs, 0.50 to 0.90 |" in table
    assert "| 100,000 to .csv | 400.0 s | 147 MB | 1.050 of the peak at 1,000 |" in table


@pytest.mark.slow
def test_images_of_both_kinds_are_linked_in_turn(real_data: Path, tmp_path: Path):
    folder = throughput.make_images(real_data, tmp_path, 40)
    found = [path.resolve() for path in sorted(folder.iterdir())]
    assert len(found) == 40
    assert all("pbc" in path.parts for path in found[::2])
    assert all("bccd" in path.parts and tmp_path.resolve() in path.parents for path in found[1::2])
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["0.jpg"]
