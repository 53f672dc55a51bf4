"""Classification on a cluster: the same rows as locally, each once, even if workers are lost."""

import os
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from colour_squares import write_square
from dots import DotCounter, dots
from hematovision import images
from hematovision.errors import (
    BundleError,
    ClusterError,
    OutputError,
    TooManyBytesError,
    UnreadableFileError,
)
from hematovision.model.bundle import MANIFEST, read_bundle
from hematovision.model.classifier import Classifier
from hematovision.scale import classify as module
from hematovision.scale.addresses import ImageFile, list_files
from hematovision.scale.classify import (
    PackedClassifier,
    Shard,
    classify_on_cluster,
    fetch,
    predict_shard,
    shard_size,
)
from hematovision.scale.cluster import Done
from hematovision.scale.parts import Parts
from hematovision.workflows.classify import classify

PART = "part-000000-0123456789ab.parquet"


def rows(table: Path) -> list[dict]:
    """Return the rows of a table, in parts or not, sorted by path."""
    return sorted(pq.read_table(table).to_pylist(), key=lambda row: row["path"])


@pytest.mark.parametrize(
    ("n", "expected"),
    [(1, 64), (10_000, 64), (100_000, 100), (1_000_000, 1000), (10**8, 4096)],
)
def test_shard_sizes_are_limited_in_both_directions(n: int, expected: int):
    assert shard_size(n) == expected


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The folder of a table, as created by the driver."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def test_a_packed_classifier_predicts_like_the_original(colour_model: Path, cells: Path):
    classifier = Classifier.load(colour_model)
    opened = PackedClassifier.of(classifier.bundle).open()
    image = cells / "green" / "1.png"
    assert opened.predict(image) == classifier.predict(image)
    assert opened.workers == 1


def test_a_bundled_model_can_be_packed():
    opened = PackedClassifier.of(Classifier.load("rbc-wbc-platelets").bundle).open()
    assert opened.classes == ("RBC", "WBC", "Platelets")


def test_a_classifier_altered_in_transit_is_rejected(colour_model: Path):
    packed = PackedClassifier.of(read_bundle(colour_model))
    altered = {name: data[:-1] + b"?" for name, data in packed.files.items() if name != MANIFEST}
    with pytest.raises(BundleError, match="altered"):
        PackedClassifier({**packed.files, **altered}).open()


def test_a_shard_is_predicted_in_order_as_in_the_local_table(
    colour_model: Path, cells: Path, tmp_path: Path, out: Path
):
    here = tmp_path / "here.parquet"
    classify([cells], model=colour_model, out=here)
    shard = Shard(str(out), PART, tuple(list_files([str(cells)])))
    part = predict_shard(Classifier.load(colour_model, workers=1), shard)
    written = pq.read_table(out / shard.part)
    assert written.to_pylist() == pq.read_table(here).to_pylist()
    assert part.counts == {
        ("red", "review"): 3,
        ("green", "review"): 4,
        ("blue", "review"): 4,
        ("", "refused"): 1,
    }
    assert [Path(name).name for name, _ in part.errors] == ["3.png"]
    assert part.unread == 0


@pytest.mark.parametrize("root", ["", "file:///"])
def test_an_image_that_cannot_be_fetched_is_a_row_and_is_counted(
    colour_model: Path, cells: Path, out: Path, root: str
):
    gone = str(cells / "gone.png")
    shard = Shard(str(out), PART, (ImageFile(gone, gone, root),))
    part = predict_shard(Classifier.load(colour_model), shard)
    assert part.unread == 1
    assert part.errors[0][0] == gone


def test_bytes_are_read_from_a_path_or_file_system(cells: Path):
    expected = (cells / "red" / "0.png").read_bytes()
    for address in (str(cells / "red"), (cells / "red").as_uri()):
        assert fetch(list_files([address])[0]).source == expected


@pytest.mark.parametrize("root", ["", "file:///"])
def test_a_file_that_is_too_large_is_not_kept(tmp_path: Path, monkeypatch, root: str):
    path = tmp_path / "large.png"
    path.write_bytes(bytes(40))
    monkeypatch.setattr(images, "MAX_BYTES", 32)
    if not root:
        os.truncate(path, 2**28 + 1)  # A hole, not bytes on the disk.
    content = fetch(ImageFile(str(path), str(path), root)).source
    assert isinstance(content, TooManyBytesError)
    assert not isinstance(content, UnreadableFileError)


