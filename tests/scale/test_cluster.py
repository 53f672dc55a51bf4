"""Tasks on Ray: they return, or there is an error with the reason."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from hematovision.errors import ClusterError, MissingExtraError, OutputError
from hematovision.scale import cluster as module
from hematovision.scale.cluster import Cluster, Connection, connected


@dataclass(frozen=True)
class Packed:
    """Opened, it is its number."""

    number: int

    def open(self) -> int:
        return self.number


def add(opened: int, item: int) -> int:
    return opened + item


def refuse(opened: int, item: int) -> int:
    raise OutputError(f"no space for {item}")


def stumble(opened: int, item: int) -> int:
    raise ZeroDivisionError("a defect")


def die_once(opened: int, item: str) -> str:
    """End the whole process the first time, as if its machine were gone."""
    mark = Path(item)
    if not mark.exists():
        mark.write_text("seen")
        os._exit(1)
    return "survived"


def die(opened: int, item: int) -> int:
    if item == 1:
        os._exit(1)
    return item


def sleep(opened: int, item: float) -> float:
    time.sleep(item)
    return item


def run(connection: Connection, work, items, packed: Packed = Packed(10)) -> list:
    # Functions of a test module are not importable on workers: they travel by value.
    ray_cloudpickle = pytest.importorskip("ray.cloudpickle")
    import sys

    ray_cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        return list(connection.run(work, connection.share(packed), items))
    finally:
        ray_cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def test_every_item_returns_once(ray_here: Connection):
    done = run(ray_here, add, range(25))
    assert sorted(task.item for task in done) == list(range(25))
    assert all(task.result == task.item + 10 for task in done)


def test_items_are_read_only_as_far_as_needed(ray_here: Connection):
    taken = []

    def items():
        for i in range(100):
            taken.append(i)
            yield i

    first = next(iter_run(ray_here, items()))
    assert first.result == first.item + 10
    assert len(taken) <= 5  # Two processors, twice as many in flight, and the one that returned.


def iter_run(connection: Connection, items):
    import sys

    import ray.cloudpickle

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    return connection.run(add, connection.share(Packed(10)), items)


def test_a_task_whose_process_died_is_retried(ray_here: Connection, tmp_path: Path):
    (done,) = run(ray_here, die_once, [str(tmp_path / "mark")])
    assert done.result == "survived"


def test_a_task_that_always_dies_is_reported_and_the_others_finish(ray_here: Connection):
    done = run(ray_here, die, range(4))
    assert {task.item: task.result for task in done} == {0: 0, 1: None, 2: 2, 3: 3}
    assert [task.lost[:18] for task in done if task.result is None] == ["WorkerCrashedError"]


def test_our_own_errors_pass_through(ray_here: Connection):
    with pytest.raises(OutputError, match="no space for 0"):
        run(ray_here, refuse, [0])


def test_an_unexpected_error_on_a_worker_is_reported(ray_here: Connection):
    with pytest.raises(ClusterError, match="ZeroDivisionError"):
        run(ray_here, stumble, [0])


def test_another_version_on_a_worker_is_an_error(ray_here: Connection, monkeypatch):
    monkeypatch.setattr(module, "__version__", "0.0.1")
    with pytest.raises(ClusterError, match=r"this machine 0\.0\.1"):
        run(ray_here, add, [0])


def test_tasks_that_do_not_return_end_in_an_error(ray_here: Connection):
    impatient = Connection(Cluster(stall_seconds=1))
    begun = time.monotonic()
    with pytest.raises(ClusterError, match="No task returned for 1 s; 1 are waiting"):
        run(impatient, sleep, [60.0])
    assert time.monotonic() - begun < 30


def test_a_task_too_large_for_every_machine_ends_in_an_error(ray_here: Connection):
    with pytest.raises(ClusterError, match="1 live nodes with 2 CPUs"):
        run(Connection(Cluster(cpus=64, stall_seconds=1)), add, [0])


def test_an_unreachable_cluster_is_an_error(monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)

    def unreachable(**options):
        assert options["address"] == "127.0.0.1:9"
        raise ConnectionError("nobody there")

    monkeypatch.setattr(ray, "init", unreachable)
    with (
        pytest.raises(ClusterError, match=r"nobody there\. Check --ray-address"),
        connected(Cluster("127.0.0.1:9")),
    ):
        pass


def test_without_ray_the_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match="needs the module 'ray'"), connected(Cluster()):
        pass


def test_the_address_in_the_environment_is_used(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert module._options(Cluster())["address"] == "head:6379"
    assert module._options(Cluster("other:6379"))["address"] == "other:6379"
    monkeypatch.delenv("RAY_ADDRESS")
    assert module._options(Cluster(local_cpus=3)) == {
        "address": "local",
        "num_cpus": 3,
        "include_dashboard": False,
        "object_store_memory": 200 * 2**20,
        "log_to_driver": False,
        "logging_level": 40,
    }
