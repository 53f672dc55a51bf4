"""The newest training on the page Train, in every state."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

pytest.importorskip("streamlit", reason="the page needs the extra 'app'")

import streamlit as st
from streamlit.testing.v1 import AppTest

from hematovision.app.views import train as module
from hematovision.model.registry import find_model
from hematovision.retraining.run import ModelComparison, Retraining, Scores, Step

EPOCHS = tuple(
    {"epoch": e, "accuracy": 0.5 + e / 10, "val_accuracy": 0.4, "loss": 1 / e, "val_loss": 1.2 / e}
    for e in (1.0, 2.0, 3.0)
)


def draw() -> None:
    from hematovision.app.views.train import show_retraining

    show_retraining()


@pytest.fixture
def training(home: Path, monkeypatch: pytest.MonkeyPatch):
    st.cache_resource.clear()
    folder = home / "models" / "mine"
    found = Retraining(
        kind="train",
        dataset=home / "exports" / "x",
        folder=folder,
        events=folder.with_suffix(".events.jsonl"),
        log=folder.with_suffix(".log"),
        model="rbc-wbc-platelets",
        started=datetime.now(UTC),
        state="running",
        progress=Step(3, 10, "head", "batches"),
        epochs=EPOCHS,
    )

    def show(**changes: object) -> AppTest:
        monkeypatch.setattr(module, "retrainings", lambda _: [replace(found, **changes)])
        at = AppTest.from_function(draw, default_timeout=60).run()
        assert not at.exception, [e.message for e in at.exception]
        return at

    yield show
    st.cache_resource.clear()


def texts(at: AppTest) -> str:
    parts = (*at.markdown, *at.caption, *at.error, *at.warning, *at.success)
    return "\n".join(str(part.value) for part in parts)


def test_nothing_is_shown_before_the_first_training(home: Path):
    at = AppTest.from_function(draw, default_timeout=60).run()
    assert not at.exception
    assert not at.markdown


def test_a_running_training_shows_progress_and_curves_and_can_be_stopped(
    training, monkeypatch: pytest.MonkeyPatch
):
    stopped = []
    monkeypatch.setattr(Retraining, "stop", lambda self: stopped.append(self))
    at = training()
    assert "Training **mine**" in texts(at)
    (bar,) = at.get("progress")
    assert bar.proto.text == "head: 3 of 10 batches"
    assert (
        "Epoch 3: loss 0.3333, validation loss 0.4000, accuracy 80.0%, validation accuracy 40.0%"
    ) in texts(at)
    assert len(at.get("vega_lite_chart")) == 2
    at.button[0].click().run()
    assert len(stopped) == 1


def test_a_failed_training_shows_the_reason(training):
    assert "too few images" in texts(training(state="failed", error="too few images"))
    assert "without a message" in texts(training(state="failed", error=""))


def test_a_stopped_training_is_called_stopped(training):
    assert "was stopped" in texts(training(state="stopped"))


def test_a_new_model_is_compared_with_the_old_one_and_used_when_chosen(training, home: Path):
    shutil.copytree(find_model("pbc8"), home / "models" / "mine")
    comparison = ModelComparison(
        n=40,
        old=Scores("old", 0.9, 0.91, 4),
        new=Scores("new", 0.975, 0.976, 1),
        verdict="The second model is better.",
        note="Few cells.",
    )
    at = training(state="done", comparison=comparison)
    assert "On 40 cells" in texts(at)
    assert list(at.dataframe[0].value["errors"]) == [4, 1]
    assert "The second model is better." in texts(at)
    use, keep = at.button
    assert (use.label, use.proto.type) == ("Use the new model", "primary")
    assert (keep.label, keep.proto.type) == ("Keep rbc-wbc-platelets", "secondary")
    at = use.click().run()
    assert not at.exception
    assert "The new model is in use on all pages." in texts(at)


def test_keeping_the_old_model_is_suggested_if_the_new_one_scored_lower(training, home: Path):
    shutil.copytree(find_model("pbc8"), home / "models" / "mine")
    comparison = ModelComparison(
        n=40,
        old=Scores("old", 0.95, 0.96, 2),
        new=Scores("new", 0.94, 0.97, 1),
        verdict="No significant difference.",
    )
    at = training(state="done", comparison=comparison)
    use, keep = at.button
    assert (use.label, use.proto.type) == ("Use the new model", "secondary")
    assert (keep.label, keep.proto.type) == ("Keep rbc-wbc-platelets", "primary")
    at = keep.click().run()
    assert not at.exception
    assert "rbc-wbc-platelets stays in use" in at.info[0].value
    assert not at.success


def test_the_reason_for_no_comparison_is_shown(training, home: Path):
    shutil.copytree(find_model("pbc8"), home / "models" / "mine")
    assert "no class in common" in texts(training(state="done", not_compared="no class in common"))


@pytest.mark.parametrize("state", ["running", "done"])
def test_notes_of_the_training_are_shown(training, home: Path, state: str):
    shutil.copytree(find_model("pbc8"), home / "models" / "mine")
    assert "The classes are A and B." in texts(
        training(state=state, notes=("The classes are A and B.",))
    )
