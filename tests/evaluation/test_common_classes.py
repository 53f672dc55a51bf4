"""Models of different classes are compared in what both can say."""

import numpy as np
import pytest

from hematovision.errors import TaxonomyError
from hematovision.evaluation.common_classes import OTHER, CommonClasses
from hematovision.taxonomy import PBC8, RBC_WBC_PLATELETS, Taxonomy


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
    # The likeliest of the eight is a platelet; the likeliest of the three is a white cell.
    row = np.zeros((1, 8))
    row[0, [PBC8.index("platelet"), PBC8.index("ig"), PBC8.index("neutrophil")]] = 0.4, 0.3, 0.3
    np.testing.assert_allclose(common.fold(row, fine), [[0, 0.6, 0.4]], atol=1e-12)


def test_what_only_one_can_say_is_never_right():
    common = CommonClasses.of(taxonomy("a", "b", "c"), taxonomy("a", "b", "d"))
    assert common.classes == ("a", "b", OTHER)
    assert common.names == ({"c": OTHER}, {"d": OTHER})
    np.testing.assert_allclose(common.fold(np.array([[0.2, 0.3, 0.5]]), 0), [[0.2, 0.3, 0.5]])


def test_either_taxonomy_may_know_the_others_name():
    first, second = taxonomy("a", "b", "c", a=("x",)), taxonomy("x", "y", "c", y=("b",))
    common = CommonClasses.of(first, second)
    assert common.classes == ("a", "b", "c")
    assert common.names == ({}, {"x": "a", "y": "b"})


@pytest.mark.parametrize(("other", "said"), [("b", "both say only b"), ("e", "none in common")])
def test_fewer_than_two_classes_in_common_cannot_be_compared(other, said):
    with pytest.raises(TaxonomyError, match=rf"a, b, c; the second says {other}, d; .*{said}"):
        CommonClasses.of(taxonomy("a", "b", "c"), taxonomy(other, "d"))
