"""What is kept, and what is deleted for good, on both databases."""

from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from answers_to_review import MODEL, new, png
from hematovision.errors import ReviewError
from hematovision.files import sha256_bytes
from hematovision.review.records import Deletion, Keeping
from hematovision.review.service import ReviewService


def rows(url: str, table: str) -> int:
    return len(contents(url, f"SELECT 1 FROM {table}"))


def contents(url: str, query: str) -> list[tuple[object, ...]]:
    """What another program sees in the database."""
    parsed = make_url(url)
    drivers = {"postgresql": "postgresql+psycopg"}
    engine = create_engine(parsed.set(drivername=drivers.get(parsed.drivername, "sqlite")))
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(text(query))]
    engine.dispose()
    return found


@pytest.fixture
def two_batches(service: ReviewService) -> tuple[int, int]:
    """The image a in both, b in the first, c in the second; a is decided in the first."""
    first, second = service.start_batch(MODEL), service.start_batch(MODEL)
    [a, _] = service.record(first, [new("a", confidence=0.4), new("b")])
    service.record(second, [new("a", confidence=0.8), new("c", confidence=0.7)])
    service.claim("Ana", MODEL.sha256, 2)
    service.decide(a, "Ana", "WBC")
    return first, second


def sha256(key: str) -> str:
    return sha256_bytes(key.encode())


def test_an_image_is_deleted_from_every_batch_with_all_that_hangs_on_it(
    service, ready_url, clock, two_batches
):
    deletion = service.delete_image(sha256("a"), "Ana")
    assert deletion == Deletion(1, clock.now, "Ana", "an image", 1, 2)
    assert [a.name for b in two_batches for a in service.answers(b)] == ["b.png", "c.png"]
    counted = {table: rows(ready_url, table) for table in ("answer", "picture", "waiting")}
    assert counted == {"answer": 2, "picture": 2, "waiting": 2}
    assert rows(ready_url, "decision") == 0
    assert service.recent("Ana") == []
    assert service.agreement(MODEL.sha256).matrix.sum() == 0
    assert service.deleted_images(deletion.id) == [sha256("a")]
    assert service.deletions() == [deletion]
    with pytest.raises(ReviewError, match="no answer to an image"):
        service.delete_image(sha256("a"), "Ana")
    with pytest.raises(ReviewError, match="64 lower-case"):
        service.delete_image("a.png", "Ana")


def test_a_batch_is_deleted_and_its_number_does_not_come_back(service, ready_url, two_batches):
    first, second = two_batches
    numbers = [answer.id for answer in service.answers(second)]
    deletion = service.delete_batch(second, "Ben")
    assert (deletion.by, deletion.what, deletion.images, deletion.answers) == (
        "Ben",
        f"batch {second}",
        2,
        2,
    )
    assert [batch.id for batch in service.batches()] == [first]
    assert len(service.answers(first)) == 2
    with pytest.raises(ReviewError, match=f"no batch {second}"):
        service.answers(second)
    with pytest.raises(ReviewError, match=f"no batch {second}"):
        service.delete_batch(second, "Ben")
    again = service.start_batch(MODEL)
    assert again > second
    assert service.record(again, [new("d")])[0] > max(numbers)
    assert service.deleted_images(deletion.id) == sorted([sha256("a"), sha256("c")])
    assert service.deleted_images(deletion.id + 1) == []


def test_everything_older_is_deleted(service, clock, two_batches):
    clock.advance(days=30)
    young = service.start_batch(MODEL)
    service.record(young, [new("young")])
    service.record(two_batches[0], [new("late")])
    clock.advance(hours=1)
    deletion = service.delete_older(30, "Ana")
    assert (deletion.what, deletion.images, deletion.answers) == (
        "everything older than 30 days",
        3,
        4,
    )
    assert [(batch.id, batch.n) for batch in service.batches()] == [(young, 1), (two_batches[0], 1)]
    assert service.delete_older(10**9, "Ana").answers == 0
    assert service.delete_older(0, "Ana").answers == 2
    assert service.batches() == []
    with pytest.raises(ReviewError, match="0 or more"):
        service.delete_older(-1, "Ana")


def test_a_trace_holds_neither_names_nor_pictures(service, ready_url, two_batches):
    for batch in two_batches:
        service.delete_batch(batch, "Ana")
    for table in ("deletion", "deleted_image", "batch", "answer", "picture", "waiting"):
        assert "png" not in repr(contents(ready_url, f"SELECT * FROM {table}")).lower()


def test_nothing_of_a_deleted_picture_is_left_in_the_files_of_sqlite(tmp_path):
    with ReviewService.open(f"sqlite:///{tmp_path / 'records.sqlite3'}") as service:
        secret = png("once seen " * 2000)
        batch = service.start_batch(MODEL)
        service.record(batch, [new("a", picture=secret, name="Jane Doe.png"), new("b")])

        def left(what: bytes) -> list[str]:
            return [p.name for p in Path(tmp_path).iterdir() if what in p.read_bytes()]

        assert left(b"once seen once seen")
        assert left(b"Jane Doe")
        service.delete_image(sha256("a"), "Ana")
        assert left(b"once seen once seen") == []
        assert left(b"Jane Doe") == []


