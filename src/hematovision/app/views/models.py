"""Models: what each was trained on, how good it is, and two of them side by side."""

from __future__ import annotations

import csv
from pathlib import Path

import streamlit as st

from hematovision.app import state
from hematovision.app.charts import confusion_chart, curves_chart, figures_of, show_chart
from hematovision.app.views.beside import show_side_by_side
from hematovision.evaluation.metrics import read_metrics
from hematovision.retraining.library import LibraryModel

__all__ = ["show"]


def show() -> None:
    """Draw the page."""
    st.title("Models and reports")
    models = state.library().models()
    names = [model.name for model in models]
    used = state.model_in_use().name
    chosen = st.selectbox("Model", names, index=names.index(used), width=420, key="models-model")
    model = models[names.index(chosen)]
    state.show_model(model.name)
    _use(model, used)
    figures, card, report, beside = st.tabs(["Figures", "Card", "Report", "Side by side"])
    with figures:
        _figures(model)
    with card:
        _card(model)
    with report:
        _report(model)
    with beside:
        show_side_by_side(models)


def _use(model: LibraryModel, used: str) -> None:
    if model.name == used:
        st.caption("This model answers on every page.")
    elif st.button("Let this model answer", icon=":material/check:"):
        state.library().use(model, state.store(), state.reviewer() or "somebody")
        st.rerun()


def _figures(model: LibraryModel) -> None:
    path = model.folder / "metrics.json"
    if not path.is_file():
        st.info("This model has no metrics: it was not evaluated on labelled images.")
        return
    metrics = read_metrics(path)
    with st.container(horizontal=True):
        st.metric("Balanced accuracy", f"{metrics.balanced_accuracy:.1%}", width=190)
        st.metric("Macro-F1", f"{metrics.macro_f1:.3f}", width=150)
        st.metric("Sent for review", f"{metrics.review_rate:.1%}", width=170)
        st.metric("Images evaluated", metrics.n, width=150)
    interval = metrics.intervals.get("balanced_accuracy")
    if interval:
        st.caption(
            f"95% interval of the balanced accuracy: {interval[0]:.1%} to {interval[1]:.1%}. "
            "Another laboratory's images may be harder: see the card."
        )
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Predictions on its test images")
        show_chart(
            confusion_chart(
                metrics.confusion_matrix, metrics.classes, rows="truth", columns="the model said"
            )
        )
    with right:
        _curves(model.folder / "history.csv")


def _curves(path: Path) -> None:
    if not path.is_file():
        return
    with path.open(newline="") as stream:
        epochs = [
            {name: float(value) for name, value in row.items() if name != "stage" and value}
            for row in csv.DictReader(stream)
        ]
    st.subheader("Training")
    if not epochs:
        st.caption("Its head came with the backbone: there are no curves of its own.")
        return
    for figure in figures_of(epochs):
        show_chart(curves_chart(epochs, figure))


def _card(model: LibraryModel) -> None:
    path = model.folder / "MODEL_CARD.md"
    if path.is_file():
        st.markdown(path.read_text(encoding="utf-8"))
    else:
        st.info("This model has no card.")


def _report(model: LibraryModel) -> None:
    if model.report is None:
        st.info(
            "Models that come with the program have a card instead of a report. Those that you "
            "train have a report."
        )
        return
    st.download_button(
        "Download the report",
        model.report.read_bytes(),
        file_name=f"{model.name}-report.html",
        mime="text/html",
        icon=":material/download:",
        on_click="ignore",
    )
    # Written by this program, and hashed into the bundle: not somebody else's page.
    st.iframe(model.report, height=800)
