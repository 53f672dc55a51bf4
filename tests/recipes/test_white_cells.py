"""The recipe of white cells: batches, images of no class, and thresholds that hold across labs."""

import numpy as np
import pytest

from hematovision.fields.finding import FieldContext
from hematovision.fields.framing import cut_out
from hematovision.fields.scale import Scale
from hematovision.taxonomy import WHITE_CELLS
from recipes.white_cells.batches import FRAMING, KindBatches, Variation
from recipes.white_cells.cells import DIAMETERS, LABS, NO_CLASS, SHARES, SIDE, Cells, sources
from recipes.white_cells.trust import Predicted, fit_trust, framed

BACKGROUND, RED = (240, 230, 220), (200, 160, 150)


def some_cells(n=14, *, seed=0, kinds=7):
    rng = np.random.default_rng(seed)
    pixels = np.empty((n, SIDE, SIDE, 3), np.uint8)
    pixels[:] = BACKGROUND
    middle = slice(SIDE // 2 - 40, SIDE // 2 + 40)
    for number in range(n):
        pixels[number, middle, middle] = rng.integers(40, 160, 3)
    return Cells(
        pixels=pixels,
        labels=np.arange(n) % kinds,
        groups=np.array([f"slide {i}" for i in range(n)]),
        splits=np.array(["train"] * n),
        agreed=np.ones(n, bool),
        names=np.array([f"{i}.png" for i in range(n)]),
        diameters=np.full(n, 80, np.float32),
        stains=np.tile(np.array([*BACKGROUND, *RED], np.float32), (n, 1)),
    )


def batches(**how):
    labs = {"pbc": some_cells(), "bccd": some_cells(7, seed=1)}
    return KindBatches(labs, SHARES, 16, 96, 0, Variation(**how), [some_cells(3)])


def test_a_batch_depends_on_its_number_alone():
    first, again, other = batches()[3], batches()[3], batches()[4]
    np.testing.assert_array_equal(first.pixels, again.pixels)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert first.pixels.shape == (16, 96, 96, 3)
    assert (first.pixels != other.pixels).any()


def test_a_share_of_the_images_is_of_no_class():
    labels = np.concatenate([batches(outliers=0.25)[i].labels for i in range(20)])
    assert 0.15 < np.mean(labels == NO_CLASS) < 0.35
    assert set(labels) - {NO_CLASS} <= set(range(len(WHITE_CELLS.classes)))
    assert NO_CLASS not in batches(outliers=0.0)[0].labels


def test_rare_kinds_are_sampled_more_often_than_they_occur():
    cells = some_cells(40, kinds=1)
    cells.labels[:2] = 3
    found = KindBatches({"pbc": cells}, SHARES, 32, 64, 0, Variation(outliers=0.0))
    labels = np.concatenate([found[i].labels for i in range(10)])
    assert 0.1 < np.mean(labels == 3) < 0.3  # 5% of the cells


def test_a_cell_is_framed_and_recoloured_as_in_prediction():
    cells = some_cells(2)
    image = framed(cells, 0)
    assert image.shape == (224, 224, 3)
    assert image[0, 0].tolist() == list(FRAMING.stain.background)
    context = FieldContext(
        (240, 230, 220), Scale(SIDE / DIAMETERS, "red cells"), stain=cells.stain(0)
    )
    whole = np.array([0, 0, SIDE, SIDE], np.float32)
    expected = cut_out(cells.pixels[0], whole, context, FRAMING, 224)
    np.testing.assert_array_equal(image, expected.pixels)


def test_cells_without_a_stain_keep_their_colours():
    cells = some_cells(1)
    cells.stains[:] = np.nan
    assert framed(cells, 0)[0, 0].tolist() == list(BACKGROUND)


def test_no_slide_field_or_date_is_in_two_splits(real_data):
    for lab in LABS:
        splits = {}
        for source in sources(real_data, lab):
            splits.setdefault(source.group, set()).add(source.split)
        assert all(len(found) == 1 for found in splits.values()), lab
        assert {"train", "valid", "test"} == set().union(*splits.values())


def test_disputed_cells_of_bccd_are_not_trained_on(real_data):
    found = list(sources(real_data, "bccd"))
    assert len(found) == 334
    assert sum(source.agreed for source in found) == 272
    assert {source.kind for source in found if not source.agreed} >= {"eosinophil"}


def predictions(n, *, wrong, seed, kinds=5):
    """Confident predictions for n cells, of which a share is wrong and less confident."""
    rng = np.random.default_rng(seed)
    labels = rng.choice([0, 1, 4, 5, 6][:kinds], n)
    logits = rng.normal(0, 0.3, (n, 7))
    is_wrong = rng.random(n) < wrong
    hit = np.where(is_wrong, (labels + 1) % 7, labels)
    logits[np.arange(n), hit] += np.where(is_wrong, 2.0, 6.0) + rng.normal(0, 0.5, n)
    return Predicted(logits, rng.normal(1, 0.1, n).astype(np.float32), labels)


def test_thresholds_keep_errors_among_accepted_cells_to_a_hundredth():
    labs = [predictions(800, wrong=0.08, seed=seed) for seed in range(3)]
    trust = fit_trust(labs, [])
    new = predictions(4000, wrong=0.08, seed=9)
    p = trust.probabilities(new.logits)
    accepted = p.max(axis=1) >= trust.thresholds.min_confidence
    assert np.mean(p[accepted].argmax(axis=1) == new.labels[accepted]) > 0.985
    assert accepted.mean() > 0.75


def test_a_large_lab_counts_no_more_than_a_small_one():
    large, small = predictions(6000, wrong=0.0, seed=1), predictions(600, wrong=0.0, seed=1)
    poor = predictions(600, wrong=0.2, seed=2)
    found = [fit_trust([good, poor], []).thresholds.min_confidence for good in (large, small)]
    assert found[0] == pytest.approx(found[1], abs=0.03)


def test_kinds_that_only_training_labs_have_are_predicted_less_often():
    rare_kind = WHITE_CELLS.index("erythroblast")
    labs = [predictions(800, wrong=0.0, seed=seed) for seed in range(3)]
    for lab in labs:
        lab.logits[:80, rare_kind] = lab.logits[:80].max(axis=1) + 0.5  # taken for erythroblasts
    rare = predictions(100, wrong=0.0, seed=5)
    rare.logits[:, rare_kind] = 8.0
    rare = Predicted(rare.logits, rare.novelty, np.full(100, rare_kind))
    trust = fit_trust(labs, [rare])
    false = [np.mean(trust.probabilities(lab.logits).argmax(1) == rare_kind) for lab in labs]
    assert max(false) < 0.05  # of 0.1
    assert np.mean(trust.probabilities(rare.logits).argmax(1) == rare_kind) > 0.9


def test_a_surplus_of_one_common_kind_in_some_labs_is_not_held_against_it_in_others():
    labs = [predictions(800, wrong=0.0, seed=seed) for seed in range(3)]
    for lab in labs:
        taken = np.flatnonzero(lab.labels == 1)[:60]
        lab.logits[taken, 6] = lab.logits[taken].max(axis=1) + 0.5  # eosinophils, for neutrophils
    bias = fit_trust(labs, []).calibration.bias
    assert bias[[0, 1, 4, 5, 6]] == pytest.approx(bias[0])
    assert abs(bias).max() < 10


def test_five_of_a_hundred_cells_may_be_too_novel():
    labs = [predictions(800, wrong=0.0, seed=seed) for seed in range(3)]
    highest = fit_trust(labs, []).thresholds.max_novelty
    novelty = np.concatenate([lab.novelty for lab in labs])
    assert np.mean(novelty > highest) == pytest.approx(0.05, abs=0.005)
