"""A learning as it goes on: live curves, the result, and the choice to use it."""

from __future__ import annotations

import streamlit as st

from hematovision.app import state
from hematovision.app.charts import curves_chart, figures_of, show_chart
from hematovision.retraining.run import Epoch, Retraining, SideBySide, retrainings

__all__ = ["epoch_text", "show_retraining"]

_KEPT = "kept-instead-of"

_EVERY = 1.0  # Seconds between two looks at a learning that goes on.


def show_retraining() -> None:
    """Draw the newest learning, if there is one."""
    newest = next(iter(retrainings(state.library().folder)), None)
    if newest is None:
        return
    st.subheader("3. Look, then choose")
    if newest.state == "running":
        _running()
    else:
        _ended(newest)


@st.fragment(run_every=_EVERY)
def _running() -> None:
    learning = next(iter(retrainings(state.library().folder)), None)
    if learning is None or learning.state != "running":
        # The whole page: what can be chosen has changed.
        st.rerun()
    st.write(f"Training **{learning.folder.name}**.")
    done, total, what = learning.progress
    st.progress(min(done / total, 1.0) if total else 0.0, what or "Starting …")
    if learning.epochs:
        st.caption(epoch_text(learning.epochs[-1]))
    _curves(learning)
    if st.button("Stop", icon=":material/stop_circle:"):
        learning.stop()


def _ended(learning: Retraining) -> None:
    if learning.state == "failed":
        st.error(learning.error or "Training ended without a message.", icon=":material/error:")
        return
    if learning.state == "stopped":
        st.warning(f"{learning.folder.name} was stopped.", icon=":material/stop_circle:")
        return
    st.write(f"**{learning.folder.name}** is ready.")
    if learning.side_by_side is not None:
        _side_by_side(learning.side_by_side)
    elif learning.note:
        st.caption(learning.note)
    _curves(learning)
    _choose(learning)


def epoch_text(epoch: Epoch) -> str:
    """Return an epoch with its loss and accuracy, as far as they are known."""
    shown = {
        "loss": "loss {:.4f}",
        "val_loss": "validation loss {:.4f}",
        "accuracy": "accuracy {:.1%}",
        "val_accuracy": "validation accuracy {:.1%}",
    }
    figures = [text.format(epoch[key]) for key, text in shown.items() if key in epoch]
    return f"Epoch {int(epoch['epoch'])}: {', '.join(figures)}"


def _choose(learning: Retraining) -> None:
    """Offer both models; the primary button is the one that scored no lower."""
    new, used = learning.folder.name, state.model_in_use().name
    if used == new:
        st.success("The new model is in use on every page.", icon=":material/check:")
        return
    found = learning.side_by_side
    is_worse = found is not None and found.new.balanced_accuracy < found.old.balanced_accuracy
    with st.container(horizontal=True):
        if st.button(
            "Use the new model",
            type="secondary" if is_worse else "primary",
            icon=":material/check:",
        ):
            library = state.library()
            library.use(library.find(new), state.store(), state.reviewer() or "somebody")
            st.rerun()
        if st.button(f"Keep {used}", type="primary" if is_worse else "secondary"):
            st.session_state[_KEPT] = new
    if st.session_state.get(_KEPT) == new:
        st.info(f"{used} stays in use. The new model is on the page Models.")


def _side_by_side(found: SideBySide) -> None:
    st.write(f"On {found.n} cells that the new model was not trained on:")
    st.dataframe(
        [
            {
                "model": name,
                "balanced accuracy": figures.balanced_accuracy,
                "accuracy": figures.accuracy,
                "errors": figures.errors,
            }
            for name, figures in (("old", found.old), ("new", found.new))
        ],
        hide_index=True,
        column_config={
            key: st.column_config.NumberColumn(format="percent")
            for key in ("balanced accuracy", "accuracy")
        },
        width=520,
    )
    st.write(found.verdict)
    if found.note:
        st.caption(found.note)


def _curves(learning: Retraining) -> None:
    figures = figures_of(learning.epochs)
    for figure, column in zip(figures, st.columns(2), strict=False):
        with column:
            show_chart(curves_chart(learning.epochs, figure))
