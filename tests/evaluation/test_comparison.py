"""Two models are compared in their common classes, with intervals of the differences."""

import json

import numpy as np
import pytest

from hematovision.errors import BundleError, DatasetError, TaxonomyError
from hematovision.evaluation import evaluate
from hematovision.evaluation.comparison import (
    OTHER,
    CommonClasses,
    Comparison,
    ModelPredictions,
    compare_predictions,
    read_comparison,
    write_comparison,
)
from hematovision.taxonomy import PBC8, RBC_WBC_PLATELETS, Taxonomy


def table(labels, wrong, confidence=0.9):
    """Return probabilities of two classes that are correct except at the positions `wrong`."""
    predicted = np.array(labels)
    predicted[wrong] = 1 - predicted[wrong]
    return np.where(np.arange(2) == predicted[:, None], confidence, 1 - confidence)


def compared(first_wrong, second_wrong, n=750, labels=None, **known) -> Comparison:
    labels = np.arange(n) % 2 if labels is None else labels
    models = (
        ModelPredictions(name, table(labels, list(wrong)), np.arange(n) % 10 > 0)
        for name, wrong in (("a", first_wrong), ("b", second_wrong))
    )
    return compare_predictions(labels, *models, ("RBC", "WBC"), **known)


def test_each_models_metrics_are_those_of_its_own_evaluation():
    found = compared(range(14), range(14, 19), labs=["Basel"] * 750)
    labels = np.arange(750) % 2
    alone = evaluate(
        labels,
        table(labels, range(14)),
        ("RBC", "WBC"),
        accepted=np.arange(750) % 10 > 0,
        labs=["Basel"] * 750,
    )
    assert found.first == alone
    assert found.models == ("a", "b")


def test_differences_are_counted_over_all_per_class_and_per_lab():
    labs = ["Basel"] * 10 + ["Tehran"] * 740
    found = compared(range(14), [*range(14, 19), 20], labs=labs)
    agreement = found.agreement
    assert (agreement.only_first, agreement.only_second, agreement.both_right) == (6, 14, 730)
    assert found.differences["accuracy"].value == pytest.approx(8 / 750)
    assert found.differences["review_rate"].value == 0.0
    assert found.differing == 20
    assert {name: row.n for name, row in found.per_lab.items()} == {"Basel": 10, "Tehran": 740}
    basel, red = found.per_lab["Basel"], found.per_class["RBC"]
    assert (basel.first, basel.second, basel.difference.value) == (0.0, 1.0, 1.0)
    assert (red.n, red.only_first, red.only_second) == (375, 4, 7)
    assert found.per_class["WBC"].first == pytest.approx(368 / 375)


def test_a_class_without_images_has_no_difference():
    found = compared([0], [], n=40, labels=np.zeros(40, int))
    row = found.per_class["WBC"]
    assert (row.n, row.first, row.difference.value, row.difference.interval) == (
        0,
        None,
        None,
        None,
    )
    assert "No images of: WBC" in found.warnings[0]


def test_images_in_groups_add_a_warning_about_mcnemars_test():
    grouped = compared(range(14), range(14, 19), groups=[f"field {i // 10}" for i in range(750)])
    assert grouped.interval_method == "cluster_bootstrap"
    assert "75 groups" in grouped.warnings[-1]
    assert "McNemar" in grouped.warnings[-1]
    assert compared(range(14), range(14, 19)).warnings == ()


def test_file_is_strict_json_and_is_read_back_as_it_was(tmp_path):
    for labs in (None, ["Basel"] * 375 + ["Tehran"] * 375):
        found = compared(range(14), range(14, 19), labs=labs)
        path = write_comparison(tmp_path / "compare.json", found)
        value = json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
        assert value["agreement"] == {
            "both_right": 731, "only_first": 5, "only_second": 14, "both_wrong": 0,
        }  # fmt: skip
        assert value["mcnemar"]["p"] == pytest.approx(0.06357, abs=1e-5)
        low, high = value["differences"]["accuracy"]["interval"]
        assert low < 9 / 750 < high
        assert read_comparison(path) == found


@pytest.mark.parametrize("change", [{"schema_version": 2}, {"mcnemar": {"q": 1}}, {"models": None}])
def test_another_schema_is_an_error_that_names_the_command(change):
    value = {**compared([0], [1], n=20).to_json(), **change}
    with pytest.raises(
        BundleError, match=r"not a comparison of schema version 1.*hematovision compare"
    ):
        Comparison.from_json(value)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(BundleError, match=r"gone\.json.*hematovision compare"):
        read_comparison(tmp_path / "gone.json")


def test_nothing_to_compare_is_an_error():
    nothing = ModelPredictions("a", np.zeros((0, 2)), [])
    with pytest.raises(DatasetError, match="no images"):
        compare_predictions([], nothing, nothing, ("RBC", "WBC"))


def taxonomy(*classes, **aliases):
    return Taxonomy("own", classes, aliases)


def test_the_same_classes_in_another_order_are_the_same():
    common = CommonClasses.of(taxonomy("a", "b", "c"), taxonomy("C", "a", "b"))
    assert common.classes == ("a", "b", "c")
    assert common.columns == ((0, 1, 2), (2, 0, 1))
    np.testing.assert_allclose(common.fold(np.array([[0.7, 0.2, 0.1]]), 1), [[0.2, 0.1, 0.7]])


@pytest.mark.parametrize("turned", [False, True])
def test_eight_classes_are_added_up_to_three(turned):
    pair = (PBC8, RBC_WBC_PLATELETS) if turned else (RBC_WBC_PLATELETS, PBC8)
    common = CommonClasses.of(*pair)
    fine = pair.index(PBC8)
    assert common.taxonomy is RBC_WBC_PLATELETS
    assert common.classes == ("RBC", "WBC", "Platelets")
    assert common.names[fine]["neutrophil"] == "WBC"
    assert common.names[1 - fine] == {}
    # The most likely of the eight is a platelet; the most likely of the three is a white cell.
    row = np.zeros((1, 8))
    row[0, [PBC8.index("platelet"), PBC8.index("ig"), PBC8.index("neutrophil")]] = 0.4, 0.3, 0.3
    np.testing.assert_allclose(common.fold(row, fine), [[0, 0.6, 0.4]], atol=1e-12)


def test_a_class_of_only_one_model_is_never_correct():
    common = CommonClasses.of(taxonomy("a", "b", "c"), taxonomy("a", "b", "d"))
    assert common.classes == ("a", "b", OTHER)
    assert common.names == ({"c": OTHER}, {"d": OTHER})
    np.testing.assert_allclose(common.fold(np.array([[0.2, 0.3, 0.5]]), 0), [[0.2, 0.3, 0.5]])


def test_either_taxonomy_may_know_the_others_name():
    first, second = taxonomy("a", "b", "c", a=("x",)), taxonomy("x", "y", "c", y=("b",))
    common = CommonClasses.of(first, second)
    assert common.classes == ("a", "b", "c")
    assert common.names == ({}, {"x": "a", "y": "b"})


@pytest.mark.parametrize(("other", "reason"), [("b", "both have only b"), ("e", "none in common")])
def test_fewer_than_two_classes_in_common_cannot_be_compared(other, reason):
    with pytest.raises(TaxonomyError, match=rf"a, b, c; the second has {other}, d; .*{reason}"):
        CommonClasses.of(taxonomy("a", "b", "c"), taxonomy(other, "d"))
