"""Two models on the same reviewed cells: what ``hematovision compare`` gives."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import streamlit as st

from hematovision.errors import HematoVisionError
from hematovision.evaluation.uncertainty import Difference
from hematovision.paths import data_folder
from hematovision.retraining.library import LibraryModel
from hematovision.workflows.compare import CompareResult, compare

__all__ = ["show_side_by_side"]

_RESULT = "side-by-side"
_FIGURES = {
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "review_rate": "sent for review",
}


def show_side_by_side(models: list[LibraryModel]) -> None:
    """Ask which models and cells, and draw the comparison."""
    datasets = sorted(
        (path for path in (data_folder() / "exports").glob("*") if path.is_dir()), reverse=True
    )
    if not datasets:
        st.info("This needs reviewed cells: make a dataset of them on the page Learn.")
        return
    by_name = {model.name: model for model in models}
    names = list(by_name)
    with st.form("compare", width=620):
        first = st.selectbox("First model", names)
        second = st.selectbox("Second model", names, index=1)
        dataset = st.selectbox("Reviewed cells", datasets, format_func=lambda path: path.name)
        if st.form_submit_button("Compare", type="primary"):
            result = _compared(by_name[first], by_name[second], dataset)
            st.session_state[_RESULT] = result
    if (result := st.session_state.get(_RESULT)) is not None:
        _draw(result)


def _compared(first: LibraryModel, second: LibraryModel, dataset: Path) -> CompareResult | None:
    bar = st.progress(0.0, "Both models answer …")

    def progress(done: int, total: int, _: str, /) -> None:
        bar.progress(min(done / max(total, 1), 1.0), "Both models answer …")

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


def _draw(result: CompareResult) -> None:
    found = result.comparison
    st.write(f"**{result.verdict}**")
    first, second = found.models
    st.dataframe(
        [
            {
                "": shown,
                first: getattr(found.first, figure),
                second: getattr(found.second, figure),
                "difference": _shown(found.differences[figure]),
            }
            for figure, shown in _FIGURES.items()
        ],
        hide_index=True,
        column_config={
            name: st.column_config.NumberColumn(format="%.3f") for name in (first, second)
        },
    )
    st.caption(
        f"On {found.n} cells; {found.differing} predictions differ. A model that was trained on "
        "some of these cells looks better here than it is."
    )
    for note in result.notes:
        st.caption(note)
    if result.differing:
        with st.expander(f"The {len(result.differing)} cells on which they differ"):
            st.dataframe(
                [
                    {
                        "cell": image.sample.path.name,
                        "the person said": image.sample.label,
                        first: image.predicted[0],
                        second: image.predicted[1],
                        "right": image.right,
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


def _shown(difference: Difference) -> str:
    """Return a difference with its interval."""
    if difference.value is None:
        return ""
    text = f"{difference.value:+.3f}"
    if difference.interval is not None:
        low, high = difference.interval
        text += f" ({low:+.3f} to {high:+.3f})"
    return text
