"""File names for every system."""

import pytest

from hematovision.data.importing.names import safe_folder, safe_name, unique_names
from hematovision.taxonomy import normalise


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("BloodImage_00007", "BloodImage_00007"), ("a b  c", "a_b_c"), ("é/ü?.x", "e_u_.x"),
        ("血液", "image"), ("..hidden", "image_hidden"), ("-rf", "image_rf"), ("CON", "image_CON"),
        ("lpt1.old", "image_lpt1.old"), ("x" * 200, "x" * 80), ("end.", "end"), ("", "image"),
    ],
)  # fmt: skip
def test_a_safe_name_has_plain_characters_only(text: str, name: str):
    assert safe_name(text) == name


@pytest.mark.parametrize(
    "label", ["RBC/normal?", "..RBC", "лейкоцит", "con", "con.1", 'a"b', "a\nb"]
)
def test_a_safe_folder_means_the_same_class(label: str):
    folder = safe_folder(label)
    assert not set(folder) & set('<>:"/\\|?*\n')
    assert not folder.startswith(".")
    assert normalise(folder) == normalise(label)


def test_names_are_unique_whatever_the_case():
    assert unique_names(["a", "A-2", "A", "a"]) == ["a", "A-2", "A-3", "a-4"]
    many = unique_names(["x"] * 1000)
    assert len(set(many)) == 1000


@pytest.mark.parametrize("label", ["con", "NUL", "com1.old"])
def test_a_safe_folder_is_no_device_of_windows(label: str):
    assert safe_folder(label) == f"_{label}"
