"""Review: a person decides what the model was not sure of, one key per class."""

from __future__ import annotations

import streamlit as st

from hematovision.app import state
from hematovision.app.charts import confusion_chart, show_chart
from hematovision.app.views.grid import show_grid, show_undo
from hematovision.review.records import Queue

__all__ = ["show"]


def show() -> None:
    """Draw the page."""
    st.title("Review doubtful cells")
    who = state.reviewer()
    if not who:
        _ask_name()
        return
    # Decisions redraw the grid alone; the other tabs are drawn anew when they are opened.
    grid, agreement, history = st.tabs(
        ["Waiting", "Agreement", "My decisions"], key="review-tab", on_change="rerun"
    )
    with grid:
        queue = _choose_queue(state.store().queues())
        if queue is None:
            st.success("Nothing waits for a person.", icon=":material/done_all:")
            st.caption(
                "Predictions that a model is not sure of come here from Classify, least certain "
                "first."
            )
            show_undo()
        else:
            state.show_model(queue.model.name)
            show_grid(who, queue.model)
    with agreement:
        _agreement()
    with history:
        _history(who)


def _ask_name() -> None:
    with st.form("name", width=520):
        st.write("Every decision is kept with the name of who made it.")
        name = st.text_input("Your name", max_chars=80)
        st.caption("This is asked once. It is no login: anybody can give any name.")
        if st.form_submit_button("Begin", type="primary") and name.strip():
            state.set_reviewer(name)
            st.rerun()


def _choose_queue(queues: list[Queue]) -> Queue | None:
    waiting = [queue for queue in queues if queue.waiting]
    if not waiting:
        return None
    if len(waiting) == 1:
        return waiting[0]
    keys = {f"{q.model.name} · {q.model.sha256[:6]} ({q.waiting} waiting)": q for q in waiting}
    return keys[st.selectbox("Predictions of", list(keys), width=420)]


def _agreement() -> None:
    found = [state.store().agreement(model.sha256) for model in state.store().models()]
    found = [agreement for agreement in found if agreement.matrix.sum() or agreement.unusable]
    if not found:
        st.info("Nothing has been decided yet.")
    for agreement in found:
        n, same = int(agreement.matrix.sum()), int(agreement.matrix.trace())
        st.subheader(f"{agreement.model.name} · {agreement.model.sha256[:6]}")
        share = f" ({same / n:.0%})" if n else ""
        st.write(
            f"The person agreed with the model on **{same} of {n}** cells{share}; "
            f"{agreement.unusable} were not usable."
        )
        st.caption("These are cells the model doubted, unless all were sent: no measure of it.")
        show_chart(
            confusion_chart(
                agreement.matrix,
                agreement.classes,
                rows="the model said",
                columns="the person said",
            )
        )


def _history(who: str) -> None:
    decisions = state.store().recent(who, 50)
    if not decisions:
        st.info("You have decided nothing yet.")
        return
    st.dataframe(
        [
            {
                "when (UTC)": decision.at.strftime("%Y-%m-%d %H:%M:%S"),
                "answer": decision.prediction_id,
                "what": decision.kind,
                "from": decision.before or "not usable",
                "to": decision.after or "not usable",
            }
            for decision in decisions
        ],
        hide_index=True,
    )
    st.caption("Nothing is overwritten: an undo is one more line.")
