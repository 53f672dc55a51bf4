"""Analysis on a cluster: the same files as on one machine."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from hematovision.errors import ClusterError
from hematovision.model.inference import Predictor
from hematovision.progress import no_progress
from hematovision.scale import analyze as module
from hematovision.scale.analyze import RayEngine, shard_size
from hematovision.scale.cluster import Connection, Done
from hematovision.workflows.analyze import AnalyzeOptions, run_analysis
from hematovision.workflows.analyze.engine import LocalEngine
from square_finder import SquareFinder, opened_finder, outputs, write_field

FINDER = SquareFinder()


@dataclass(frozen=True)
class PackedFinder:
    """A `SquareFinder` that is opened on a worker."""

    def open(self) -> SquareFinder:
        return SquareFinder()


def packed(analyzer: Predictor) -> PackedFinder:
    assert analyzer is FINDER
    return PackedFinder()


@pytest.fixture
def fields(tmp_path: Path) -> Path:
    """Seven fields in two folders, and a broken file."""
    for i in range(7):
        write_field(tmp_path / "fields" / f"{i % 2}" / f"{i}.png", ["RBC", "RBC", "WBC"] * (i + 1))
    (tmp_path / "fields" / "0" / "broken.png").write_bytes(b"not an image")
    return tmp_path / "fields"


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch) -> None:
    monkeypatch.setattr(module, "_SMALLEST", 3)


def run(engine, address: str, out: Path, *, resume: bool = False, **options):
    return run_analysis(
        opened_finder(FINDER),
        [address],
        out,
        AnalyzeOptions(**options),
        resume=resume,
        engine=engine,
        progress=no_progress,
    )


@pytest.mark.parametrize(("n", "expected"), [(1, 3), (10_000, 10), (10**6, 256)])
def test_shards_have_a_size_in_between(n: int, expected: int):
    assert shard_size(n) == expected


def test_a_cluster_writes_the_same_files(fields: Path, tmp_path: Path, ray_here: Connection):
    here, there = tmp_path / "here", tmp_path / "there"
    options = {"overlays": True, "exports": ("coco",)}
    expected = run(LocalEngine(), str(fields), here, **options)
    found = run(RayEngine(pack=packed), str(fields), there, **options)
    assert outputs(there) == outputs(here)
    assert found.summary.counts == expected.summary.counts
    assert (found.items, found.before, found.overlays) == (8, 0, 7)


def test_an_analysis_begun_here_is_continued_on_a_cluster_and_vice_versa(
    fields: Path, tmp_path: Path, ray_here: Connection
):
    out = tmp_path / "out"
    run(RayEngine(pack=packed), str(fields), out)
    assert run(LocalEngine(), str(fields), out, resume=True).before == 8
    write_field(fields / "1" / "new.png", ["WBC"] * 9)
    assert run(RayEngine(pack=packed), str(fields), out, resume=True).before == 8
    run(LocalEngine(), str(fields), tmp_path / "here")
    assert outputs(out) == outputs(tmp_path / "here")


def test_images_may_be_at_a_uri(fields: Path, tmp_path: Path, ray_here: Connection):
    engine = RayEngine(pack=packed)
    summary = run(engine, fields.as_uri(), tmp_path / "out", overlays=True)
    assert (summary.items, summary.overlays, len(summary.refused)) == (8, 7, 1)
    line = (tmp_path / "out" / "fields.csv").read_text().splitlines()[1]
    assert line.startswith(f"{fields.as_uri()}/0/0.png,")


def test_a_lost_shard_is_an_error_and_the_rest_is_kept(fields: Path, tmp_path: Path, monkeypatch):
    out = tmp_path / "out"

    class Losing:
        def share(self, packed):
            return packed.open()

        def run(self, work, shared, shards):
            for number, shard in enumerate(shards):
                if number == 1:
                    yield Done(shard, None, "WorkerCrashedError: gone")
                else:
                    yield Done(shard, work(shared, shard))

    class Connected:
        def __enter__(self):
            return Losing()

        def __exit__(self, *_):
            return None

    with monkeypatch.context() as patch:
        patch.setattr(module, "connected", lambda cluster: Connected())
        with pytest.raises(ClusterError, match=r"1 of 3 shards .* 5 of 8 fields are done"):
            run(RayEngine(pack=packed), str(fields), out)
    assert run(LocalEngine(), str(fields), out, resume=True).before == 5
