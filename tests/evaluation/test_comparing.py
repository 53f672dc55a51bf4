"""What two models' answers come to, and what is written about them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from hematovision.errors import BundleError, DatasetError
from hematovision.evaluation import evaluate
from hematovision.evaluation.comparing import ModelPredictions, compare_predictions
from hematovision.evaluation.comparison import Comparison, read_comparison, write_comparison
from hematovision.reporting.verdict import is_shown, verdict


def table(labels, wrong, confidence=0.9):
    """Return probabilities of two classes that are right but for the positions `wrong`."""
    said = np.array(labels)
    said[wrong] = 1 - said[wrong]
    return np.where(np.arange(2) == said[:, None], confidence, 1 - confidence)


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


def test_images_in_groups_say_that_mcnemars_test_takes_them_for_independent():
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
def test_another_schema_is_refused_with_what_to_do(change):
    value = {**compared([0], [1], n=20).to_json(), **change}
    with pytest.raises(
        BundleError, match=r"no comparison of schema version 1.*hematovision compare"
    ):
        Comparison.from_json(value)


def test_a_file_that_is_missing_is_refused(tmp_path):
    with pytest.raises(BundleError, match=r"gone\.json.*hematovision compare"):
        read_comparison(tmp_path / "gone.json")


def test_nothing_to_compare_is_an_error():
    nothing = ModelPredictions("a", np.zeros((0, 2)), [])
    with pytest.raises(DatasetError, match="no image"):
        compare_predictions([], nothing, nothing, ("RBC", "WBC"))


def test_a_clear_difference_is_said_with_its_size_and_images():
    assert verdict(compared(range(20), range(20, 25))) == (
        "The second model (b) is better by 2.0 points of accuracy (95 % interval 0.8 to 3.5): "
        "20 images only the second gets right, 5 only the first."
    )
    turned = verdict(compared(range(20, 25), range(20)))
    assert turned.startswith("The first model (a) is better by 2.0 points of accuracy (95 % ")
    assert "0.8 to 3.5" in turned
    assert turned.endswith("20 images only the first gets right, 5 only the second.")


def test_an_interval_that_holds_zero_claims_nothing():
    found = compared(range(9), range(9, 15))
    assert not is_shown(found)
    said = verdict(found)
    assert said.startswith("No difference can be shown: the second model (b) is 0.4 points")
    assert "but the 95 % interval is -0.7 to 1.6" in said
    assert "better" not in said


def test_so_few_images_that_only_the_interval_speaks_claim_nothing():
    found = compared(range(4), [])
    assert found.differences["accuracy"].interval[0] > 0
    assert "so few images tell little (McNemar's p = 0.125)" in verdict(found)


def test_models_that_are_right_equally_often_are_not_called_equal():
    assert verdict(compared([1, 2], [3, 4])).startswith(
        "No difference can be shown: both are right equally often (95 % interval of the difference"
    )
    assert verdict(compared([1], [2])).endswith(
        "1 image only the second gets right, 1 only the first."
    )


def test_models_that_never_differ_are_told_apart_by_nothing():
    assert verdict(compared([3], [3])) == (
        "The two models give the same answer for each of the 750 images."
    )


def test_a_better_accuracy_that_costs_a_rare_class_is_said_with_that_reservation():
    labels = np.zeros(750, int)
    labels[-20:] = 1
    said = verdict(compared(range(60), range(740, 750), labels=labels))
    assert said.startswith("The second model (b) is better by 6.7 points")
    assert "where every class counts alike the first is ahead by 20.9 points" in said
    assert "that is not certain" not in said
    small = verdict(compared(range(60), range(748, 750), labels=labels))
    assert "the first is ahead by 0.9 points" in small
    assert small.endswith("that is not certain.")
    turned = verdict(compared(range(740, 750), range(60), labels=labels))
    assert "where every class counts alike the second is ahead by 20.9 points" in turned


def test_the_verdict_stands_on_the_interval_by_group():
    groups = [f"field {min(i // 20, 37)}" for i in range(750)]
    found = compared(range(20), [], groups=groups)  # one whole field
    assert found.mcnemar.p < 0.001
    assert not is_shown(found)
    assert is_shown(replace(found, differences=compared(range(20), []).differences))
