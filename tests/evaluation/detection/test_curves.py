"""Average precision and FROC, held against faster-coco-eval and against small fields."""

import numpy as np
import pytest

from detected_fields import field, random_fields
from hematovision.evaluation.detection.curves import (
    FALSE_RATES,
    OVERLAPS,
    coco_average_precision,
    rank_by_centre,
    rank_by_overlap,
)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("index", [0, 1, 2])
def test_average_precision_is_that_of_faster_coco_eval(index: int, ties: bool):
    fields = random_fields(30, seed=index, ties=ties)
    reference = coco_average_precision(fields, index)
    assert reference is not None
    assert 0.2 < reference[0] < 0.9  # of some use for the comparison
    own = rank_by_overlap(fields, index).average_precision()
    assert own == pytest.approx(reference[None], abs=1e-12)


def test_cells_beyond_the_hundredth_of_a_field_count():
    cells = [(20.0 * (i % 20), 20.0 * (i // 20), 0) for i in range(150)]
    dense = field(cells, [(x, y, label, 0.9) for x, y, label in cells])
    assert coco_average_precision([dense], 0) == pytest.approx(np.ones(10))
    assert rank_by_overlap([dense], 0).average_precision() == pytest.approx(np.ones((1, 10)))


def test_average_precision_of_two_cells_and_a_false_one():
    # Recall 0.5 at precision 1, recall 1 at precision 2/3: 51 points of 1, 50 of 2/3.
    one = field([(50, 50, 0), (90, 50, 0)], [(50, 50, 0, 0.9), (10, 10, 0, 0.8), (90, 50, 0, 0.7)])
    expected = (51 + 50 * 2 / 3) / 101
    assert coco_average_precision([one], 0) == pytest.approx(np.full(10, expected))
    ranking = rank_by_overlap([one], 0)
    assert ranking.average_precision()[0, 0] == pytest.approx(expected)
    assert ranking.precision_curve()[[0, 50, 51, 100]] == pytest.approx([1, 1, 2 / 3, 2 / 3])


def test_a_class_without_cells_has_no_average_precision():
    one = field([(50, 50, 0)], [(50, 50, 1, 0.9)])
    assert coco_average_precision([one], 1) is None
    assert np.isnan(rank_by_overlap([one], 1).average_precision()).all()
    assert coco_average_precision([one], 0) == pytest.approx(np.zeros(10))  # none found
    assert rank_by_overlap([one], 0).average_precision() == pytest.approx(np.zeros((1, 10)))


def test_a_field_with_weight_two_counts_like_two_fields():
    fields = random_fields(12)
    weights = np.array([[2.0, 0.0, *[1.0] * 10]])
    twice = [fields[0], *fields[:1], *fields[2:]]
    for rank in (rank_by_overlap, rank_by_centre):
        expected = rank(twice, 0)
        weighted = rank(fields, 0)
        assert weighted.average_precision(weights) == pytest.approx(
            expected.average_precision(),
            abs=0.01,  # equal confidences come in another order
        )
        assert weighted.sensitivity(weights) == pytest.approx(expected.sensitivity())
    assert rank_by_overlap(fields, 0).average_precision(np.ones((3, 12))) == pytest.approx(
        np.repeat(rank_by_overlap(fields, 0).average_precision(), 3, axis=0)
    )


def test_sensitivity_at_false_cells_per_field():
    # Two fields; by falling confidence: hit, false, hit, false, false, hit.
    first = field(
        [(50, 50, 0), (90, 50, 0)],
        [(50, 50, 0, 0.9), (10, 10, 0, 0.8), (90, 50, 0, 0.7), (30, 10, 0, 0.6)],
    )
    second = field([(50, 50, 0), (90, 90, 0)], [(10, 90, 0, 0.5), (50, 50, 0, 0.4)], "b")
    ranking = rank_by_centre([first, second], 0)
    by_rate = dict(zip(FALSE_RATES, ranking.sensitivity()[0].tolist(), strict=True))
    assert by_rate[0.125] == 0.25  # no false cell
    assert by_rate[0.5] == 0.5  # one in two fields
    assert by_rate[1.0] == 0.5
    assert by_rate[2.0] == 0.75  # three in two fields; one cell is never found
    false, reached = ranking.froc_curve()
    assert false.tolist() == [0, 0.5, 0.5, 1, 1.5, 1.5]
    assert reached.tolist() == [0.25, 0.25, 0.5, 0.5, 0.5, 0.75]


def test_equal_confidences_are_one_threshold():
    one = field([(50, 50, 0)], [(50, 50, 0, 0.9), (10, 10, 0, 0.9)])
    assert rank_by_centre([one], 0).sensitivity()[0, 0] == 0  # not without the false cell
    assert rank_by_centre([one], 0).sensitivity()[0, 3] == 1


def test_the_thresholds_are_those_of_coco():
    assert OVERLAPS.tolist() == pytest.approx([0.5 + 0.05 * i for i in range(10)])
