"""An image asks a person once, however often it is uploaded; on both databases."""

from hematovision.review.records import Known, ModelRef, NewPrediction, Retention
from hematovision.review.store import ReviewStore
from review_predictions import CLASSES, MODEL, new

RETRAINED = ModelRef("retrained", "5" * 64, CLASSES)
OTHER_CLASSES = ModelRef("other", "6" * 64, CLASSES[::-1])


def upload(store: ReviewStore, *answers: NewPrediction, model: ModelRef = MODEL) -> list[int]:
    return store.record(store.start_batch(model), answers)


def waiting(store: ReviewStore) -> int:
    return sum(queue.waiting for queue in store.queues())


def sha256(key: object) -> str:
    return new(key).sha256


def test_an_image_that_waits_is_not_queued_again(store):
    first = upload(store, new("a"), new("b"))
    upload(store, new("a", name="another name.png"), new("c"))
    upload(store, new("d"), new("d"))
    assert waiting(store) == 4
    held = [cell.prediction.id for cell in store.claim("Ana", MODEL.sha256)]
    assert held[:2] == first
    assert sum(batch.n for batch in store.batches()) == 6  # every answer is recorded


def test_a_decided_image_is_not_queued_again_and_who_decided_is_told(store):
    a, b = upload(store, new("a"), new("b"))
    store.claim("Ana", MODEL.sha256)
    store.decide(a, "Ana", "WBC")
    store.decide_unusable(b, "Ana")
    upload(store, new("a"), new("b"), new("c"))
    assert waiting(store) == 1
    assert store.known({sha256("a"), sha256("b"), sha256("c"), sha256("d")}, MODEL) == {
        sha256("a"): Known(False, "WBC", "Ana"),
        sha256("b"): Known(False, None, "Ana"),
        sha256("c"): Known(True),
    }


def test_an_undone_decision_waits_again_and_once(store):
    (a,) = upload(store, new("a"))
    store.claim("Ana", MODEL.sha256)
    store.decide(a, "Ana", "WBC")
    store.undo("Ana")
    upload(store, new("a"))
    assert waiting(store) == 1
    assert store.known([sha256("a")], MODEL) == {sha256("a"): Known(True)}


def test_a_new_model_with_the_same_classes_asks_nobody_again(store):
    a, _ = upload(store, new("a"), new("b"))
    store.claim("Ana", MODEL.sha256)
    store.decide(a, "Ana", "WBC")
    upload(store, new("a"), new("b"), new("c"), model=RETRAINED)
    assert {queue.model.name: queue.waiting for queue in store.queues()} == {
        "three": 1,
        "retrained": 1,
    }
    assert store.known([sha256("a")], OTHER_CLASSES) == {}


def test_a_deleted_image_may_ask_again(store):
    upload(store, new("a"))
    store.delete_image(sha256("a"), "Ana")
    assert store.known([sha256("a")], MODEL) == {}
    upload(store, new("a"))
    assert waiting(store) == 1


def test_no_picture_is_kept_for_what_is_not_queued(store):
    upload(store, new("a"))
    (again,) = upload(store, new("a"))
    assert store.apply_retention() is None  # there is nothing that should not be kept
    store.set_retention(Retention("all"), "Ana")
    upload(store, new("a"))
    assert waiting(store) == 1
    assert store.send_to_review({again: new("a").png}) == 1  # a person may still ask for it
