"""A sample of cells is fair, the same in any order, and of bounded size."""

import random

from field_rows import cell
from hematovision.fields.sample import KEPT, CellSample

CELLS = [cell("WBC", "neutrophil", x=float(i), image=f"{i % 7}.png") for i in range(500)]


def sampled(cells, kind="neutrophil"):
    sample = CellSample()
    for one in cells:
        sample.add(kind, one)
    return sample


def test_the_sample_does_not_depend_on_the_order_or_on_repeated_cells():
    mixed = [*CELLS, *CELLS[:100]]
    random.Random(1).shuffle(mixed)
    one, other = sampled(CELLS), sampled(mixed)
    merged = sampled(CELLS[::2])
    merged.merge(sampled(CELLS[1::2]))
    chosen = one.choose(["neutrophil"], KEPT)
    assert len(set(chosen["neutrophil"])) == KEPT
    assert chosen == other.choose(["neutrophil"], KEPT) == merged.choose(["neutrophil"], KEPT)


def test_every_cell_has_the_same_chance():
    chosen = sampled(CELLS).choose(["neutrophil"], KEPT)["neutrophil"]
    # the mean position of 40 of 500 has standard error 500 / sqrt(12 * 40) = 23
    assert abs(sum(one.x_min for one in chosen) / KEPT - 249.5) < 3 * 23
    assert len({one.image for one in chosen}) == 7


def test_places_are_shared_equally_and_the_rest_of_small_classes_goes_to_the_others():
    sample = sampled(CELLS)
    sample.merge(sampled(CELLS[:2], "basophil"))
    sample.merge(sampled(CELLS[:30], "monocyte"))
    kinds = ["basophil", "eosinophil", "monocyte", "neutrophil"]
    chosen = sample.choose(kinds, 20)
    assert {kind: len(cells) for kind, cells in chosen.items()} == {
        "basophil": 2, "monocyte": 9, "neutrophil": 9,
    }  # fmt: skip
    assert sum(map(len, sample.choose(kinds, 4).values())) == 4
    assert sample.choose([], 20) == {}


def test_a_class_beyond_any_classifiers_number_is_not_sampled():
    sample = CellSample()
    for i in range(100):
        sample.add(f"class {i}", CELLS[i])
    assert len(sample.choose([f"class {i}" for i in range(100)], 100)) == 64