def pictures(url: str) -> list[str]:
    query = "SELECT name FROM answer JOIN picture ON answer_id = id ORDER BY id"
    return [str(name).removesuffix(".png") for (name,) in contents(url, query)]


@pytest.mark.parametrize(
    ("images", "kept", "waiting"),
    [("review", ["doubtful"], 1), ("all", ["sure", "doubtful"], 1), ("none", [], 0)],
)
def test_pictures_are_kept_as_chosen(service, ready_url, images, kept, waiting):
    service.keep(Keeping(images), "Ana")
    both = [new("sure", decision="accepted"), new("doubtful")]
    assert len(service.record(service.start_batch(MODEL), both)) == 2
    assert pictures(ready_url) == kept
    assert len(service.claim("Ana", MODEL.sha256)) == waiting
    assert service.keeping() == Keeping(images)


def test_by_default_pictures_of_answers_for_review_are_kept(service):
    assert service.keeping() == Keeping("review", None)
    assert service.apply_keeping() is None
    assert service.deletions() == []


def test_a_choice_of_what_is_kept_applies_to_what_is_there_already(service, ready_url, clock):
    service.keep(Keeping("all"), "Ana")
    assert service.apply_keeping() is None
    doubtful = [new("waits", confidence=0.6), new("decided", confidence=0.5)]
    sure = new("sure", decision="accepted")
    numbers = service.record(service.start_batch(MODEL), [*doubtful, sure])
    service.claim("Ana", MODEL.sha256, 1)
    service.decide(numbers[1], "Ana", "WBC")
    service.keep(Keeping("review"), "Ana")
    deletion = service.apply_keeping()
    assert (deletion.by, deletion.images, deletion.answers) == ("automatic", 1, 0)
    assert "review" in deletion.what
    assert pictures(ready_url) == ["waits", "decided"]
    assert service.apply_keeping() is None
    service.keep(Keeping("none"), "Ana")
    assert service.apply_keeping().images == 2
    assert pictures(ready_url) == []
    assert service.queues() == []
    assert len(service.answers(1)) == 3
    assert service.agreement(MODEL.sha256).matrix.sum() == 1
    assert list(service.reviewed()) == []
    with pytest.raises(ReviewError, match="No pictures are kept"):
        service.send_to_review({numbers[2]: png("x")})


@pytest.mark.parametrize("images", ["review", "all"])
def test_pictures_go_after_so_many_days_and_answers_stay(service, ready_url, clock, images):
    service.keep(Keeping(images, 7), "Ana")
    service.record(service.start_batch(MODEL), [new("old")])
    clock.advance(days=7)
    service.record(service.start_batch(MODEL), [new("young")])
    assert service.apply_keeping() is None
    clock.advance(minutes=1)
    assert service.apply_keeping().images == 1
    assert pictures(ready_url) == ["young"]
    assert [queue.waiting for queue in service.queues()] == [1]
    assert len(service.batches()) == 2


def test_an_undone_cell_without_its_picture_does_not_wait(service, clock):
    service.keep(Keeping("review", 7), "Ana")
    [a] = service.record(service.start_batch(MODEL), [new("a")])
    service.claim("Ana", MODEL.sha256)
    service.decide(a, "Ana", "WBC")
    clock.advance(days=8)
    service.apply_keeping()
    assert service.undo("Ana").after == "RBC"
    assert service.queues() == []
    assert service.undo("Ana") is None
    assert service.agreement(MODEL.sha256).matrix.sum() == 0


def test_settings_are_appended_with_who_and_when(service, ready_url, clock):
    assert service.setting("model") is None
    service.set_setting("model", "pbc8", "Ana")
    clock.advance(days=1)
    service.set_setting("model", "runs/größer", "Ben")
    service.keep(Keeping("all", 30), "Ben")
    assert service.setting("model") == "runs/größer"
    assert service.keeping() == Keeping("all", 30)
    assert contents(ready_url, "SELECT key, value, by FROM setting ORDER BY id") == [
        ("model", "pbc8", "Ana"),
        ("model", "runs/größer", "Ben"),
        ("keeping", '{"images": "all", "days": 30}', "Ben"),
    ]


@pytest.mark.parametrize(
    ("key", "value"), [("", "x"), ("k" * 101, "x"), ("a\0b", "x"), ("k", "a\0b"), ("k", "\udcff")]
)
def test_a_setting_that_is_no_text_is_refused(service, key, value):
    with pytest.raises(ReviewError, match="A setting has a key"):
        service.set_setting(key, value, "Ana")
    assert service.setting("k") is None
