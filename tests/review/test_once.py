"""An image asks a person once, however often it is uploaded; on both databases."""

from answers_to_review import CLASSES, MODEL, new
from hematovision.review.records import Keeping, Known, ModelRef, NewPrediction
from hematovision.review.service import ReviewService

RETRAINED = ModelRef("retrained", "5" * 64, CLASSES)
OTHER_CLASSES = ModelRef("other", "6" * 64, CLASSES[::-1])


def upload(service: ReviewService, *answers: NewPrediction, model: ModelRef = MODEL) -> list[int]:
    return service.record(service.start_batch(model), answers)


def waiting(service: ReviewService) -> int:
    return sum(queue.waiting for queue in service.queues())


def sha256(key: object) -> str:
    return new(key).sha256


def test_an_image_that_waits_is_not_queued_again(service):
    first = upload(service, new("a"), new("b"))
    upload(service, new("a", name="another name.png"), new("c"))
    upload(service, new("d"), new("d"))
    assert waiting(service) == 4
    held = [cell.answer.id for cell in service.claim("Ana", MODEL.sha256)]
    assert held[:2] == first
    assert sum(batch.n for batch in service.batches()) == 6  # every answer is recorded


def test_a_decided_image_is_not_queued_again_and_who_decided_is_told(service):
    a, b = upload(service, new("a"), new("b"))
    service.claim("Ana", MODEL.sha256)
    service.decide(a, "Ana", "WBC")
    service.decide_unusable(b, "Ana")
    upload(service, new("a"), new("b"), new("c"))
    assert waiting(service) == 1
    assert service.known({sha256("a"), sha256("b"), sha256("c"), sha256("d")}, MODEL) == {
        sha256("a"): Known(False, "WBC", "Ana"),
        sha256("b"): Known(False, None, "Ana"),
        sha256("c"): Known(True),
    }


def test_an_undone_decision_waits_again_and_once(service):
    (a,) = upload(service, new("a"))
    service.claim("Ana", MODEL.sha256)
    service.decide(a, "Ana", "WBC")
    service.undo("Ana")
    upload(service, new("a"))
    assert waiting(service) == 1
    assert service.known([sha256("a")], MODEL) == {sha256("a"): Known(True)}


def test_a_new_model_with_the_same_classes_asks_nobody_again(service):
    a, _ = upload(service, new("a"), new("b"))
    service.claim("Ana", MODEL.sha256)
    service.decide(a, "Ana", "WBC")
    upload(service, new("a"), new("b"), new("c"), model=RETRAINED)
    assert {queue.model.name: queue.waiting for queue in service.queues()} == {
        "three": 1,
        "retrained": 1,
    }
    assert service.known([sha256("a")], OTHER_CLASSES) == {}


def test_a_deleted_image_may_ask_again(service):
    upload(service, new("a"))
    service.delete_image(sha256("a"), "Ana")
    assert service.known([sha256("a")], MODEL) == {}
    upload(service, new("a"))
    assert waiting(service) == 1


def test_no_picture_is_kept_for_what_is_not_queued(service):
    upload(service, new("a"))
    (again,) = upload(service, new("a"))
    assert service.apply_keeping() is None  # there is nothing that should not be kept
    service.keep(Keeping("all"), "Ana")
    upload(service, new("a"))
    assert waiting(service) == 1
    assert service.send_to_review({again: new("a").picture}) == 1  # a person may still ask for it
