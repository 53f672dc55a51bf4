"""The differential of laboratories left out, from files of predictions."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import white_cells_differential
from benchmarks.white_cells_differential import KINDS, read_predictions
from hematovision.evaluation.patients import REFERENCE_PERCENT

FIVE = [k for k, kind in enumerate(KINDS) if kind not in {"erythroblast", "ig"}]


def write(path: Path, *, per_kind=40, wrong=0.0, seed=0, classes=7) -> Path:
    """Write predictions like those of `benchmarks/white_cells_across_labs.py`."""
    rng = np.random.default_rng(seed)
    labels = np.tile(FIVE, per_kind)
    n = len(labels)
    predicted = np.where(rng.random(n) < wrong, rng.integers(classes, size=n), labels)
    probabilities = np.full((n, classes), 0.01)
    probabilities[np.arange(n), predicted] = 1 - 0.01 * (classes - 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        path,
        labels=labels,
        probabilities=probabilities,
        accepted=rng.random(n) < 0.9,
        novelty=np.zeros(n, np.float32),
        groups=np.array([f"slide-{i // len(FIVE) % 8}" for i in range(n)]),
    )
    return path


def run(monkeypatch, work: Path, *words: str) -> None:
    few = ("--patients", "20", "--draws", "3", "--cells", "50")
    monkeypatch.setattr("sys.argv", ["benchmark", "--work", str(work), *few, *words])
    white_cells_differential.main()


def line_of(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(start))


def test_kinds_are_those_of_the_simulated_patients():
    assert tuple(REFERENCE_PERCENT) == KINDS


def test_seeds_are_models_of_the_same_cells(tmp_path):
    paths = [write(tmp_path / f"krd-{s}.npz", wrong=0.1, seed=s) for s in (0, 1)]
    cells = read_predictions(paths)
    assert np.shape(cells.predicted) == np.shape(cells.accepted) == (2, 200)
    with np.load(paths[1]) as file:
        assert (cells.predicted[1] == file["probabilities"].argmax(axis=1)).all()
        assert (cells.accepted[1] == file["accepted"]).all()
        assert (cells.labels == file["labels"]).all()


def test_tables_and_json_have_every_kind_and_its_verdict(monkeypatch, tmp_path, capsys):
    folder = tmp_path / "white-cells" / "across-labs"
    write(folder / "good-0.npz")
    write(folder / "bad-0.npz", wrong=0.8)
    run(monkeypatch, tmp_path, "--lab", "good", "bad", "--seeds", "0")
    good, bad = capsys.readouterr().out.split("**bad**")
    assert "**good**, 50 white cells per patient: 20 patients from 8 slides" in good
    for kind in (KINDS[k] for k in FIVE):
        start = f"| {kind} | 40 | reviewed cells left out | "
        assert line_of(good, start).startswith(f"{start}1.")
        assert line_of(bad, start).endswith("| fail: slope, intercept, kappa |")
    assert line_of(good, "- reviewed by a person").endswith("; 5 of 5 kinds pass")
    assert "per 100 white cells, wrongly: erythroblast" in bad
    saved = json.loads((tmp_path / "white-cells" / "differential.json").read_text("utf-8"))
    assert saved["bars"] == {"slope": [0.8, 1.2], "intercept": 0.2, "kappa": 0.6}
    slope = saved["labs"]["good"]["50"]["comparisons"]["resolved"]["kinds"]["monocyte"]
    assert slope["deming_slope"]["value"] == pytest.approx(1)


def test_kinds_with_too_few_cells_are_listed(monkeypatch, tmp_path, capsys):
    folder = tmp_path / "white-cells" / "across-labs"
    path = write(folder / "bccd-0.npz")
    with np.load(path) as file:
        arrays = dict(file)
    arrays["labels"][np.flatnonzero(arrays["labels"] == 0)[3:]] = 4
    np.savez(path, **arrays)
    run(monkeypatch, tmp_path, "--lab", "bccd", "--seeds", "0")
    out = capsys.readouterr().out
    assert "- too few cells: basophil (3)" in out
    assert "| basophil |" not in out


def test_predictions_made_with_quick_are_read_from_their_own_folder(monkeypatch, tmp_path, capsys):
    write(tmp_path / "white-cells" / "across-labs-quick" / "krd-0.npz")
    run(monkeypatch, tmp_path, "--lab", "krd", "--seeds", "0", "--quick")
    assert "**krd**" in capsys.readouterr().out


def test_a_missing_file_is_named(monkeypatch, tmp_path):
    with pytest.raises(SystemExit, match=r"There is no .*krd-7\.npz.*white_cells_across_labs"):
        run(monkeypatch, tmp_path, "--lab", "krd", "--seeds", "7")


def test_files_must_have_the_same_cells_and_seven_classes(tmp_path):
    first = write(tmp_path / "a.npz")
    with pytest.raises(SystemExit, match="must have the same cells"):
        read_predictions([first, write(tmp_path / "b.npz", per_kind=39)])
    with pytest.raises(SystemExit, match=r"must be \(N, 7\). Found: \(200, 8\)"):
        read_predictions([write(tmp_path / "c.npz", classes=8)])
