"""Filling the feature cache on a cluster: the very rows that this machine would compute."""

from pathlib import Path

import numpy as np
import pytest

from colour_squares import COLOURS, write_square, write_squares
from hematovision.errors import ClusterError
from hematovision.scale import features as module
from hematovision.scale.cluster import Done
from hematovision.scale.features import compute_rows, features_on_cluster
from hematovision.training.feature_cache import FeatureCache
from hematovision.training.features import row_keys
from hematovision.training.inputs import views_of
from hematovision.workflows.features import compute_features, dataset_with_splits


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    root = write_squares(tmp_path / "squares")
    for path in sorted((root / "Train").rglob("*.png")):
        # Otherwise it is the same as in Test, and equal content is found in the cache.
        write_square(path, COLOURS[path.parent.name], side=31 + int(path.stem))
    return root


def cached(cache: Path, dataset: Path) -> dict[bytes, np.ndarray]:
    """Return what a cache file knows of a dataset's views."""
    digest = cache.stem.rpartition("-")[2]
    store = FeatureCache(digest, cache.parent)
    views, _ = views_of(dataset_with_splits(dataset, "folders", 0))
    keys = [row_keys(view.path.read_bytes(), [view.index])[0] for view in views]
    found = {key: store.get(key) for key in keys}
    store.close()
    return {key: row for key, row in found.items() if row is not None}


@pytest.mark.usefixtures("ray_here")
def test_the_cache_is_filled_as_if_computed_here(dataset: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(module, "FILES_PER_TASK", 5)
    monkeypatch.setenv("HEMATOVISION_CACHE", str(tmp_path / "there"))
    there = features_on_cluster(dataset, taxonomy="folders")
    monkeypatch.setenv("HEMATOVISION_CACHE", str(tmp_path / "here"))
    here = compute_features(dataset, taxonomy="folders")

    assert there.cache.name == here.cache.name
    assert (there.images, there.rows, there.computed) == (here.images, here.rows, here.computed)
    assert there.computed == 18
    assert [error.path for error in there.refused] == [error.path for error in here.refused]
    mine, theirs = cached(here.cache, dataset), cached(there.cache, dataset)
    assert mine.keys() == theirs.keys()
    assert len(mine) == 18
    assert all(np.array_equal(mine[key], theirs[key]) for key in mine)


def test_cached_features_are_not_computed_again(
    dataset: Path, tmp_path: Path, ray_here, monkeypatch
):
    monkeypatch.setenv("HEMATOVISION_CACHE", str(tmp_path / "cache"))
    (dataset / "Test" / "red" / "broken.png").unlink()
    compute_features(dataset, taxonomy="folders")
    monkeypatch.setattr(module, "connected", None)
    again = features_on_cluster(dataset, taxonomy="folders")
    assert (again.computed, again.rows) == (0, 18)
    assert again.refused == ()


def test_tasks_that_are_lost_are_an_error_and_the_others_are_kept(
    dataset: Path, tmp_path: Path, ray_here, monkeypatch
):
    monkeypatch.setenv("HEMATOVISION_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "FILES_PER_TASK", 6)
    (dataset / "Test" / "red" / "broken.png").unlink()
    run = module.Connection.run
    with monkeypatch.context() as patch:

        def losing(self, work, shared, items):
            yield from run(self, work, shared, (i for n, i in enumerate(items) if n))
            yield Done(None, None, "WorkerCrashedError: gone")

        patch.setattr(module.Connection, "run", losing)
        with pytest.raises(ClusterError, match="12 of 18 features were computed"):
            features_on_cluster(dataset, taxonomy="folders")
    assert features_on_cluster(dataset, taxonomy="folders").computed == 6


def test_an_image_damaged_meanwhile_is_refused(tmp_path: Path):
    gone = tmp_path / "gone.png"
    rows = compute_rows(None, [module.Wanted(str(gone), (0,))])
    assert rows.keys == []
    assert rows.refused[0][0] == str(gone)
