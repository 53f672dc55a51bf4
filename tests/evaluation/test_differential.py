"""A differential is compared with the truth over simulated patients."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from hematovision.evaluation.differential import (
    ClassifiedCells,
    Estimate,
    KindAgreement,
    evaluate_differential,
)
from hematovision.evaluation.patients import REFERENCE_PERCENT

KINDS = tuple(REFERENCE_PERCENT)
NEUTROPHIL, LYMPHOCYTE, MONOCYTE = (
    KINDS.index(kind) for kind in ("neutrophil", "lymphocyte", "monocyte")
)


def cells_of(per_kind=60, n_units=20):
    """Return perfectly classified cells of all kinds, each kind in every unit."""
    labels = np.tile(np.arange(len(KINDS)), per_kind)
    units = np.arange(len(labels)) // len(KINDS) % n_units
    return ClassifiedCells(KINDS, labels, labels, np.ones(len(labels), bool), units)


def study(cells, **options):
    return evaluate_differential(cells, **{"patients": 40, "draws": 0, "seed": 1, **options})


def without_review(cells, **options):
    return study(cells, **options).comparisons["unclassified"]


@pytest.fixture(scope="module")
def perfect():
    return study(cells_of(), draws=8)


def test_perfect_predictions_agree_perfectly(perfect):
    for name in ("unclassified", "resolved"):
        found = perfect.comparisons[name]
        assert found.kappa.value == found.flag_kappa.value == 1
        assert set(found.kinds) == set(KINDS)
        assert found.false_kinds == {}
        for kind in found.kinds.values():
            assert kind.deming_slope.value == pytest.approx(1)
            assert kind.deming_intercept.value == pytest.approx(0, abs=1e-9)
            assert kind.passing_bablok_slope.value == 1
            assert kind.passing_bablok_intercept.value == 0
            assert kind.bias.value == kind.lower_limit.value == kind.upper_limit.value == 0
            assert kind.pearson.value == pytest.approx(1)
            assert kind.kappa.value == kind.flag_kappa.value == 1
            assert kind.deming_slope.interval == pytest.approx((1, 1))
            assert kind.missed() == ()


def test_a_recount_scatters_as_much_as_counting_does():
    for kind in study(cells_of(), patients=200).comparisons["recount"].kinds.values():
        half = (kind.upper_limit.value - kind.lower_limit.value) / 2
        assert half == pytest.approx(kind.counting_limit, rel=0.1)
        assert kind.kappa == Estimate(None, None)
        assert abs(kind.bias.value) < 0.5


def test_more_cells_scatter_less(perfect):
    twice = study(cells_of(), cells_per_patient=200).comparisons["recount"].kinds["neutrophil"]
    once = perfect.comparisons["recount"].kinds["neutrophil"]
    assert twice.counting_limit == pytest.approx(once.counting_limit / np.sqrt(2), rel=0.05)
    assert twice.upper_limit.value < once.upper_limit.value


def test_a_classifier_that_always_predicts_neutrophil_misses_its_bars():
    cells = cells_of()
    found = without_review(replace(cells, predicted=np.full(len(cells.labels), NEUTROPHIL)))
    assert found.kappa.value == pytest.approx(0)
    for kind in found.kinds.values():
        assert kind.deming_slope == Estimate(None, None)
        assert kind.missed() == ("slope", "intercept", "kappa")
    assert found.kinds["lymphocyte"].bias.value < -20
    assert found.kinds["neutrophil"].bias.value > 30


def test_a_tenth_of_the_neutrophils_predicted_as_monocytes_moves_both_lines():
    cells = cells_of(per_kind=200)
    predicted = np.array(cells.labels)
    predicted[np.flatnonzero(predicted == NEUTROPHIL)[:20]] = MONOCYTE  # one in each unit
    found = without_review(replace(cells, predicted=predicted), patients=100)
    neutrophils, monocytes = found.kinds["neutrophil"], found.kinds["monocyte"]
    assert neutrophils.deming_slope.value == pytest.approx(0.9, abs=0.02)
    assert neutrophils.passing_bablok_slope.value == pytest.approx(0.9, abs=0.03)
    # Neutrophils of these patients are half of the cells: a tenth of them is five percent.
    assert monocytes.bias.value == pytest.approx(-neutrophils.bias.value)
    assert monocytes.bias.value == pytest.approx(5, abs=1)
    assert monocytes.missed() == ("intercept",)
    assert found.kinds["lymphocyte"].missed() == ()


def test_reviewed_cells_are_left_out_or_resolved():
    cells = cells_of(per_kind=200)
    labels = np.array(cells.labels)
    wrong = np.flatnonzero(labels == LYMPHOCYTE)[:50]
    predicted, accepted = labels.copy(), np.ones(len(labels), bool)
    predicted[wrong], accepted[wrong] = MONOCYTE, False
    found = study(replace(cells, predicted=predicted, accepted=accepted))
    assert 0.03 < found.review_rate < 0.15  # a quarter of the lymphocytes
    left_out, resolved = (found.comparisons[c] for c in ("unclassified", "resolved"))
    assert resolved.kappa.value == left_out.kappa.value == 1
    assert resolved.kinds["lymphocyte"].bias.value == 0
    assert left_out.kinds["lymphocyte"].bias.value < -3
    assert left_out.kinds["neutrophil"].bias.value > 2


def test_patients_without_classified_cells_have_no_differential():
    cells = cells_of()
    found = study(replace(cells, accepted=np.zeros(len(cells.labels), bool)))
    assert found.review_rate == 1
    left_out = found.comparisons["unclassified"]
    assert left_out.kappa == left_out.kinds["neutrophil"].bias == Estimate(None, None)
    assert found.comparisons["resolved"].kappa.value == 1


def test_kinds_with_few_cells_are_left_out_and_their_predictions_counted():
    cells = cells_of()
    labels = np.array(cells.labels)
    monocytes = np.flatnonzero(labels == MONOCYTE)
    labels[monocytes[19:]] = LYMPHOCYTE  # still predicted as monocytes
    found = study(replace(cells, labels=labels))
    assert found.too_few == {"monocyte": 19}
    agreement = found.comparisons["unclassified"]
    assert "monocyte" not in agreement.kinds
    assert agreement.false_kinds["monocyte"].value > 5


def test_nucleated_red_cells_are_counted_in_addition_to_the_white_cells():
    cells = cells_of()
    labels = np.array(cells.labels)
    predicted = np.where(labels == KINDS.index("erythroblast"), LYMPHOCYTE, labels)
    found = without_review(replace(cells, predicted=predicted))
    assert found.kinds["erythroblast"].missed() == ("slope", "intercept", "kappa")
    assert found.kinds["lymphocyte"].bias.value > 0
    # Missed, they dilute the white cells of their patients.
    assert found.kinds["neutrophil"].bias.value < 0


def test_errors_of_whole_slides_widen_the_limits_of_agreement():
    labels = np.tile(np.arange(len(KINDS)), 400)
    units = np.arange(len(labels)) // len(KINDS) % 4
    swapped = np.where(labels == LYMPHOCYTE, MONOCYTE, labels)
    together = np.where(units == 0, swapped, labels)
    spread = np.where(np.arange(len(labels)) // (4 * len(KINDS)) % 4 == 0, swapped, labels)

    def half(predicted):
        cells = ClassifiedCells(KINDS, labels, predicted, np.ones(len(labels), bool), units)
        kind = without_review(cells, patients=100).kinds["lymphocyte"]
        return (kind.upper_limit.value - kind.lower_limit.value) / 2

    assert half(together) > 1.5 * half(spread)


def test_patients_are_shared_out_among_models():
    cells = cells_of()
    labels = np.array(cells.labels)
    both = np.stack([labels, np.full(len(labels), NEUTROPHIL)])
    found = study(replace(cells, predicted=both, accepted=np.ones(both.shape, bool)))
    assert found.models == 2
    alone = without_review(cells).kinds["lymphocyte"].bias.value
    assert alone == 0
    bias = found.comparisons["unclassified"].kinds["lymphocyte"].bias.value
    assert -25 < bias < -7  # half the patients have no lymphocytes


def test_intervals_come_from_other_slides():
    rng = np.random.default_rng(0)
    cells = cells_of(n_units=6)
    labels = np.array(cells.labels)
    wrong = (np.array(cells.units) < 2) & (rng.random(len(labels)) < 0.5)
    found = study(replace(cells, predicted=np.where(wrong, NEUTROPHIL, labels)), draws=20)
    estimate = found.comparisons["unclassified"].kappa
    low, high = estimate.interval
    assert low < estimate.value < high <= 1
    assert high - low > 0.1
    assert (found.draws, found.units) == (20, 6)


def test_slides_of_one_kind_make_some_samples_useless_but_no_error():
    labels = np.repeat([NEUTROPHIL, LYMPHOCYTE], 30)
    cells = ClassifiedCells(KINDS, labels, labels, np.ones(60, bool), labels)
    found = without_review(cells, draws=12)
    assert found.kinds["neutrophil"].deming_slope.interval == pytest.approx((1, 1))


def test_the_seed_fixes_the_result():
    first, again, other = (
        json.dumps(asdict(study(cells_of(), patients=4, draws=2, seed=seed))) for seed in (1, 1, 2)
    )
    assert first == again
    assert first.replace('"seed": 1', '"seed": 2') != other


def test_bars_are_slope_intercept_and_kappa():
    one = Estimate(1.0, None)
    kind = KindAgreement(
        cells=20, pearson=one, spearman=one, passing_bablok_slope=one,
        passing_bablok_intercept=one, deming_slope=Estimate(1.2, None),
        deming_intercept=Estimate(-0.2, None), bias=one, lower_limit=one, upper_limit=one,
        counting_limit=1.0, kappa=Estimate(0.6, None), flag_kappa=one,
    )  # fmt: skip
    assert kind.missed() == ()
    assert replace(kind, deming_slope=Estimate(1.21, None)).missed() == ("slope",)
    assert replace(kind, deming_intercept=Estimate(-0.21, None)).missed() == ("intercept",)
    assert replace(kind, kappa=Estimate(0.59, None)).missed() == ("kappa",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.zeros(3, int)}, "same N"),
        ({"labels": np.full(420, 7)}, r"`labels` must be in 0 \.\. 6. Received: 7 to 7"),
        ({"predicted": np.full(420, -1)}, "`predicted` must be in"),
    ],
)
def test_cells_must_fit_together(change, message):
    with pytest.raises(ValueError, match=message):
        replace(cells_of(), **change)


def test_too_few_patients_or_kinds_are_an_error():
    with pytest.raises(ValueError, match="`patients` 2"):
        evaluate_differential(cells_of(), patients=1)
    with pytest.raises(ValueError, match="two kinds of white cells"):
        evaluate_differential(cells_of(per_kind=19))
