"""Names are kept as classes unless they are mapped, and the choice is reported."""

import pytest

from hematovision.data.classes import choose_classes, choose_taxonomy
from hematovision.errors import TaxonomyError
from hematovision.taxonomy import PBC8, RBC_WBC_PLATELETS

NUCLEATED = "nucleated red cells count as RBC"
KAGGLE = ("EOSINOPHIL", "LYMPHOCYTE", "MONOCYTE", "NEUTROPHIL")


def choose(*names, asked=None):
    return choose_classes(dict.fromkeys(names, 7), asked, where="here")


@pytest.mark.parametrize(
    "names",
    [
        KAGGLE,
        ("BA", "EO", "ERB", "LY", "MO"),
        ("RBC", "WBC", "Platelets", "erythroblast"),
        ("erythroblast", "neutrophil", "platelet"),
        ("RBC", "blast"),
        tuple(PBC8.classes[:7]),
        (*PBC8.classes, "blast"),
        (*PBC8.classes[:-1], "thrombocyte"),
    ],
)
def test_names_are_kept(names):
    choice = choose(*names)
    assert choice.taxonomy.name == "folders"
    assert set(choice.taxonomy.classes) == set(names)
    classes = ", ".join(sorted(names, key=lambda name: (name.casefold(), name)))
    assert choice.sentence == f"Classes: {classes} (folder names)"


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (("RBC", "WBC", "Platelets"), f"Classes: RBC, WBC, Platelets (folder names; {NUCLEATED})"),
        (
            ("RBC", "WBC"),
            (f"Classes: RBC, WBC, Platelets (folder names; no images of Platelets; {NUCLEATED})"),
        ),
        (
            ("red cells", "leukocytes", "plt"),
            (
                "Classes: RBC (red cells), WBC (leukocytes), Platelets (plt): spellings of RBC, "
                f"WBC and Platelets; {NUCLEATED}. To keep the names as they are: "
                "--taxonomy folders"
            ),
        ),
    ],
)
def test_spellings_of_the_three_words_are_the_three_classes(names, sentence):
    choice = choose(*names)
    assert choice.taxonomy is RBC_WBC_PLATELETS
    assert choice.sentence == sentence


@pytest.mark.parametrize("change", [str, str.upper, str.title, "{}s".format])
def test_only_exactly_the_eight_pbc_names_are_mapped_to_three(change):
    choice = choose(*(change(label) for label in PBC8.classes))
    assert choice.taxonomy is RBC_WBC_PLATELETS
    assert choice.spellings["RBC"] == (change("erythroblast"),)
    assert len(choice.spellings["WBC"]) == 6
    assert f"RBC ({change('erythroblast')}), WBC ({change('basophil')}, " in choice.sentence
    assert choice.sentence.endswith(
        f"Platelets ({change('platelet')}): mapped from the eight PBC classes; {NUCLEATED}. "
        "To keep the names as they are: --taxonomy folders"
    )


def test_any_names_are_kept_on_request():
    for names in (("RBC", "WBC"), PBC8.classes, KAGGLE):
        choice = choose(*names, asked="folders")
        assert set(choice.taxonomy.classes) == set(names)
        assert choice.sentence.endswith("(folder names)")


def test_a_requested_mapping_is_reported():
    choice = choose("erythroblast", "NEUTROPHIL", asked="rbc-wbc-platelets")
    assert choice.taxonomy is RBC_WBC_PLATELETS
    assert choice.sentence == (
        "Classes: RBC (erythroblast), WBC (NEUTROPHIL), Platelets: mapped by the taxonomy "
        f"rbc-wbc-platelets; no images of Platelets; {NUCLEATED}"
    )
    assert choose("eos", "baso", asked="pbc8").taxonomy is PBC8
    given = choose("erythroblast", "NEUTROPHIL", asked=RBC_WBC_PLATELETS)
    assert ": mapped by the taxonomy rbc-wbc-platelets; no images" in given.sentence


@pytest.mark.parametrize("asked", ["rbc-wbc-platelets", RBC_WBC_PLATELETS])
def test_a_mapping_that_leaves_one_class_is_an_error(asked):
    with pytest.raises(TaxonomyError) as caught:
        choose(*KAGGLE, asked=asked)
    message = str(caught.value)
    assert f"{', '.join(KAGGLE)} all mean WBC" in message
    assert "images of another of its classes (RBC, WBC, Platelets)" in message
    assert ("--taxonomy folders" in message) is isinstance(asked, str)
    with pytest.raises(TaxonomyError, match="RBC, red cells all mean RBC"):
        choose("RBC", "red cells")


def test_case_and_separators_make_no_difference():
    choice = choose("Blast", "blast", "b_last", "other")
    assert choice.taxonomy.classes == ("Blast", "other")
    assert choice.sentence == (
        "Classes: Blast (Blast, b_last, blast), other: folder names; case and separators make no "
        "difference"
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [("CD4+", "CD4-"), ("CD4", "CD4-"), ("Hb S (+)", "Hb S (-)"), ("1.5", "15"), ("Élan", "elan")],
)
def test_classes_that_differ_in_symbols_are_never_merged_silently(one, other):
    with pytest.raises(TaxonomyError, match="differ only in signs or accents"):
        choose(one, other, "third")


def test_composed_and_decomposed_names_are_the_same_class():
    assert len(choose("Me\u0301galo", "M\u00e9galo", "other").taxonomy.classes) == 2


def test_names_without_letters_or_a_single_class_are_errors():
    with pytest.raises(TaxonomyError):
        choose_taxonomy({"+": 1, "blast": 2}, None, where="here")
    with pytest.raises(TaxonomyError, match="at least two"):
        choose_taxonomy({"blast": 2}, None, where="here")


@pytest.mark.parametrize("name", ["caf\udce9", "bl\x1b[31mast"])
def test_a_class_name_that_is_not_text_is_an_error_that_can_be_printed(name):
    with pytest.raises(TaxonomyError, match=r"'(caf|bl)\\x.*Rename it") as caught:
        choose(name, "other")
    assert str(caught.value).encode().isascii()
    assert str(caught.value).isprintable()


def test_an_unknown_taxonomy_and_an_unknown_class_are_named():
    with pytest.raises(TaxonomyError, match=r"no taxonomy 'three'.*five-kinds, or folders"):
        choose("RBC", "WBC", asked="three")
    with pytest.raises(TaxonomyError, match=r"'blast' \(7\) is not in the .*--taxonomy folders"):
        choose("RBC", "blast", asked="rbc-wbc-platelets")


def test_a_single_class_is_an_error_that_names_the_folder():
    with pytest.raises(TaxonomyError, match=r"/data: there is only one class, 'Neutrophil'"):
        choose_classes({"neutrophil": 3, "Neutrophil": 2}, None, where="/data")
