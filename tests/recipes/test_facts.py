"""The facts of the bundled models are complete, and agree with the recipe."""

from dataclasses import fields

import pytest

from hematovision.reporting.card import Statements
from recipes.bundled_models import data
from recipes.bundled_models.facts import CELLS, PBC8
from recipes.sets import LABS


@pytest.mark.parametrize("facts", [CELLS, PBC8], ids=["rbc-wbc-platelets", "pbc8"])
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


def test_the_stated_selection_is_that_of_the_recipe():
    stated = " ".join(CELLS.selection)
    assert f"at most {data._MOST_RED:,} red cells" in stated
    train, valid = data._WIDE["train"], data._WIDE["valid"]
    assert f"{train + valid} of each class" in stated
    assert f"({train} and {valid})" in stated


def test_known_label_errors_are_stated():
    stated = " ".join(CELLS.label_errors)
    assert "draaslan" in stated
    assert "raabin" in stated