def test_rows_of_any_predictor_are_written_and_found_again(tmp_path: Path, out: Path):
    for i in range(3):
        images.write(tmp_path / "dots" / f"{i}.png", dots(*range(i)))
    files = tuple(list_files([str(tmp_path / "dots")]))
    part = predict_shard(DotCounter(), Shard(str(out), PART, files))
    assert [row["x"] for row in pq.read_table(out / PART).to_pylist()] == [0, 0, 1]
    assert list(part.stamps) == [file.name for file in files], "an image without rows is done too"
    assert part.counts == {("", ""): 3}
    assert Parts(str(out)).done(files) == [part]


@pytest.mark.usefixtures("ray_here", "small_shards")
def test_a_cluster_returns_the_same_rows_as_this_machine(
    colour_model: Path, cells: Path, tmp_path: Path
):
    here, there = tmp_path / "here.parquet", tmp_path / "there"
    expected = classify([cells], model=colour_model, out=here)
    steps: list[tuple[int, int, str]] = []
    found = classify_on_cluster(
        [str(cells)],
        model=colour_model,
        out=str(there),
        progress=lambda *step: steps.append(step),
    )
    assert rows(there) == rows(here)
    assert len(list(there.glob("part-*.parquet"))) == 6
    assert found.n == 12
    assert found.counts == expected.counts
    assert found.review == expected.review
    assert [str(error) for error in found.refused] == [str(error) for error in expected.refused]
    assert [done for done, *_ in steps] == [2, 4, 6, 8, 10, 12]
    assert steps[-1] == (12, 12, "Classifying", "images")


@pytest.mark.usefixtures("ray_here", "small_shards")
def test_only_missing_or_changed_images_are_processed_again(
    colour_model: Path, cells: Path, tmp_path: Path
):
    out = tmp_path / "out"
    classify_on_cluster([str(cells)], model=colour_model, out=str(out))
    parts = {path.name: path.stat().st_mtime_ns for path in out.glob("part-*")}
    assert sorted(parts)[0].startswith("part-000000-")

    gone = sorted(parts)[1]
    (out / gone).unlink()
    write_square(cells / "red" / "0.png", (1, 2, 250))
    write_square(cells / "blue" / "new.png", (250, 1, 2))
    found = classify_on_cluster([str(cells)], model=colour_model, out=str(out), resume=True)

    now = {path.name: path.stat().st_mtime_ns for path in out.glob("part-*")}
    kept = set(parts) & set(now)
    assert len(kept) == 4
    assert all(now[name] == parts[name] for name in kept)
    assert found.before == 8
    labels = {Path(row["path"]).relative_to(cells).as_posix(): row["label"] for row in rows(out)}
    assert len(labels) == len(rows(out)) == 13
    assert labels["red/0.png"] == "blue"
    assert labels["blue/new.png"] == "red"


def test_no_task_is_started_if_all_images_are_done(
    colour_model: Path, cells: Path, tmp_path: Path, ray_here, monkeypatch
):
    out = str(tmp_path / "out")
    first = classify_on_cluster([str(cells)], model=colour_model, out=out)
    monkeypatch.setattr(module, "connected", None)
    again = classify_on_cluster([str(cells)], model=colour_model, out=out, resume=True)
    assert again.before == again.n == first.n
    assert again.counts == first.counts
    assert [str(error) for error in again.refused] == [str(error) for error in first.refused]


@pytest.mark.usefixtures("ray_here")
def test_images_and_table_can_be_at_uris(colour_model: Path, cells: Path, tmp_path: Path):
    out = (tmp_path / "out").as_uri()
    found = classify_on_cluster([cells.as_uri()], model=colour_model, out=out)
    assert found.n == 12
    (first, *_) = rows(tmp_path / "out")
    assert first["path"] == f"file://{cells}/blue/0.png"
    assert first["label"] == "blue"


@pytest.mark.usefixtures("ray_here")
def test_images_are_read_over_http(colour_model: Path, cells: Path, tmp_path: Path):
    pytest.importorskip("aiohttp")
    import functools
    import http.server
    import threading

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(cells))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        uri = f"http://127.0.0.1:{server.server_address[1]}/green/2.png"
        found = classify_on_cluster([uri], model=colour_model, out=str(tmp_path / "out"))
        server.shutdown()
    assert (found.n, found.counts["green"]) == (1, 1)


