"""What the page Learn shows of a learning, whatever became of it."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

pytest.importorskip("streamlit", reason="the page needs the extra 'app'")

import streamlit as st
from streamlit.testing.v1 import AppTest

from hematovision.app.views import learning as module
from hematovision.model.registry import find_model
from hematovision.retraining.events import Figures, SideBySide
from hematovision.retraining.run import Retraining, Step

EPOCHS = tuple(
    {"epoch": e, "accuracy": 0.5 + e / 10, "val_accuracy": 0.4, "loss": 1 / e, "val_loss": 1.2 / e}
    for e in (1.0, 2.0, 3.0)
)


def draw() -> None:
    from hematovision.app.views.learning import show_retraining

    show_retraining()


@pytest.fixture
def learning(home: Path, monkeypatch: pytest.MonkeyPatch):
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
        progress=Step(3, 10, "head"),
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


def test_nothing_is_shown_before_the_first(home: Path):
    at = AppTest.from_function(draw, default_timeout=60).run()
    assert not at.exception
    assert not at.markdown


def test_a_running_one_shows_how_far_it_is_and_its_curves_and_can_be_stopped(
    learning, monkeypatch: pytest.MonkeyPatch
):
    stopped = []
    monkeypatch.setattr(Retraining, "stop", lambda self: stopped.append(self))
    at = learning()
    assert "Training **mine**" in texts(at)
    assert (
        "Epoch 3: loss 0.3333, validation loss 0.4000, accuracy 80.0%, validation accuracy 40.0%"
    ) in texts(at)
    assert len(at.get("vega_lite_chart")) == 2
    at.button[0].click().run()
    assert len(stopped) == 1


def test_a_failed_one_says_why(learning):
    assert "too few images" in texts(learning(state="failed", error="too few images"))
    assert "without a message" in texts(learning(state="failed", error=""))


def test_a_stopped_one_is_called_stopped(learning):
    assert "was stopped" in texts(learning(state="stopped"))


def test_a_finished_one_stands_beside_the_old_model_and_answers_when_chosen(learning, home: Path):
    shutil.copytree(find_model("pbc8"), home / "models" / "mine")
    beside = SideBySide(
        n=40,
        old=Figures("old", 0.9, 0.91, 4),
        new=Figures("new", 0.975, 0.976, 1),
        verdict="The second model is better.",
        note="Few cells.",
    )
    at = learning(state="done", side_by_side=beside)
    assert "On 40 cells" in texts(at)
    assert list(at.dataframe[0].value["errors"]) == [4, 1]
    assert "The second model is better." in texts(at)
    use, keep = at.button
    assert (use.label, use.proto.type) == ("Use the new model", "primary")
    assert (keep.label, keep.proto.type) == ("Keep rbc-wbc-platelets", "secondary")
    at = use.click().run()
    assert not at.exception
    assert "The new model is in use on every page." in texts(at)


def test_keeping_the_old_model_is_suggested_where_the_new_one_scored_lower(learning, home: Path):
    shutil.copytree(find_model("pbc8"), home / "models" / "mine")
    beside = SideBySide(
        n=40,
        old=Figures("old", 0.95, 0.96, 2),
        new=Figures("new", 0.94, 0.97, 1),
        verdict="No significant difference.",
    )
    at = learning(state="done", side_by_side=beside)
    use, keep = at.button
    assert (use.label, use.proto.type) == ("Use the new model", "secondary")
    assert (keep.label, keep.proto.type) == ("Keep rbc-wbc-platelets", "primary")
    at = keep.click().run()
    assert not at.exception
    assert "rbc-wbc-platelets stays in use" in at.info[0].value
    assert not at.success


def test_why_there_is_no_comparison_is_said(learning, home: Path):
    shutil.copytree(find_model("pbc8"), home / "models" / "mine")
    assert "no class in common" in texts(learning(state="done", note="no class in common"))
