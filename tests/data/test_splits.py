"""Splits: every sample once, no group in two splits, every class by the fractions."""

import random
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hematovision.data.folders import read_dataset
from hematovision.data.samples import Dataset, Sample
from hematovision.data.splits import complete_splits, split_dataset, write_splits
from hematovision.errors import SplitError
from hematovision.taxonomy import RBC_WBC_PLATELETS, Taxonomy

ROOT = Path("/data")
ABC = Taxonomy("abc", ("a", "b", "c"))


def dataset(*samples: tuple[str, str], taxonomy: Taxonomy = ABC) -> Dataset:
    """Samples of (label, group), named by their number."""
    return Dataset(
        ROOT,
        taxonomy,
        tuple(Sample(ROOT / f"{i}.png", la, None, gr) for i, (la, gr) in enumerate(samples)),
    )


def parts_of(split: Dataset) -> dict[str, str | None]:
    return {sample.path.name: sample.split for sample in split}


samples = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 12).map(str)), min_size=1)
shares = st.sampled_from([(0.7, 0.15, 0.15), (0.85, 0.15, 0.0), (0.2, 0.0, 0.8), (1.0, 0.0, 0.0)])


@settings(max_examples=60, deadline=None)
@given(samples, shares, st.integers(0, 5))
def test_every_sample_and_group_is_in_one_split(pairs, fractions, seed):
    original = dataset(*pairs)
    split = split_dataset(original, fractions, seed)
    assert [replace(s, split=None) for s in split] == list(original)
    allowed = {p for p, f in zip(("train", "valid", "test"), fractions, strict=True) if f}
    assert {s.split for s in split} <= allowed
    assert len({(s.group, s.split) for s in split}) == len({s.group for s in split})


@settings(max_examples=60, deadline=None)
@given(samples, shares, st.integers(0, 5))
def test_every_class_is_in_training(pairs, fractions, seed):
    split = split_dataset(dataset(*pairs), fractions, seed)
    assert {s.label for s in split.subset("train")} == {label for label, _ in pairs}


@settings(max_examples=40, deadline=None)
@given(samples, st.integers(0, 5), st.randoms(use_true_random=False))
def test_the_order_of_samples_does_not_matter(pairs, seed, shuffler: random.Random):
    original = dataset(*pairs)
    shuffled = list(original)
    shuffler.shuffle(shuffled)
    assert parts_of(split_dataset(original, seed=seed)) == parts_of(
        split_dataset(original.with_samples(shuffled), seed=seed)
    )


def test_another_seed_gives_another_split_of_the_same_size():
    original = dataset(*[("a", str(i)) for i in range(50)], *[("b", f"b{i}") for i in range(50)])
    one, two = split_dataset(original, seed=1), split_dataset(original, seed=2)
    assert parts_of(one) == parts_of(split_dataset(original, seed=1))
    assert parts_of(one) != parts_of(two)
    assert Counter(s.split for s in one) == Counter(s.split for s in two)


def test_single_images_are_split_exactly_class_by_class():
    pairs = [("a", f"a{i}") for i in range(1000)] + [("b", f"b{i}") for i in range(100)]
    split = split_dataset(dataset(*pairs))
    assert split.subset("train").counts() == {"a": 700, "b": 70, "c": 0}
    assert split.subset("valid").counts() == {"a": 150, "b": 15, "c": 0}
    assert split.subset("test").counts() == {"a": 150, "b": 15, "c": 0}


def test_splits_of_fields_are_close_to_the_fractions_in_every_class():
    generator = random.Random(0)
    pairs = []
    for field in range(300):
        pairs += [("a", f"f{field}")] * generator.randint(5, 25)
        pairs += [("b", f"f{field}")] * (generator.random() < 0.8)
        pairs += [("c", f"f{field}")] * (generator.random() < 0.2)
    split = split_dataset(dataset(*pairs), seed=3)
    totals = split.counts()
    for name, share in (("train", 0.7), ("valid", 0.15), ("test", 0.15)):
        for label, n in split.subset(name).counts().items():
            assert n / totals[label] == pytest.approx(share, abs=0.03), (name, label)


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (1, {"train": 1}),
        (2, {"train": 1, "valid": 1}),
        (3, {"train": 1, "valid": 1, "test": 1}),
        (4, {"train": 2, "valid": 1, "test": 1}),
        (10, {"train": 7, "valid": 2, "test": 1}),
    ],
)
def test_a_class_of_few_groups_is_in_as_many_splits_as_possible(groups, expected):
    pairs = [("a", str(i)) for i in range(groups)]
    assert Counter(s.split for s in split_dataset(dataset(*pairs))) == expected


