"""``features`` and ``--engine ray`` at the command line."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from colour_squares import write_squares
from hematovision.scale import classify as on_cluster
from hematovision.scale.cluster import Cluster, connected


@pytest.fixture(scope="module", autouse=True)
def _ray_here():
    """Ray on this machine, which the commands find connected."""
    pytest.importorskip("ray")
    with connected(Cluster(local_cpus=2, stall_seconds=60)):
        yield


def test_a_cluster_fills_a_folder_and_prints_its_path(
    run, colour_model, cell_images: Path, tmp_path: Path
):
    out = tmp_path / "predictions"
    arguments = ("classify", cell_images, "--model", colour_model, "--engine", "ray", "--out", out)
    result = run(*arguments)
    assert result.exit_code == 0
    assert result.stdout == (
        f"3 images: 1 red, 1 green, 1 blue; 3 to review, 0 refused. Table: {out}\n"
    )
    assert [Path(path).stem for path in pq.read_table(out)["path"].to_pylist()] == [
        "blue",
        "green",
        "red",
    ]
    again = run(*arguments)
    assert again.exit_code == 1
    assert "Add --resume" in again.stderr
    resumed = run(*arguments, "--resume")
    assert resumed.exit_code == 0
    assert resumed.stdout.startswith("Nothing to do: all images were classified before\n3 images:")


def test_refused_images_are_listed_there_too(run, colour_model, cell_images: Path, tmp_path: Path):
    (cell_images / "empty.png").write_bytes(b"")
    result = run(
        *("classify", cell_images.as_uri(), "--model", colour_model),
        *("--engine", "ray", "--out", tmp_path / "predictions"),
    )
    assert result.exit_code == 3
    assert f"file://{cell_images / 'empty.png'}: the file is empty" in result.stderr


def test_the_address_reaches_the_cluster(run, colour_model, cell_images, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(on_cluster, "connected", lambda cluster: asked.append(cluster) or 1 / 0)
    run(
        *("classify", cell_images, "--model", colour_model, "--out", tmp_path / "predictions"),
        *("--engine", "ray", "--ray-address", "head:6379"),
    )
    assert asked == [Cluster("head:6379")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--engine", "ray"), "--out"),
        (("--engine", "ray", "--out", "a.csv"), "a new folder that all nodes"),
        (("--engine", "ray", "--out", "a", "--explain", "b"), "--explain"),
        (("--ray-address", "head:6379"), "--ray-address"),
        (("--engine", "spark"), "--engine"),
    ],
)
def test_options_that_exclude_each_other_are_wrong_usage(run, cell_images, arguments, message: str):
    result = run("classify", cell_images, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_an_address_needs_a_cluster_and_the_message_explains_how(run):
    result = run("classify", "s3://bucket/cells")
    assert result.exit_code == 2
    assert "--engine ray" in result.stderr


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_features_are_computed_beforehand(run, tmp_path: Path, monkeypatch, engine: str):
    monkeypatch.setenv("HEMATOVISION_CACHE", str(tmp_path / "cache"))
    squares = write_squares(tmp_path / "squares")
    (squares / "Test" / "red" / "broken.png").unlink()
    arguments = ("features", squares, "--taxonomy", "folders", "--engine", engine)
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("18 images, 18 views: 18 computed, the rest already cached.")
    assert f"Next: hematovision train {squares} --out RUN" in result.stdout
    assert "18 views: 0 computed" in run(*arguments).stdout


def test_features_lists_what_it_could_not_read(run, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("HEMATOVISION_CACHE", str(tmp_path / "cache"))
    squares = write_squares(tmp_path / "squares")
    result = run("features", squares, "--taxonomy", "folders")
    assert result.exit_code == 3
    assert str(squares / "Test" / "red" / "broken.png") in result.stderr


def test_features_refuses_an_address_without_its_engine(run, tmp_path: Path):
    squares = write_squares(tmp_path / "squares")
    result = run("features", squares, "--ray-address", "head:6379")
    assert result.exit_code == 2
