"""Models: training data, metrics and report of each model, and a comparison of two."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path

import streamlit as st

from hematovision.app import state
from hematovision.app.display import confusion_chart, show_chart, show_curves
from hematovision.errors import HematoVisionError
from hematovision.evaluation.metrics import read_metrics
from hematovision.evaluation.uncertainty import Difference
from hematovision.paths import data_folder
from hematovision.plurals import counted
from hematovision.retraining.library import LibraryModel
from hematovision.workflows.compare import CompareResult, compare

__all__ = ["show"]

_RESULT = "comparison"
_METRICS = {
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "review_rate": "sent for review",
}


def show() -> None:
    """Show the page."""
    st.title("Models and reports")
    models = state.library().models()
    names = [model.name for model in models]
    used = state.model_in_use().name
    chosen = st.selectbox("Model", names, index=names.index(used), width=420, key="models-model")
    model = models[names.index(chosen)]
    state.show_model(model.name)
    if model.name == used:
        st.caption("This model is in use on all pages.")
    elif st.button("Use this model", icon=":material/check:"):
        state.library().use(model, state.store(), state.who())
        st.rerun()
    metrics, card, report, comparison = st.tabs(["Metrics", "Card", "Report", "Compare"])
    with metrics:
        _show_metrics(model)
    with card:
        path = model.folder / "MODEL_CARD.md"
        if path.is_file():
            st.markdown(path.read_text(encoding="utf-8"))
        else:
            st.info("This model has no card.")
    with report:
        _show_report(model)
    with comparison:
        _show_comparison_form(models)


def _show_metrics(model: LibraryModel) -> None:
    path = model.folder / "metrics.json"
    if not path.is_file():
        st.info("This model has no metrics: it was not evaluated on labelled images.")
        return
    metrics = read_metrics(path)
    with st.container(horizontal=True):
        st.metric("Balanced accuracy", f"{metrics.balanced_accuracy:.1%}", width=190)
        st.metric("Macro F1", f"{metrics.macro_f1:.3f}", width=150)
        st.metric("Sent for review", f"{metrics.review_rate:.1%}", width=170)
        st.metric("Test images", metrics.n, width=150)
    interval = metrics.intervals.get("balanced_accuracy")
    if interval:
        st.caption(
            f"95% interval of the balanced accuracy: {interval[0]:.1%} to {interval[1]:.1%}. "
            "Images from other labs may be harder: see the card."
        )
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Confusion matrix")
        show_chart(
            confusion_chart(
                metrics.confusion_matrix, metrics.classes, rows="true class", columns="predicted"
            )
        )
    with right:
        _show_history(model.folder / "history.csv")


def _show_history(path: Path) -> None:
    if not path.is_file():
        return
    with path.open(newline="") as stream:
        epochs = [
            {name: float(value) for name, value in row.items() if name != "stage" and value}
            for row in csv.DictReader(stream)
        ]
    st.subheader("Training")
    if epochs:
        show_curves(epochs)
    else:
        st.caption("The head was trained together with the backbone, so it has no curves.")


def _show_report(model: LibraryModel) -> None:
    if model.report is None:
        st.info("Bundled models have a card instead of a report. Models that you train have both.")
        return
    st.download_button(
        "Download the report",
        model.report.read_bytes(),
        file_name=f"{model.name}-report.html",
        mime="text/html",
        icon=":material/download:",
        on_click="ignore",
    )
    # Trusted: written by this program, and its hash is in the bundle.
    st.iframe(model.report, height=800)


# --- comparison ----------------------------------------------------------------------------------


def _show_comparison_form(models: list[LibraryModel]) -> None:
    datasets = state.datasets()
    if not datasets:
        st.info("A comparison needs reviewed cells: make a dataset in Train.")
        return
    by_name = {model.name: model for model in models}
    names = list(by_name)
    with st.form("compare", width=620):
        first = st.selectbox("First model", names)
        second = st.selectbox("Second model", names, index=1)
        dataset = st.selectbox("Dataset", datasets, format_func=lambda path: path.name)
        if st.form_submit_button("Compare", type="primary"):
            result = _compare(by_name[first], by_name[second], dataset)
            st.session_state[_RESULT] = result
    if (result := st.session_state.get(_RESULT)) is not None:
        _show_comparison(result)


def _compare(first: LibraryModel, second: LibraryModel, dataset: Path) -> CompareResult | None:
    text = "Both models predict …"
    bar = st.progress(0.0, text)

    def progress(done: int, total: int, _: str, unit: str = "", /) -> None:
        bar.progress(min(done / max(total, 1), 1.0), f"{text} {done:,} of {total:,} {unit}")

    out = data_folder() / "comparisons" / f"{datetime.now(UTC):%Y-%m-%d-%H%M%S-%f}"
    try:
        return compare(
            first.folder, second.folder, dataset, split="all", out=out, progress=progress
        )
    except HematoVisionError as error:
        st.error(str(error))
        return None
    finally:
        bar.empty()


def _show_comparison(result: CompareResult) -> None:
    found = result.comparison
    st.write(f"**{result.verdict}**")
    first, second = found.models
    number = st.column_config.NumberColumn(format="%.3f")
    st.dataframe(
        [
            {
                "": title,
                first: getattr(found.first, metric),
                second: getattr(found.second, metric),
                "difference": _difference(found.differences[metric]),
            }
            for metric, title in _METRICS.items()
        ],
        hide_index=True,
        column_config={first: number, second: number},
    )
    st.caption(
        f"On {counted(found.n, 'cell')}; different predictions: {found.differing}. A model that "
        "was trained on some of these cells scores too high."
    )
    for note in result.notes:
        st.caption(note)
    if result.differing:
        with st.expander(f"Different predictions: {counted(len(result.differing), 'cell')}"):
            st.dataframe(
                [
                    {
                        "cell": image.sample.path.name,
                        "reviewed as": image.sample.label,
                        first: image.predicted[0],
                        second: image.predicted[1],
                        "correct": image.right,
                    }
                    for image in result.differing
                ],
                hide_index=True,
            )
    if result.report is not None:
        st.download_button(
            "Download the comparison",
            result.report.read_bytes(),
            file_name="comparison.html",
            mime="text/html",
            icon=":material/download:",
            on_click="ignore",
        )


def _difference(difference: Difference) -> str:
    if difference.value is None:
        return ""
    text = f"{difference.value:+.3f}"
    if difference.interval is not None:
        low, high = difference.interval
        text += f" ({low:+.3f} to {high:+.3f})"
    return text