def test_a_hundred_thousand_samples_are_split_in_seconds():
    path = ROOT / "one.png"  # paths are not looked at, and slow to make
    many = Dataset(
        ROOT,
        ABC,
        tuple(Sample(path, "abc"[(i % 7) % 3], None, f"g{i // 2}") for i in range(100_000)),
    )
    start = time.process_time()
    split_dataset(many)
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    "fractions",
    [(0.7, 0.2, 0.2), (0.0, 0.5, 0.5), (1.2, -0.2, 0.0), (0.7, 0.3), (float("nan"), 0.5, 0.5)],
)
def test_invalid_fractions_are_errors(fractions):
    with pytest.raises(SplitError, match="sum to 1"):
        split_dataset(dataset(("a", "1")), fractions)


def test_an_empty_dataset_cannot_be_split():
    with pytest.raises(SplitError, match="no samples to split"):
        split_dataset(dataset())


def with_parts(**counts: int) -> Dataset:
    """So many samples of class a in each split, each in its own group."""
    made = [
        Sample(ROOT / name / f"{i}.png", "a", None if name == "none" else name, f"{name}{i}")
        for name, n in counts.items()
        for i in range(n)
    ]
    return Dataset(ROOT, ABC, tuple(made))


def test_a_dataset_without_splits_gets_all_three():
    done = complete_splits(with_parts(none=100))
    assert Counter(s.split for s in done) == {"train": 70, "valid": 15, "test": 15}


@pytest.mark.parametrize("test", [0, 30])
def test_a_missing_valid_split_is_taken_from_train_only(test):
    original = with_parts(train=100, test=test)
    done = complete_splits(original, seed=4)
    assert Counter(s.split for s in done) == Counter({"train": 85, "valid": 15, "test": test})
    assert [s.path for s in done] == [s.path for s in original]
    assert [s for s in done if s.split == "test"] == [s for s in original if s.split == "test"]


@pytest.mark.parametrize("test", [0, 5])
def test_train_and_valid_stay_as_they_are(test):
    original = with_parts(train=10, valid=3, test=test)
    assert complete_splits(original) is original


def test_the_new_valid_split_keeps_groups_together():
    original = with_parts(train=90)
    grouped = original.with_samples(replace(s, group=str(i % 9)) for i, s in enumerate(original))
    done = complete_splits(grouped)
    assert len({(s.group, s.split) for s in done}) == 9
    assert set(done.splits) == {"train", "valid"}


def test_images_in_no_split_are_an_error_that_names_them():
    with pytest.raises(SplitError, match=r"2 of 5 images .* no split.*none/0.png, none/1.png"):
        complete_splits(with_parts(train=3, none=2))


def test_a_class_missing_from_train_is_an_error():
    original = with_parts(train=3, test=2)
    other = replace(original.samples[-1], label="b")
    with pytest.raises(SplitError, match="images of b, but none in its train split"):
        complete_splits(original.with_samples([*original.samples[:-1], other]))
    with pytest.raises(SplitError, match="images of a, but none"):
        complete_splits(with_parts(valid=3, test=2))


def test_a_written_split_is_found_by_the_dataset(tmp_path: Path):
    for i in range(20):
        for label in ("RBC", "WBC"):
            (tmp_path / label).mkdir(exist_ok=True)
            (tmp_path / label / f"{i}.png").touch()
    original = read_dataset(tmp_path)
    grouped = original.with_samples(replace(s, group=s.path.stem) for s in original)
    split = split_dataset(grouped, seed=1)
    path = write_splits(split, split.root / "split.csv")
    assert path.read_text().splitlines()[0] == "file,split,group,label"
    assert read_dataset(tmp_path) == split
    assert split.taxonomy is RBC_WBC_PLATELETS
