"""Regions of slides in the shards of a cluster."""

from pathlib import Path

import pytest

from discs import DiscFinder, disc_field
from hematovision.fields import slides
from hematovision.fields.analyzer import FieldAnalyzer
from hematovision.fields.slides import FileAnalyzer
from hematovision.images import write
from hematovision.model.inference import Item, predict_image
from hematovision.regions import Region
from hematovision.scale.analyze import FieldShard, PackedAnalyzer, RayEngine, analyze_shard
from hematovision.workflows.analyze.engine import LocalEngine
from pyramid_files import write_slide


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    """A field, a slide of four regions and a slide that is none."""
    settings = {"_side": lambda *_: 300, "_SAMPLES": 1, "_SAMPLE": 300, "_CANDIDATES": 2}
    for name, value in settings.items():
        monkeypatch.setattr(slides, name, value)
    image = disc_field((500, 600), diameter=40, seed=1).image
    write_slide(tmp_path / "b.tif", image)
    write(tmp_path / "a.png", image[:300, :400])
    (tmp_path / "c.svs").write_bytes(b"no slide")
    return tmp_path


def test_a_cluster_has_the_items_of_one_machine(folder: Path):
    ray, local = RayEngine(), LocalEngine()
    for options in ((0, ""), (1, ""), (0, "10,20,300,310")):
        items = list(ray.items([str(folder)], *options))
        assert items == list(local.items([str(folder)], *options))
        assert all(ray.stamp(item) == local.stamp(item) for item in items)
    assert isinstance(ray.source(items[1]), Region)


def test_a_shard_has_the_rows_of_one_machine(folder: Path):
    engine = RayEngine()
    items = list(engine.items([str(folder)]))
    assert [item.region for item in items] == [
        *("", "0,0,300,300", "300,0,300,300", "0,300,300,200", "300,300,300,200", "")
    ]
    shard = FieldShard(tuple(items), tuple(engine._files[item] for item in items))
    analyzer, local = FileAnalyzer(FieldAnalyzer(DiscFinder())), LocalEngine()
    found = analyze_shard(analyzer, shard)
    for item, rows in zip(items, found, strict=True):
        expected = predict_image(analyzer, Item(str(item.path), local.source(item)))
        assert rows == [row.values() for row in expected.rows]
    assert len(found[1]) > 5
    assert "not a slide" in found[-1][0]["error"]


def test_workers_open_the_analyzer_with_its_settings():
    analyzer = FileAnalyzer(
        FieldAnalyzer.load(classifier=None, um_per_px=0.1, edges="all"), level=1, area="0,0,9,9"
    )
    opened = PackedAnalyzer.of(analyzer).open()
    assert opened.identity == analyzer.identity
    assert (opened.level, opened.area, opened.threads) == (1, "0,0,9,9", 1)
