"""Retention and deletion, on both databases."""

from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from hematovision.errors import ReviewError
from hematovision.files import sha256_bytes
from hematovision.review.records import Deletion, Retention
from hematovision.review.store import ReviewStore
from review_predictions import MODEL, new, png


def rows(url: str, table: str) -> int:
    return len(contents(url, f"SELECT 1 FROM {table}"))


def contents(url: str, query: str) -> list[tuple[object, ...]]:
    """The rows that another program reads from the database."""
    parsed = make_url(url)
    drivers = {"postgresql": "postgresql+psycopg"}
    engine = create_engine(parsed.set(drivername=drivers.get(parsed.drivername, "sqlite")))
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(text(query))]
    engine.dispose()
    return found


@pytest.fixture
def two_batches(store: ReviewStore) -> tuple[int, int]:
    """The image a in both, b in the first, c in the second; a is decided in the first."""
    first, second = store.start_batch(MODEL), store.start_batch(MODEL)
    [a, _] = store.record(first, [new("a", confidence=0.4), new("b")])
    store.record(second, [new("a", confidence=0.8), new("c", confidence=0.7)])
    store.claim("Ana", MODEL.sha256, 2)
    store.decide(a, "Ana", "WBC")
    return first, second


def sha256(key: str) -> str:
    return sha256_bytes(key.encode())


def test_an_image_is_deleted_from_every_batch_with_its_decisions(
    store, ready_url, clock, two_batches
):
    deletion = store.delete_image(sha256("a"), "Ana")
    assert deletion == Deletion(1, clock.now, "Ana", "an image", 1, 2)
    assert [a.name for b in two_batches for a in store.predictions(b)] == ["b.png", "c.png"]
    counted = {table: rows(ready_url, table) for table in ("prediction", "image", "waiting")}
    assert counted == {"prediction": 2, "image": 2, "waiting": 2}
    assert rows(ready_url, "decision") == 0
    assert store.recent("Ana") == []
    assert store.agreement(MODEL.sha256).matrix.sum() == 0
    assert store.deleted_images(deletion.id) == [sha256("a")]
    assert store.deletions() == [deletion]
    with pytest.raises(ReviewError, match="no prediction for an image"):
        store.delete_image(sha256("a"), "Ana")
    with pytest.raises(ReviewError, match="64 lower-case"):
        store.delete_image("a.png", "Ana")


def test_a_batch_is_deleted_and_its_number_is_not_reused(store, ready_url, two_batches):
    first, second = two_batches
    numbers = [prediction.id for prediction in store.predictions(second)]
    deletion = store.delete_batch(second, "Ben")
    assert (deletion.by, deletion.what, deletion.images, deletion.predictions) == (
        "Ben",
        f"batch {second}",
        2,
        2,
    )
    assert [batch.id for batch in store.batches()] == [first]
    assert len(store.predictions(first)) == 2
    with pytest.raises(ReviewError, match=f"no batch {second}"):
        store.predictions(second)
    with pytest.raises(ReviewError, match=f"no batch {second}"):
        store.delete_batch(second, "Ben")
    again = store.start_batch(MODEL)
    assert again > second
    assert store.record(again, [new("d")])[0] > max(numbers)
    assert store.deleted_images(deletion.id) == sorted([sha256("a"), sha256("c")])
    assert store.deleted_images(deletion.id + 1) == []


def test_everything_older_is_deleted(store, clock, two_batches):
    clock.advance(days=30)
    young = store.start_batch(MODEL)
    store.record(young, [new("young")])
    store.record(two_batches[0], [new("late")])
    clock.advance(hours=1)
    deletion = store.delete_older(30, "Ana")
    assert (deletion.what, deletion.images, deletion.predictions) == (
        "everything older than 30 days",
        3,
        4,
    )
    assert [(batch.id, batch.n) for batch in store.batches()] == [(young, 1), (two_batches[0], 1)]
    assert store.delete_older(10**9, "Ana").predictions == 0
    assert store.delete_older(0, "Ana").predictions == 2
    assert store.batches() == []
    with pytest.raises(ReviewError, match="0 or more"):
        store.delete_older(-1, "Ana")


def test_a_trace_has_neither_names_nor_images(store, ready_url, two_batches):
    for batch in two_batches:
        store.delete_batch(batch, "Ana")
    for table in ("deletion", "deleted_image", "batch", "prediction", "image", "waiting"):
        assert "png" not in repr(contents(ready_url, f"SELECT * FROM {table}")).lower()


def test_nothing_of_a_deleted_image_is_left_in_the_files_of_sqlite(tmp_path):
    with ReviewStore.open(f"sqlite:///{tmp_path / 'records.sqlite3'}") as store:
        secret = png("once seen " * 2000)
        batch = store.start_batch(MODEL)
        store.record(batch, [new("a", png=secret, name="Jane Doe.png"), new("b")])

        def left(what: bytes) -> list[str]:
            return [p.name for p in Path(tmp_path).iterdir() if what in p.read_bytes()]

        assert left(b"once seen once seen")
        assert left(b"Jane Doe")
        store.delete_image(sha256("a"), "Ana")
        assert left(b"once seen once seen") == []
        assert left(b"Jane Doe") == []


