"""Learn: reviewed cells become a dataset, the dataset a model, the model a choice."""

from __future__ import annotations

import io
import zipfile
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal

import streamlit as st

from hematovision.app import state
from hematovision.app.views.learning import show_retraining
from hematovision.paths import data_folder
from hematovision.retraining.dataset import export_reviewed
from hematovision.retraining.run import start_retraining
from hematovision.review.records import Agreement

__all__ = ["show"]

_Kind = Literal["adapt", "train"]
_KINDS: dict[_Kind, str] = {
    "adapt": "Adapt the model (a few dozen cells, seconds)",
    "train": "Train a new model (hundreds of cells, a minute or more)",
}


def show() -> None:
    """Draw the page."""
    st.title("Learn from reviewed cells")
    store = state.store()
    found = [store.agreement(model.sha256) for model in store.models()]
    found = [agreement for agreement in found if agreement.matrix.sum()]
    if not found and not _datasets():
        st.info(
            "Nothing has been reviewed yet. Classify images, decide on the doubtful ones on the "
            "page Review, and come back."
        )
        return
    _export(found)
    _start(_datasets())
    show_retraining()


def _folder() -> Path:
    return data_folder() / "exports"


def _datasets() -> list[Path]:
    return sorted((path for path in _folder().glob("*") if path.is_dir()), reverse=True)


def _export(found: list[Agreement]) -> None:
    st.subheader("1. Make a dataset")
    if not found:
        st.caption("Nothing new has been reviewed.")
        return
    by_model = {f"answers of {a.model.name} · {a.model.sha256[:6]}": a for a in found}
    chosen = by_model[
        st.selectbox("Reviewed cells", list(by_model), width=420, disabled=len(by_model) == 1)
    ]
    counts = dict(zip(chosen.classes, chosen.matrix.sum(axis=0).tolist(), strict=True))
    with st.container(horizontal=True):
        for name, count in counts.items():
            st.metric(name, count, width=120)
    if st.button("Make a dataset of them", icon=":material/folder:"):
        out = _folder() / f"{datetime.now(UTC):%Y-%m-%d-%H%M%S}"
        exported = export_reviewed(state.store().reviewed(chosen.model.sha256), out)
        st.session_state["exported"] = (
            f"{exported.n} cells in `{exported.folder}`: class folders, as `hematovision train` "
            "and `adapt` take them."
        )
        st.rerun()
    if text := st.session_state.get("exported"):
        st.success(text, icon=":material/folder:")


def _zipped(folder: Path) -> bytes:
    """Return a dataset as a zip archive, for who sits before another computer."""
    with io.BytesIO() as stream:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                archive.write(path, Path(folder.name, path.relative_to(folder)))
        return stream.getvalue()


def _start(datasets: list[Path]) -> None:
    st.subheader("2. Learn")
    if not datasets:
        st.caption("Make a dataset first.")
        return
    models = state.library().models()
    names = [model.name for model in models]
    with st.form("learn", width=620):
        dataset = st.selectbox("Dataset", datasets, format_func=_dataset_title)
        kinds: list[_Kind] = ["adapt", "train"]
        kind = st.radio("How", kinds, format_func=_KINDS.__getitem__)
        old = st.selectbox(
            "Model to start from, and to compare with",
            names,
            index=names.index(state.model_in_use().name),
        )
        name = st.text_input("Name of the new model", "my-laboratory", max_chars=40)
        if st.form_submit_button("Learn", type="primary", icon=":material/model_training:"):
            out = state.library().fresh(name)
            start_retraining(kind, dataset, out, model=models[names.index(old)].folder)
            st.rerun()
    st.download_button(
        "Download the newest dataset",
        partial(_zipped, datasets[0]),
        file_name=f"reviewed-{datasets[0].name}.zip",
        mime="application/zip",
        icon=":material/download:",
        on_click="ignore",
    )


def _dataset_title(path: Path) -> str:
    n = sum(1 for _ in path.rglob("*.png"))
    return f"{path.name} ({n} cells)"
