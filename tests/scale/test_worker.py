"""What one worker does with one shard, without a cluster."""

import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from hematovision import images
from hematovision.errors import BundleError, TooManyBytesError, UnreadableFileError
from hematovision.model.bundle import MANIFEST, read_bundle
from hematovision.model.classifier import Classifier
from hematovision.scale.addresses import Source, list_sources
from hematovision.scale.worker import PackedModel, Shard, classify_shard, fetch
from hematovision.workflows.classify import classify


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The folder of a table, as the driver makes it."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def test_a_packed_model_answers_like_the_one_it_was_packed_from(colour_model: Path, pictures: Path):
    classifier = Classifier.load(colour_model)
    opened = PackedModel.of(classifier.bundle).open()
    image = pictures / "green" / "1.png"
    assert opened.predict(image) == classifier.predict(image)
    assert opened.workers == 1


def test_a_bundled_model_can_be_packed():
    opened = PackedModel.of(Classifier.load("rbc-wbc-platelets").bundle).open()
    assert opened.classes == ("RBC", "WBC", "Platelets")


def test_a_model_that_was_altered_on_its_way_is_refused(colour_model: Path):
    packed = PackedModel.of(read_bundle(colour_model))
    altered = {name: data[:-1] + b"?" for name, data in packed.files.items() if name != MANIFEST}
    with pytest.raises(BundleError, match="altered"):
        PackedModel({**packed.files, **altered}).open()


def test_a_shard_is_answered_in_order_and_equal_to_the_local_table(
    colour_model: Path, pictures: Path, tmp_path: Path, out: Path
):
    here = tmp_path / "here.parquet"
    classify([pictures], model=colour_model, out=here)
    shard = Shard("part-000000-0123456789ab.parquet", tuple(list_sources([str(pictures)])))
    part = classify_shard(Classifier.load(colour_model, workers=1), shard, str(out))
    written = pq.read_table(out / shard.part)
    assert written.to_pylist() == pq.read_table(here).to_pylist()
    assert part.labels == {"red": 3, "green": 4, "blue": 4}
    assert [Path(name).name for name, _ in part.refused] == ["3.png"]
    assert part.unread == 0


@pytest.mark.parametrize("root", ["", "file:///"])
def test_what_cannot_be_fetched_is_a_row_and_is_counted(
    colour_model: Path, pictures: Path, out: Path, root: str
):
    gone = str(pictures / "gone.png")
    shard = Shard("part-000000-0123456789ab.parquet", (Source(gone, gone, root),))
    part = classify_shard(Classifier.load(colour_model), shard, str(out))
    assert part.unread == 1
    assert part.refused[0][0] == gone


def test_bytes_come_from_a_path_or_through_a_file_system(pictures: Path):
    expected = (pictures / "red" / "0.png").read_bytes()
    for address in (str(pictures / "red"), (pictures / "red").as_uri()):
        assert fetch(list_sources([address])[0]).content == expected


@pytest.mark.parametrize("root", ["", "file:///"])
def test_a_file_that_is_too_large_is_not_kept(tmp_path: Path, monkeypatch, root: str):
    path = tmp_path / "large.png"
    path.write_bytes(bytes(40))
    monkeypatch.setattr(images, "MAX_BYTES", 32)
    if not root:
        os.truncate(path, 2**28 + 1)  # A hole, not bytes on the disk.
    content = fetch(Source(str(path), str(path), root)).content
    assert isinstance(content, TooManyBytesError)
    assert not isinstance(content, UnreadableFileError)
