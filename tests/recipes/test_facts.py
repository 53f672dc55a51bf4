"""The facts of the bundled models are complete, and agree with the recipes."""

import csv
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest

from hematovision.reporting.card import Statements
from recipes.bundled_models import data
from recipes.bundled_models.facts import CELLS, PBC8, WHITE_CELLS
from recipes.sets import LABS
from recipes.white_cells import batches, cells, trust

READ = Path(cells.__file__).with_name("bccd_kinds.csv")


def read_kinds() -> Counter[tuple[str, str]]:
    """How often each published kind of bccd was each kind to the reader."""
    with READ.open(newline="") as stream:
        return Counter((row["published"], row["reader"]) for row in csv.DictReader(stream))


def stated(name: str) -> str:
    return " ".join(getattr(WHITE_CELLS, name))


@pytest.mark.parametrize(
    "facts", [CELLS, PBC8, WHITE_CELLS], ids=["rbc-wbc-platelets", "pbc8", "white-cells"]
)
def test_every_statement_is_made_in_whole_sentences(facts: Statements):
    for field in fields(Statements):
        lines = getattr(facts, field.name)
        assert isinstance(lines, tuple), field.name
        assert all(line.endswith(".") for line in lines), field.name
        assert not any(line.startswith("Not recorded") for line in lines), field.name
    assert any("CC BY 4.0" in line for line in facts.licences)
    assert any(line.startswith("Not for: diagnosis") for line in facts.intended_use)


@pytest.mark.parametrize("lab", LABS)
def test_every_laboratory_has_a_source_a_licence_and_annotators(lab: str):
    for lines in (CELLS.sources, CELLS.eligibility, CELLS.annotators, CELLS.assignment):
        assert lab in " ".join(lines)


@pytest.mark.parametrize("lab", cells.LABS)
def test_every_laboratory_of_white_cells_has_its_statements(lab: str):
    for name in ("sources", "eligibility", "truth", "annotators", "label_errors", "assignment"):
        assert lab in stated(name), name
    assert {"pbc": "PBC", "raabin": "Raabin-WBC", "bccd": "BCCD", "krd": "KRD-WBC"}[lab] in stated(
        "licences"
    )


def test_the_stated_selection_is_that_of_the_recipe():
    stated = " ".join(CELLS.selection)
    assert f"at most {data._MOST_RED:,} red cells" in stated
    train, valid = data._WIDE["train"], data._WIDE["valid"]
    assert f"{train + valid} of each of the eight classes" in stated
    assert f"({train} and {valid})" in stated


def test_known_label_errors_are_stated():
    stated = " ".join(CELLS.label_errors)
    assert "draaslan" in stated
    assert "raabin" in stated


def test_white_cells_are_stated_to_lack_abnormal_cells_that_review_does_not_all_catch():
    text = stated("intended_use")
    assert "Not for: finding leukaemia" in text
    assert "Blasts, atypical lymphocytes, smudge cells" in text
    assert "should be sent for review, but not all are" in text


def test_the_readers_kinds_are_counted_as_the_file_has_them():
    kinds, text = read_kinds(), stated("label_errors")
    same = {kind: kinds[kind, kind] for kind, _ in kinds}
    unclear = sum(n for (_, seen), n in kinds.items() if seen == "unclear")
    assert f"all {kinds.total()} labelled cells" in text
    assert f"For {sum(same.values())} cells the reader saw the published kind" in text
    assert f"for {kinds.total() - sum(same.values()) - unclear} another" in text
    assert f"for {unclear} no kind with certainty" in text
    assert f"agrees with {sum(same.values())} of {kinds.total()} labels" in stated("variability")


def test_the_readers_kinds_are_counted_for_each_published_kind():
    kinds, text = read_kinds(), stated("label_errors")
    of = Counter(kind for kind, _ in kinds.elements())
    assert f'of {of["eosinophil"]} "eosinophils" {kinds["eosinophil", "eosinophil"]} were' in text
    assert f"{kinds['eosinophil', 'neutrophil']} neutrophils" in text
    assert f"{kinds['eosinophil', 'unclear']} uncertain" in text
    assert f"of {of['neutrophil']} neutrophils {kinds['neutrophil', 'neutrophil']}" in text
    assert f"of {of['lymphocyte']} lymphocytes all" in text
    assert kinds["lymphocyte", "lymphocyte"] == of["lymphocyte"]
    assert f"of {of['monocyte']} monocytes {kinds['monocyte', 'monocyte']}" in text
    assert f"of {of['basophil']} basophils {kinds['basophil', 'basophil']}" in text


def test_the_stated_preparation_of_white_cells_is_that_of_the_recipe():
    assert f"as wide as {batches.FRAMING.red_cell_diameters} red-cell diameters" in stated(
        "preparation"
    )
    assert f"blurred by {batches.FRAMING.blur} red-cell diameters" in stated("preparation")
    how, text = batches.Variation(), stated("selection")
    for lab in cells.LABS:
        assert (
            f"{100 * cells.SHARES[lab]:.0f}% {'of the cells were ' * (lab == 'pbc')}of {lab}"
            in text
        )
    assert how.power == 0.5
    assert f"Of the training images, {100 * how.outliers:.0f}% were of no class" in text
    assert f"at most {trust._PER_KIND} training cells" in text
    assert f"{trust._RENDERED + trust._MADE} images of no class" in text


def test_the_stated_counts_of_white_cells_are_those_of_the_sources(real_data: Path):
    found = {lab: list(cells.sources(real_data, lab)) for lab in cells.LABS}
    test = {lab: Counter(s.kind for s in of if s.split == "test") for lab, of in found.items()}
    assert f"pbc/val, {test['pbc'].total()} images" in stated("assignment")
    assert f"raabin: {len(found['raabin']):,} images" in stated("sources")
    assert f"from {len({s.group for s in found['raabin']})} slides or dates" in stated("sources")
    assert f"bccd: {len(found['bccd'])} white cells" in stated("sources")
    assert f"krd: {len(found['krd'])} fields" in stated("sources")
    bccd, krd, text = test["bccd"], test["krd"], stated("sample_size")
    assert f"{bccd['basophil']} basophil and {bccd['monocyte']} monocytes of bccd" in text
    assert f"{krd['eosinophil']} eosinophils, {krd['basophil']} basophils" in text
    assert f"{krd['monocyte']} monocytes of krd" in text
