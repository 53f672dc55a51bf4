"""A run over hostile images loses none, in little more memory than the largest needs."""

import os
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.hostile_images import classify, write_images, write_mutants


def test_a_run_over_hostile_images_loses_none(tmp_path: Path):
    if os.name == "nt":
        pytest.skip("Windows counts memory otherwise")
    written = write_images(tmp_path / "images", shapes=15, mutants=66)
    shapes = {path.stem.split("-", 2)[2] for path in (tmp_path / "images").glob("shape-*")}
    assert {"1x67108864", "67108864x1", "65536x1000", "8192x8192", "1x1"} <= shapes
    assert written == (81, 3 * 8192 * 8192)
    result = classify(tmp_path / "images", written, tmp_path / "table.csv")
    assert (result.files, result.lost) == (81, 0)
    assert result.classified + result.refused == 81
    assert result.refused > 40
    assert result.over_mb < 600


def test_mutants_are_the_same_for_the_same_seed_and_no_longer_what_they_were(
    tmp_path: Path, monkeypatch
):
    monkeypatch.delenv("HEMATOVISION_DATA", raising=False)
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / folder).mkdir()
        write_mutants(tmp_path / folder, 60, seed)
    a, b, c = (
        {path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()} for folder in "abc"
    )
    assert a == b != c
    assert len(a) == 60
    assert len(set(a.values())) == 60
    with pytest.raises(Exception, match=r"cannot identify|truncated|broken"):
        for path in sorted((tmp_path / "a").iterdir()):
            with Image.open(path) as image:
                image.load()
