"""Train: export reviewed cells, train on them, and choose between the old and new models."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import streamlit as st

from hematovision.app import state
from hematovision.app.display import show_curves
from hematovision.plurals import counted
from hematovision.retraining.dataset import export_reviewed
from hematovision.retraining.run import (
    Epoch,
    Kind,
    ModelComparison,
    Retraining,
    retrainings,
    start_retraining,
)
from hematovision.review.records import Agreement

__all__ = ["show", "show_retraining"]

_KINDS: dict[Kind, str] = {
    "adapt": "Adapt the model (dozens of cells, seconds)",
    "train": "Train a new model (hundreds of cells, a minute or more)",
}
_KEPT = "kept-instead-of"
_REFRESH = 1.0  # seconds


def show() -> None:
    """Show the page."""
    st.title("Train on reviewed cells")
    store = state.store()
    found = [store.agreement(model.sha256) for model in store.models()]
    found = [agreement for agreement in found if agreement.matrix.sum()]
    datasets = state.datasets()
    if not found and not datasets:
        st.info(
            "No cells have been reviewed yet. Classify images, decide on the uncertain ones in "
            "Review, and come back."
        )
        return
    _show_export(found)
    _show_form(datasets)
    show_retraining()


def _show_export(found: Sequence[Agreement]) -> None:
    st.subheader("1. Make a dataset")
    if not found:
        st.caption("There are no new reviewed cells.")
        return
    by_model = {f"predictions of {a.model.name} · {a.model.sha256[:6]}": a for a in found}
    chosen = by_model[
        st.selectbox("Reviewed cells", list(by_model), width=420, disabled=len(by_model) == 1)
    ]
    counts = dict(zip(chosen.classes, chosen.matrix.sum(axis=0).tolist(), strict=True))
    with st.container(horizontal=True):
        for name, count in counts.items():
            st.metric(name, count, width=120)
    if st.button("Make a dataset", icon=":material/folder:"):
        out = state.exports_folder() / f"{datetime.now(UTC):%Y-%m-%d-%H%M%S}"
        exported = export_reviewed(state.store().reviewed(chosen.model.sha256), out)
        st.session_state["exported"] = (
            f"{counted(exported.n, 'cell')} in `{exported.folder}`: class folders for "
            "`hematovision train` and `adapt`."
        )
        st.rerun()
    if text := st.session_state.get("exported"):
        st.success(text, icon=":material/folder:")


def _show_form(datasets: Sequence[Path]) -> None:
    st.subheader("2. Train")
    if not datasets:
        st.caption("Make a dataset first.")
        return
    models = state.library().models()
    names = [model.name for model in models]
    with st.form("train", width=620):
        dataset = st.selectbox("Dataset", datasets, format_func=_dataset_title)
        kind = st.radio("Method", list(_KINDS), format_func=_KINDS.__getitem__)
        old = st.selectbox(
            "Model to start from and to compare with",
            names,
            index=names.index(state.model_in_use().name),
        )
        name = st.text_input("Name of the new model", "my-lab", max_chars=40)
        if st.form_submit_button("Train", type="primary", icon=":material/model_training:"):
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
    return f"{path.name} ({counted(n, 'cell')})"


def _zipped(folder: Path) -> bytes:
    """Return a dataset as a zip archive, for use on another computer."""
    with io.BytesIO() as stream:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                archive.write(path, Path(folder.name, path.relative_to(folder)))
        return stream.getvalue()


# --- the newest training -------------------------------------------------------------------------


def show_retraining() -> None:
    """Show the newest training, if there is one."""
    newest = _newest()
    if newest is None:
        return
    st.subheader("3. Compare and choose")
    if newest.state == "running":
        _show_running()
    elif newest.state == "failed":
        st.error(newest.error or "Training ended without a message.", icon=":material/error:")
    elif newest.state == "stopped":
        st.warning(f"{newest.folder.name} was stopped.", icon=":material/stop_circle:")
    else:
        _show_result(newest)


def _newest() -> Retraining | None:
    return next(iter(retrainings(state.library().folder)), None)


@st.fragment(run_every=_REFRESH)
def _show_running() -> None:
    retraining = _newest()
    if retraining is None or retraining.state != "running":
        st.rerun()  # the whole page, to show the new model
    st.write(f"Training **{retraining.folder.name}**.")
    done, total, what, unit = retraining.progress
    text = f"{what}: {done:,} of {total:,} {unit}" if what else "Starting …"
    st.progress(min(done / total, 1.0) if total else 0.0, text)
    if retraining.epochs:
        st.caption(_epoch_text(retraining.epochs[-1]))
    _show_notes(retraining)
    show_curves(retraining.epochs, columns=True)
    if st.button("Stop", icon=":material/stop_circle:"):
        retraining.stop()


def _epoch_text(epoch: Epoch) -> str:
    texts = {
        "loss": "loss {:.4f}",
        "val_loss": "validation loss {:.4f}",
        "accuracy": "accuracy {:.1%}",
        "val_accuracy": "validation accuracy {:.1%}",
    }
    metrics = [text.format(epoch[key]) for key, text in texts.items() if key in epoch]
    return f"Epoch {int(epoch['epoch'])}: {', '.join(metrics)}"


def _show_notes(retraining: Retraining) -> None:
    for note in retraining.notes:
        st.caption(note)


def _show_result(retraining: Retraining) -> None:
    st.write(f"**{retraining.folder.name}** is ready.")
    _show_notes(retraining)
    if retraining.comparison is not None:
        _show_comparison(retraining.comparison)
    elif retraining.not_compared:
        st.caption(retraining.not_compared)
    show_curves(retraining.epochs, columns=True)
    _show_choice(retraining)


def _show_comparison(comparison: ModelComparison) -> None:
    st.write(f"On {counted(comparison.n, 'cell')} that the new model was not trained on:")
    percent = st.column_config.NumberColumn(format="percent")
    st.dataframe(
        [
            {
                "model": name,
                "balanced accuracy": scores.balanced_accuracy,
                "accuracy": scores.accuracy,
                "errors": scores.errors,
            }
            for name, scores in (("old", comparison.old), ("new", comparison.new))
        ],
        hide_index=True,
        column_config={"balanced accuracy": percent, "accuracy": percent},
        width=520,
    )
    st.write(comparison.verdict)
    if comparison.note:
        st.caption(comparison.note)


def _show_choice(retraining: Retraining) -> None:
    """Offer both models; the primary button is that of the better model."""
    new, used = retraining.folder.name, state.model_in_use().name
    if used == new:
        st.success("The new model is in use on all pages.", icon=":material/check:")
        return
    found = retraining.comparison
    is_worse = found is not None and found.new.balanced_accuracy < found.old.balanced_accuracy
    with st.container(horizontal=True):
        if st.button(
            "Use the new model",
            type="secondary" if is_worse else "primary",
            icon=":material/check:",
        ):
            library = state.library()
            library.use(library.find(new), state.store(), state.who())
            st.rerun()
        if st.button(f"Keep {used}", type="primary" if is_worse else "secondary"):
            st.session_state[_KEPT] = new
    if st.session_state.get(_KEPT) == new:
        st.info(f"{used} stays in use. The new model is listed in Models.")
