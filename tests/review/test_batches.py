"""A batch of images: predicted as by `classify`, recorded, and kept while it is shown."""

import csv
import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from hematovision import images
from hematovision.model.classifier import Classifier
from hematovision.review.batches import Batch, classify_batch, model_ref
from hematovision.review.records import Retention
from hematovision.review.store import ReviewStore
from hematovision.synthetic import render_cell
from hematovision.workflows.classify import classify
from model.make_other_graph import other_bundle


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load("rbc-wbc-platelets")


@pytest.fixture
def records(tmp_path: Path):
    with ReviewStore.open(f"sqlite+pysqlite:///{tmp_path / 'records.sqlite3'}") as store:
        yield store


def synthetic(count: int) -> list[tuple[str, bytes]]:
    kinds = ("rbc", "neutrophil", "platelet")
    return [
        (f"cell {i}.png", images.encode_png(render_cell(kinds[i % 3], i, size=100)))
        for i in range(count)
    ]


def test_predictions_are_those_of_classify(
    classifier: Classifier, records: ReviewStore, tmp_path: Path
):
    cells = [*synthetic(5), ("broken.png", b"\x89PNG\r\n\x1a\nnothing")]
    for name, content in cells:
        (tmp_path / name).write_bytes(content)
    batch = classify_batch(classifier, cells, records, name="rbc-wbc-platelets")
    classify([tmp_path / name for name, _ in cells], out=tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="") as stream:
        expected = list(csv.DictReader(stream))
    table = batch.csv()
    found = list(csv.DictReader(io.StringIO(table)))
    for row in expected:
        row["path"] = Path(row["path"]).name
    assert [row.keys() for row in found] == [row.keys() for row in expected]
    assert found == expected


def test_every_prediction_is_recorded_and_refused_files_are_not(
    classifier: Classifier, records: ReviewStore
):
    batch = classify_batch(classifier, [*synthetic(4), ("x.png", b"")], records, name="mine")
    (kept,) = records.batches()
    assert (kept.id, kept.n, kept.model.name) == (batch.number, 4, "mine")
    assert kept.model == model_ref(classifier, "mine")
    assert [recorded.id for recorded in records.predictions(batch.number)] == [
        row.prediction_id for row in batch.readable
    ]
    assert [row.prediction.path for row in batch.refused] == ["x.png"]


def test_a_model_of_another_size_without_novelty_is_recorded(records: ReviewStore, tmp_path: Path):
    other = Classifier(other_bundle(tmp_path / "other"))
    batch = classify_batch(other, synthetic(3), records, name="other")
    assert [row.prediction.novelty for row in batch.readable] == [None] * 3
    assert [one.novelty for one in records.predictions(batch.number)] == [0.0] * 3
    assert records.batches()[0].model == model_ref(other, "other")


@pytest.mark.parametrize("keep", ["review", "all", "none"])
def test_images_are_kept_as_the_setting_asks_without_metadata(
    classifier: Classifier, records: ReviewStore, keep: str
):
    records.set_retention(Retention(keep, None), "Ana")
    note = PngInfo()
    note.add_text("Patient", "Doe, Jane")
    with io.BytesIO() as stream:
        noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
        Image.fromarray(noise).save(stream, "PNG", pnginfo=note)
        content = stream.getvalue()
    assert b"Doe" in content
    batch = classify_batch(classifier, [("noise.png", content)], records, name="mine")
    assert batch.images[0].prediction.decision == "review"
    waiting = records.claim("Ana", batch.model.sha256)
    assert len(waiting) == (keep != "none")
    for cell in waiting:
        assert b"Doe" not in cell.png
        np.testing.assert_array_equal(images.read(cell.png), noise)


def test_a_batch_returns_its_images_until_it_is_closed(
    classifier: Classifier, records: ReviewStore
):
    cells = synthetic(3)
    batch = classify_batch(classifier, cells, records, name="mine")
    assert [batch.content(row) for row in batch.images] == [content for _, content in cells]
    np.testing.assert_array_equal(batch.pixels(batch.images[1]), images.read(cells[1][1]))
    batch.close()
    with pytest.raises(ValueError, match="closed"):
        batch.content(batch.images[0])


def test_images_are_chosen_by_decision_and_class_the_least_certain_first(
    classifier: Classifier, records: ReviewStore
):
    batch = classify_batch(classifier, [*synthetic(9), ("x.png", b"")], records, name="mine")
    rows = batch.chosen()
    assert rows[-1].prediction.decision == "refused"
    review = batch.chosen(["review"])
    confidences = [row.prediction.confidence or 0 for row in review]
    assert confidences == sorted(confidences)
    some = batch.images[0].prediction.label or ""
    assert {row.prediction.label for row in batch.chosen(labels=[some])} == {some}
    assert [row.prediction.path for row in batch.chosen(name="CELL 7")] == ["cell 7.png"]
    counts = batch.counts()
    assert sum(sum(found.values()) for found in counts.values()) == 9
    assert list(counts)[:3] == list(classifier.classes)
    unlike = sum("unlike" in row.prediction.reason for row in batch.readable)
    assert counts.get("Not recognised", Counter()) == Counter(review=unlike)


def test_progress_has_the_number_of_images_in_archives(
    classifier: Classifier, records: ReviewStore
):
    seen = []
    classify_batch(
        classifier,
        synthetic(3),
        records,
        name="mine",
        progress=lambda done, total, what, unit: seen.append((done, total)),
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_no_file_is_left_behind(records: ReviewStore, classifier: Classifier):
    batch = Batch(1, model_ref(classifier, "mine"))
    place = batch.put(b"abc")
    assert batch.put(b"de") == (3, 2)
    assert place == (0, 3)
    name = batch._images.name
    assert not isinstance(name, str) or not Path(name).exists()


def test_large_files_are_not_gathered_in_memory(
    classifier: Classifier, records: ReviewStore, monkeypatch: pytest.MonkeyPatch
):
    gathered: list[int] = []
    record = ReviewStore.record

    def spied(self: ReviewStore, batch: int, new: list) -> list[int]:
        gathered.append(len(new))
        return record(self, batch, new)

    monkeypatch.setattr(ReviewStore, "record", spied)
    # Bytes behind the end of an image are ignored.
    cells = [(name, content + bytes(2**24)) for name, content in synthetic(5)]
    batch = classify_batch(classifier, cells, records, name="mine")
    assert len(batch.readable) == 5
    assert max(gathered) <= 3
    assert [batch.content(row) for row in batch.images] == [content for _, content in cells]