def test_a_shard_that_is_lost_for_good_is_an_error_and_can_be_resumed(
    colour_model: Path, cells: Path, tmp_path: Path, ray_here, small_shards, monkeypatch
):
    run = module.Connection.run
    with monkeypatch.context() as patch:
        # As if Ray had given the third shard up; what came of it does not count.
        def losing(self, work, shared, items):
            yield from run(self, work, shared, (i for n, i in enumerate(items) if n != 2))
            yield Done(None, None, "WorkerCrashedError: gone")

        patch.setattr(module.Connection, "run", losing)
        with pytest.raises(ClusterError, match=r"1 of 6 shards .* 10 of 12 .* --resume"):
            classify_on_cluster([str(cells)], model=colour_model, out=str(tmp_path / "out"))
    found = classify_on_cluster(
        [str(cells)], model=colour_model, out=str(tmp_path / "out"), resume=True
    )
    assert (found.n, found.before) == (12, 10)
    assert len({row["path"] for row in rows(tmp_path / "out")}) == len(rows(tmp_path / "out")) == 12


@pytest.mark.usefixtures("ray_here")
def test_parts_that_this_machine_does_not_see_are_an_error(
    colour_model: Path, cells: Path, tmp_path: Path, monkeypatch
):
    monkeypatch.setattr(module.Parts, "names", lambda self: [])
    with pytest.raises(ClusterError, match="a local disk"):
        classify_on_cluster([str(cells)], model=colour_model, out=str(tmp_path / "out"))


def test_a_table_of_another_model_is_not_continued(
    colour_model: Path, cells: Path, tmp_path: Path, ray_here
):
    out = str(tmp_path / "out")
    classify_on_cluster([str(cells)], model=colour_model, out=out)
    with pytest.raises(OutputError, match=r"different settings \(model, "):
        classify_on_cluster([str(cells)], model="pbc8", out=out, resume=True)


@pytest.fixture
def two_nodes(monkeypatch: pytest.MonkeyPatch):
    """A cluster of two nodes with one processor each, which soon notices that one is gone."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    utils = pytest.importorskip("ray.cluster_utils")
    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    soon = {
        "health_check_initial_delay_ms": 1000,
        "health_check_period_ms": 500,
        "health_check_timeout_ms": 1000,
        "health_check_failure_threshold": 3,
    }
    head = {**node, "include_dashboard": False, "_system_config": soon}
    cluster = utils.Cluster(initialize_head=True, head_node_args=head)
    cluster.second = cluster.add_node(**node)
    yield cluster
    cluster.shutdown()


def test_a_node_is_removed_in_the_middle(
    colour_model: Path, two_nodes, tmp_path: Path, monkeypatch
):
    """The job ends within the deadline, or is resumed; nothing is lost and nothing is there twice.

    In a process of its own, since a process connects to one cluster at a time.
    """
    import subprocess
    import sys
    import threading

    monkeypatch.setattr(module, "_SMALLEST", 8)
    folder, out = tmp_path / "cells", tmp_path / "out"
    for i in range(600):
        write_square(folder / f"{i:03d}.png", (250, i % 100, 10), side=400)
    script = (
        "import sys; from hematovision.scale import classify as m; "
        "from hematovision.scale.cluster import Cluster; m._SMALLEST = 8; "
        "m.classify_on_cluster([sys.argv[1]], model=sys.argv[2], out=sys.argv[3], resume=True, "
        "cluster=Cluster(sys.argv[4], cpus=0.5, stall_seconds=60))"
    )
    arguments = [str(folder), str(colour_model), str(out), two_nodes.address]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        reader = threading.Thread(target=process.stdout.read)
        reader.start()
        begun = time.monotonic()
        while len(list(out.glob("part-*"))) < 10:
            assert time.monotonic() - begun < 60
            assert process.poll() is None
            time.sleep(0.02)
        two_nodes.remove_node(two_nodes.second, allow_graceful=False)
        at_removal = len(list(out.glob("part-*")))
        process.wait(timeout=120)
        reader.join()
    assert at_removal < 75, "the node was to be removed before the end"
    if process.returncode:
        again = subprocess.run([sys.executable, "-c", script, *arguments], env=environment)
        assert again.returncode == 0
    paths = [row["path"] for row in rows(out)]
    assert len(paths) == len(set(paths)) == 600
    here = tmp_path / "here.parquet"
    classify([folder], model=colour_model, out=here)
    assert rows(out) == rows(here)
