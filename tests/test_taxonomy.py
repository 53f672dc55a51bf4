"""Spellings of classes, and the taxonomy that a set of names suggests."""

import pytest

from hematovision.errors import TaxonomyError
from hematovision.evaluation.comparison import CommonClasses
from hematovision.taxonomy import (
    FIVE_KINDS,
    PBC8,
    RBC_WBC_PLATELETS,
    TAXONOMIES,
    WHITE_CELLS,
    Taxonomy,
    get_taxonomy,
    names_pbc8,
    normalise,
    suggested_taxonomy,
)


@pytest.mark.parametrize("spelling", ["Red Blood-Cells", "red_blood_cells", " RED blood cells "])
def test_spellings_of_one_name_are_equal(spelling):
    assert normalise(spelling) == "redbloodcells"


@pytest.mark.parametrize("taxonomy", TAXONOMIES.values())
def test_every_spelling_and_its_plural_mean_their_class(taxonomy):
    for label in taxonomy.classes:
        for spelling in (label, *taxonomy.aliases.get(label, ())):
            assert taxonomy.resolve(spelling) == label
            assert taxonomy.resolve(f"{spelling}s") == label


def test_the_eight_classes_map_to_three():
    meant = [RBC_WBC_PLATELETS.find(label) for label in PBC8.classes]
    assert meant == ["WBC", "WBC", "RBC", *["WBC"] * 4, "Platelets"]


def test_the_kinds_of_white_cells_are_those_of_pbc_without_platelets():
    assert WHITE_CELLS.classes == PBC8.classes[:-1]
    assert [PBC8.find(label) for label in WHITE_CELLS.classes] == list(WHITE_CELLS.classes)
    assert WHITE_CELLS.find("platelet") is None


def test_ig_and_erythroblasts_have_no_place_in_the_five_kinds_and_bands_are_neutrophils():
    meant = {label: FIVE_KINDS.find(label) for label in WHITE_CELLS.classes}
    assert [label for label, kind in meant.items() if kind is None] == ["erythroblast", "ig"]
    assert all(kind == label for label, kind in meant.items() if kind)
    assert FIVE_KINDS.find("Band neutrophils") == "neutrophil"


def test_probabilities_of_white_cells_are_folded_to_five_kinds_and_the_rest():
    common = CommonClasses.of(FIVE_KINDS, WHITE_CELLS)
    assert common.taxonomy is FIVE_KINDS
    assert common.classes == (*FIVE_KINDS.classes, "another class")
    folded = common.fold([[0.1, 0.1, 0.2, 0.3, 0.1, 0.1, 0.1]], 1)
    assert folded[0].tolist() == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.1, 0.5])


def test_a_spelling_of_two_classes_or_a_single_class_is_an_error():
    with pytest.raises(TaxonomyError, match="already used by class 'a'"):
        Taxonomy("own", ("a", "b"), {"b": ("A",)})
    with pytest.raises(TaxonomyError, match="at least two"):
        Taxonomy("own", ("a",))


def test_only_the_three_words_suggest_the_three_classes():
    words = ["red cell", "erythrocytes", "Leucocyte", "white blood cells", "PLT", "thrombocyte"]
    assert suggested_taxonomy(words) is RBC_WBC_PLATELETS
    for finer in ("erythroblast", "nrbc", "neutrophil", "lymph", "ig"):
        assert RBC_WBC_PLATELETS.find(finer)
        assert suggested_taxonomy([*words, finer]) is None


def test_only_classes_that_hide_nucleated_red_cells_have_a_note():
    assert RBC_WBC_PLATELETS.note == "nucleated red cells count as RBC"
    assert Taxonomy("own", ("white", "red"), {"red": ("NRBC", "erythroblast")}).note.endswith(
        "count as red"
    )
    for without in (PBC8, WHITE_CELLS, FIVE_KINDS, Taxonomy("own", ("NRBC", "other"))):
        assert without.note == ""


def test_the_eight_of_pbc_are_recognised_only_by_their_names():
    assert names_pbc8(PBC8.classes)
    assert suggested_taxonomy(PBC8.classes) is RBC_WBC_PLATELETS
    assert not names_pbc8(PBC8.classes[1:])
    assert not names_pbc8([*PBC8.classes, "RBC"])
    assert not names_pbc8([*PBC8.classes[1:], "baso"])


def test_an_unknown_taxonomy_lists_those_known():
    assert get_taxonomy("pbc8") is PBC8
    with pytest.raises(
        TaxonomyError, match=r"'x'.*rbc-wbc-platelets, pbc8, white-cells, five-kinds, or folders"
    ):
        get_taxonomy("x")


def test_the_error_of_a_damaged_taxonomy_is_one_short_line():
    damaged = {"name": ["a\nb"] * 1000, "classes": ["a", "b"], "aliases": {}}
    with pytest.raises(TaxonomyError, match=r"`name` \(text\).* Received: \{'name'") as caught:
        Taxonomy.from_json(damaged)
    assert len(str(caught.value)) < 200
    assert "\n" not in str(caught.value)
