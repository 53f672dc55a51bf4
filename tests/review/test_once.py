"""An image is queued for review once, however often it is uploaded; on both databases."""

from hematovision.review.records import Known, ModelRef, NewPrediction, Retention
from hematovision.review.store import ReviewStore
from review_predictions import CLASSES, MODEL, new

RETRAINED = ModelRef("retrained", "5" * 64, CLASSES)
OTHER_CLASSES = ModelRef("other", "6" * 64, CLASSES[::-1])


def upload(store: ReviewStore, *predictions: NewPrediction, model: ModelRef = MODEL) -> list[int]:
    return store.record(store.start_batch(model), predictions)


def waiting(store: ReviewStore) -> int:
    return sum(queue.waiting for queue in store.queues())


def sha256(key: object) -> str:
    return new(key).sha256


def test_a_waiting_image_is_not_queued_again(store):
    first = upload(store, new("a"), new("b"))
    upload(store, new("a", name="another name.png"), new("c"))
    upload(store, new("d"), new("d"))
    assert waiting(store) == 4
    held = [cell.prediction.id for cell in store.claim("Ana", MODEL.sha256)]
    assert held[:2] == first
    assert sum(batch.n for batch in store.batches()) == 6  # every prediction is recorded


def test_a_decided_image_is_not_queued_again_and_its_reviewer_is_known(store):
    a, b = upload(store, new("a"), new("b"))
    store.claim("Ana", MODEL.sha256)
    store.decide(a, "Ana", "WBC")
    store.decide(b, "Ana", None)
    upload(store, new("a"), new("b"), new("c"))
    assert waiting(store) == 1
    assert store.known({sha256("a"), sha256("b"), sha256("c"), sha256("d")}, MODEL) == {
        sha256("a"): Known(False, "WBC", "Ana"),
        sha256("b"): Known(False, None, "Ana"),
        sha256("c"): Known(True),
    }


def test_a_cell_is_queued_once_after_an_undo(store):
    (a,) = upload(store, new("a"))
    store.claim("Ana", MODEL.sha256)
    store.decide(a, "Ana", "WBC")
    store.undo("Ana")
    upload(store, new("a"))
    assert waiting(store) == 1
    assert store.known([sha256("a")], MODEL) == {sha256("a"): Known(True)}


def test_a_new_model_with_the_same_classes_queues_no_known_image(store):
    a, _ = upload(store, new("a"), new("b"))
    store.claim("Ana", MODEL.sha256)
    store.decide(a, "Ana", "WBC")
    upload(store, new("a"), new("b"), new("c"), model=RETRAINED)
    assert {queue.model.name: queue.waiting for queue in store.queues()} == {
        "three": 1,
        "retrained": 1,
    }
    assert store.known([sha256("a")], OTHER_CLASSES) == {}


def test_a_deleted_image_can_be_queued_again(store):
    upload(store, new("a"))
    store.delete_image(sha256("a"), "Ana")
    assert store.known([sha256("a")], MODEL) == {}
    upload(store, new("a"))
    assert waiting(store) == 1


def test_no_image_is_kept_for_a_cell_that_is_not_queued(store):
    upload(store, new("a"))
    (again,) = upload(store, new("a"))
    assert store.apply_retention() is None  # no image is kept in excess
    store.set_retention(Retention("all"), "Ana")
    upload(store, new("a"))
    assert waiting(store) == 1
    assert store.send_to_review({again: new("a").png}) == 1  # a person can still send it
