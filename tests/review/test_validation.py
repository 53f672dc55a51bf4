"""Names and values from outside: cleaned, or rejected; on both databases."""

import math

import pytest

from hematovision.errors import ReviewError
from hematovision.review.records import LEASE, ModelRef, NewPrediction, Retention
from hematovision.review.store import ReviewStore
from review_predictions import CLASSES, MODEL, new, predicted


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("größe 細胞 🩸.png", "größe 細胞 🩸.png"),
        ("../../etc/passwd", "../../etc/passwd"),
        ("a\0b\nc\x1b[31m.png", "a\ufffdb\ufffdc\ufffd[31m.png"),
        ("not utf-8 \udcff.png", "not utf-8 \ufffd.png"),
        ("'; DROP TABLE prediction; --", "'; DROP TABLE prediction; --"),
        ("", ""),
        ("a" * 300 + ".png", "a" * 127 + "…" + "a" * 123 + ".png"),
    ],
    ids=["unicode", "path", "control", "surrogate", "sql", "empty", "long"],
)
def test_file_names_are_kept_with_unsafe_characters_replaced(store, name, kept):
    batch = store.start_batch(MODEL)
    store.record(batch, [new("a", name=name)])
    assert store.predictions(batch)[0].name == kept


def test_one_person_is_one_name(store):
    store.record(store.start_batch(MODEL), [new("a")])
    [cell] = store.claim("  Zoe\u0308  Ång ", MODEL.sha256)
    decided = store.decide(cell.prediction.id, "Zoë Ång", "RBC")
    assert decided.reviewer == "Zoë Ång"


@pytest.mark.parametrize("name", ["", "  \n", "a" * 101])
def test_a_person_without_a_name_cannot_review(store, name):
    for call in (
        lambda: store.claim(name, MODEL.sha256),
        lambda: store.decide(1, name, "RBC"),
        lambda: store.undo(name),
        lambda: store.set_retention(Retention(), name),
        lambda: store.delete_older(1, name),
    ):
        with pytest.raises(ReviewError, match="1 to 100 characters"):
            call()


def recording(store: ReviewStore, *predictions: NewPrediction) -> None:
    store.record(store.start_batch(MODEL), predictions)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"classes": ("a", "b", "c")}, "Use one batch per model"),
        ({"probabilities": (0.5, 0.5)}, "Use one batch per model"),
        ({"probabilities": (math.nan, 0.5, 0.5)}, "finite"),
        ({"novelty": math.inf}, "finite"),
        ({"label": "WBC?"}, "must be one of RBC, WBC, Platelets"),
    ],
)
def test_a_prediction_of_another_model_rejects_the_whole_call(store, values, message):
    wrong = NewPrediction("wrong.png", "0" * 64, predicted(**values), None)
    with pytest.raises(ReviewError, match=message):
        recording(store, new("a"), wrong)
    assert store.queues() == []
    assert store.batches()[0].n == 0


def test_a_missing_batch_is_an_error(store):
    with pytest.raises(ReviewError, match="no batch 7"):
        store.record(7, [new("a")])
    with pytest.raises(ReviewError, match="no batch 7"):
        store.predictions(7)


def test_a_model_has_one_list_of_classes(store):
    store.start_batch(MODEL)
    with pytest.raises(ReviewError, match="with the classes RBC, WBC, Platelets"):
        store.start_batch(ModelRef("three", MODEL.sha256, CLASSES[::-1]))
    store.start_batch(ModelRef("renamed", MODEL.sha256, CLASSES))
    assert store.models() == [MODEL]


def test_counts_and_leases_are_positive(store):
    for call in (
        lambda: store.claim("Ana", MODEL.sha256, 0),
        lambda: store.batches(0),
        lambda: store.recent("Ana", -1),
        lambda: store.claim("Ana", MODEL.sha256, lease=-LEASE),
    ):
        with pytest.raises(ReviewError, match="must be"):
            call()


def test_invalid_values_are_rejected_at_construction():
    with pytest.raises(ReviewError, match="Model 'x' has a SHA-256"):
        ModelRef("x", "ABC", CLASSES)
    with pytest.raises(ReviewError, match=r"Image 'x\.png' has a SHA-256"):
        NewPrediction("x.png", "", predicted(), None)
    with pytest.raises(ReviewError, match="must be a PNG"):
        new(png=b"\xff\xd8\xff\xe0")
    for images, days in (("some", None), ("all", 0)):
        with pytest.raises(ReviewError, match="`images` must be"):
            Retention(images, days)
