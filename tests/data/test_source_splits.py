"""The split of an import: `--split`, lists, fractions."""

from pathlib import Path

import pytest

from hematovision.data.source_splits import Fractions, NoSplit, SplitLists, parse_split
from hematovision.errors import SplitError


@pytest.mark.parametrize(
    ("spec", "values"),
    [
        ("70/15/15", (0.7, 0.15, 0.15)),
        ("0.7/0.15/0.15", (0.7, 0.15, 0.15)),
        (" 80 / 20 ", (0.8, 0.2, 0.0)),
        ("85/0/15", (0.85, 0.0, 0.15)),
        ("33.3/33.3/33.4", (0.333, 0.333, 0.334)),
    ],
)
def test_fractions_are_shares_or_percentages(spec, values):
    choice = parse_split(spec)
    assert isinstance(choice, Fractions)
    assert choice.values == pytest.approx(values)
    assert sum(choice.values) == pytest.approx(1)


@pytest.mark.parametrize("spec", ["70/15", "0/50/50", "1/2/3/4", "25/25/25/25", "7..0/30", "1/1"])
def test_numbers_that_are_not_fractions_are_errors(spec):
    with pytest.raises(SplitError, match="add up to 1 or 100"):
        parse_split(spec)


def test_none_means_no_split():
    assert parse_split("none") == NoSplit()
    assert parse_split(None) is None


def lists(folder: Path, **names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for split, text in names.items():
        (folder / f"{split}.txt").write_text(text)
    return folder


@pytest.mark.parametrize("valid", ["val", "valid", "validation"])
def test_a_folder_of_lists_gives_each_field_its_split(tmp_path: Path, valid: str):
    folder = lists(
        tmp_path, train="a\n\nsub/b.jpg \n", test="c\n", trainval="a\nd\n", **{valid: "d\n"}
    )
    choice = parse_split(str(folder))
    assert isinstance(choice, SplitLists)
    found, problems = choice.assign(["a", "sub/b", "c", "d"])
    assert found == {"a": "train", "sub/b": "train", "c": "test", "d": "valid"}
    assert problems == []


def test_official_lists_are_used_only_if_they_exist(tmp_path: Path):
    assert parse_split(None, tmp_path) is None
    assert isinstance(parse_split(None, lists(tmp_path, train="a")), SplitLists)
    assert parse_split("none", tmp_path) == NoSplit()


def test_fields_in_no_list_and_names_without_field_are_problems(tmp_path: Path):
    choice = parse_split(str(lists(tmp_path, train="a\ngone\n")))
    assert isinstance(choice, SplitLists)
    found, (unlisted, idle) = choice.assign(["a", "b"])
    assert found == {"a": "train"}
    assert unlisted.startswith("1 field in none of the lists")
    assert unlisted.endswith(", left out: b")
    assert idle.endswith("without a field: gone")


def test_a_field_in_two_lists_is_an_error(tmp_path: Path):
    with pytest.raises(SplitError, match="'a' is in the list of test too"):
        parse_split(str(lists(tmp_path, train="a\n", test="b\na\n")))
    choice = parse_split(str(lists(tmp_path, train="a.jpg\n", test="A.png\n")))
    assert isinstance(choice, SplitLists)
    with pytest.raises(SplitError, match="'a' is in the lists of test and train"):
        choice.assign(["a"])


def test_lists_of_other_fields_are_an_error(tmp_path: Path):
    choice = parse_split(str(lists(tmp_path, train="x\n")))
    assert isinstance(choice, SplitLists)
    with pytest.raises(SplitError, match=r"name none of the fields.*'x'.*'a, b'"):
        choice.assign(["a", "b"])


@pytest.mark.parametrize("names", [{}, {"test": "a\n"}, {"train": "\n"}])
def test_a_folder_without_a_train_list_is_an_error(tmp_path: Path, names):
    with pytest.raises(SplitError, match=r"no list train\.txt"):
        parse_split(str(lists(tmp_path / "lists", **names)))


def test_a_path_that_is_not_a_folder_is_an_error(tmp_path: Path):
    with pytest.raises(SplitError, match=r"is not a folder\. Expected"):
        parse_split(str(tmp_path / "gone"))