def stored_images(url: str) -> list[str]:
    query = "SELECT name FROM prediction JOIN image ON prediction_id = id ORDER BY id"
    return [str(name).removesuffix(".png") for (name,) in contents(url, query)]


@pytest.mark.parametrize(
    ("images", "kept", "waiting"),
    [("review", ["doubtful"], 1), ("all", ["sure", "doubtful"], 1), ("none", [], 0)],
)
def test_images_are_kept_as_chosen(store, ready_url, images, kept, waiting):
    store.set_retention(Retention(images), "Ana")
    both = [new("sure", decision="accepted"), new("doubtful")]
    assert len(store.record(store.start_batch(MODEL), both)) == 2
    assert stored_images(ready_url) == kept
    assert len(store.claim("Ana", MODEL.sha256)) == waiting
    assert store.retention() == Retention(images)


def test_by_default_images_for_review_are_kept(store):
    assert store.retention() == Retention("review", None)
    assert store.apply_retention() is None
    assert store.deletions() == []


def test_retention_applies_to_existing_records(store, ready_url, clock):
    store.set_retention(Retention("all"), "Ana")
    assert store.apply_retention() is None
    doubtful = [new("waits", confidence=0.6), new("decided", confidence=0.5)]
    sure = new("sure", decision="accepted")
    numbers = store.record(store.start_batch(MODEL), [*doubtful, sure])
    store.claim("Ana", MODEL.sha256, 1)
    store.decide(numbers[1], "Ana", "WBC")
    store.set_retention(Retention("review"), "Ana")
    deletion = store.apply_retention()
    assert (deletion.by, deletion.images, deletion.predictions) == ("automatic", 1, 0)
    assert "review" in deletion.what
    assert stored_images(ready_url) == ["waits", "decided"]
    assert store.apply_retention() is None
    store.set_retention(Retention("none"), "Ana")
    assert store.apply_retention().images == 2
    assert stored_images(ready_url) == []
    assert store.queues() == []
    assert len(store.predictions(1)) == 3
    assert store.agreement(MODEL.sha256).matrix.sum() == 1
    assert list(store.reviewed()) == []
    with pytest.raises(ReviewError, match="No images are kept"):
        store.send_to_review({numbers[2]: png("x")})


@pytest.mark.parametrize("images", ["review", "all"])
def test_images_are_deleted_after_some_days_and_predictions_stay(store, ready_url, clock, images):
    store.set_retention(Retention(images, 7), "Ana")
    store.record(store.start_batch(MODEL), [new("old")])
    clock.advance(days=7)
    store.record(store.start_batch(MODEL), [new("young")])
    assert store.apply_retention() is None
    clock.advance(minutes=1)
    assert store.apply_retention().images == 1
    assert stored_images(ready_url) == ["young"]
    assert [queue.waiting for queue in store.queues()] == [1]
    assert len(store.batches()) == 2


def test_an_undone_cell_without_its_image_is_not_queued(store, clock):
    store.set_retention(Retention("review", 7), "Ana")
    [a] = store.record(store.start_batch(MODEL), [new("a")])
    store.claim("Ana", MODEL.sha256)
    store.decide(a, "Ana", "WBC")
    clock.advance(days=8)
    store.apply_retention()
    assert store.undo("Ana").after == "RBC"
    assert store.queues() == []
    assert store.undo("Ana") is None
    assert store.agreement(MODEL.sha256).matrix.sum() == 0


def test_settings_are_appended_with_who_and_when(store, ready_url, clock):
    assert store.setting("model") is None
    store.set_setting("model", "pbc8", "Ana")
    clock.advance(days=1)
    store.set_setting("model", "runs/größer", "Ben")
    store.set_retention(Retention("all", 30), "Ben")
    assert store.setting("model") == "runs/größer"
    assert store.retention() == Retention("all", 30)
    assert contents(ready_url, "SELECT key, value, by FROM setting ORDER BY id") == [
        ("model", "pbc8", "Ana"),
        ("model", "runs/größer", "Ben"),
        ("keeping", '{"images": "all", "days": 30}', "Ben"),
    ]


@pytest.mark.parametrize(
    ("key", "value"), [("", "x"), ("k" * 101, "x"), ("a\0b", "x"), ("k", "a\0b"), ("k", "\udcff")]
)
def test_a_setting_that_is_not_text_is_rejected(store, key, value):
    with pytest.raises(ReviewError, match="A setting has a key"):
        store.set_setting(key, value, "Ana")
    assert store.setting("k") is None
