"""Review: decide on uncertain predictions, one key per class."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from itertools import zip_longest

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from hematovision import images
from hematovision.app import state
from hematovision.app.display import confusion_chart, heat_map, show_chart
from hematovision.app.theme import bars_html
from hematovision.errors import ReviewConflictError
from hematovision.model.prediction import headline
from hematovision.model.thresholds import is_out_of_distribution
from hematovision.plurals import counted
from hematovision.review.records import ModelRef, Queue, RecordedPrediction, Waiting

__all__ = ["show"]

_PER_PAGE = 12
_KEYS = "123456789abcdefghijklmnop"
_UNUSABLE, _AGREE, _UNDO, _SKIP = "x", "Enter", "u", "s"


def show() -> None:
    """Show the page."""
    st.title("Review uncertain cells")
    who = state.reviewer()
    if not who:
        _ask_name()
        return
    # A decision reruns only the grid; other tabs run when they are opened.
    grid, agreement, history = st.tabs(
        ["Queue", "Agreement", "My decisions"], key="review-tab", on_change="rerun"
    )
    with grid:
        queue = _choose_queue(state.store().queues())
        if queue is None:
            st.success("The queue is empty.", icon=":material/done_all:")
            st.caption("Uncertain predictions from Classify are queued here, least certain first.")
            _show_undo()
        else:
            state.show_model(queue.model.name)
            _show_grid(who, queue.model)
    with agreement:
        _show_agreement()
    with history:
        _show_history(who)


def _ask_name() -> None:
    with st.form("name", width=520):
        st.write("Decisions are recorded with the reviewer's name.")
        name = st.text_input("Your name", max_chars=80)
        st.caption("You are asked once. This is not a login: anyone can enter any name.")
        if st.form_submit_button("Start", type="primary") and name.strip():
            state.set_reviewer(name)
            st.rerun()


def _choose_queue(queues: list[Queue]) -> Queue | None:
    if len(queues) <= 1:
        return next(iter(queues), None)
    keys = {f"{q.model.name} · {q.model.sha256[:6]} ({q.waiting} in the queue)": q for q in queues}
    return keys[st.selectbox("Predictions of", list(keys), width=420)]


# --- queue ---------------------------------------------------------------------------------------


@dataclass
class _Page:
    """The claimed cells on the page, the decisions on them, and the active one."""

    model: ModelRef
    who: str
    cells: list[Waiting] = field(default_factory=list)
    done: dict[int, str] = field(default_factory=dict)
    active: int | None = None

    def fill(self) -> None:
        """Claim cells: first those already claimed by this person, then others."""
        self.cells = state.store().claim(self.who, self.model.sha256, _PER_PAGE)
        self.done = {}
        self.step()

    def step(self) -> None:
        """Move to the next undecided cell."""
        ids = [cell.prediction.id for cell in self.cells]
        place = ids.index(self.active) + 1 if self.active in ids else 0
        rotated = ids[place:] + ids[:place]
        self.active = next((number for number in rotated if number not in self.done), None)

    def activate(self, number: int) -> None:
        """Make a cell the active one."""
        self.active = number

    @property
    def cell(self) -> Waiting | None:
        """The active cell."""
        return next((cell for cell in self.cells if cell.prediction.id == self.active), None)


@st.fragment
def _show_grid(who: str, model: ModelRef) -> None:
    page = st.session_state.get("review-page")
    if not isinstance(page, _Page) or (page.who, page.model.sha256) != (who, model.sha256):
        page = st.session_state["review-page"] = _Page(model, who)
    if page.cell is None:
        page.fill()
    queue = next((q for q in state.store().queues() if q.model.sha256 == model.sha256), None)
    if not page.cells:
        if queue is not None and queue.claimed:
            st.info(f"Other reviewers have claimed the remaining cells ({queue.claimed}).")
            st.button("Refresh", icon=":material/refresh:")
        else:
            st.success("The queue of this model is empty.", icon=":material/done_all:")
        _show_undo()
        return
    _show_buttons(page)
    heat = st.session_state.get("review-heat", False)
    with st.grid(6, min_column_width=165):
        for cell in page.cells:
            _show_cell(page, cell, heat=heat)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.toggle("Heat map", key="review-heat")
        st.caption(f"{queue.waiting if queue else 0} in the queue · reviewing as {who}")


def _show_undo() -> None:
    """Draw an undo button for an empty page."""
    who = state.reviewer()
    if state.store().recent(who, 1) and st.button(
        "Undo my last decision", icon=":material/undo:", on_click=_undo_last, args=(who,)
    ):
        st.rerun()


def _undo_last(who: str) -> None:
    state.store().undo(who)


def _show_buttons(page: _Page) -> None:
    cell = page.cell
    assert cell is not None
    prediction = cell.prediction
    flagged = f"flagged: {prediction.reason}"
    if prediction.decision == "accepted":
        flagged = "; ".join(filter(None, ("accepted", prediction.reason)))
    confidence = min(prediction.confidence, 0.99)  # never rounded to 100%
    st.markdown(
        f"**What is the highlighted cell?** Model: {prediction.label} ({confidence:.0%}), {flagged}"
    )
    suggested = None if is_out_of_distribution(prediction.reason) else prediction.label
    with st.container(horizontal=True, gap="small"):
        # Further classes have no key and must be clicked.
        for key, name in zip_longest(_KEYS[: len(page.model.classes)], page.model.classes):
            st.button(
                name,
                key=f"decide-{name}",
                shortcut=key,
                type="primary" if name == suggested else "secondary",
                on_click=_decide,
                args=(page, name),
            )
        st.button(
            "Agree", key="agree", shortcut=_AGREE, on_click=_decide, args=(page, prediction.label)
        )
    with st.container(horizontal=True, gap="small"):
        st.button(
            "Unusable",
            key="unusable",
            shortcut=_UNUSABLE,
            icon=":material/block:",
            help="No cell, several cells, or impossible to classify. Not used for training.",
            on_click=_decide,
            args=(page, None),
        )
        st.button("Skip", key="skip", shortcut=_SKIP, on_click=page.step)
        st.button(
            "Undo", key="undo", shortcut=_UNDO, icon=":material/undo:", on_click=_undo, args=(page,)
        )


def _decide(page: _Page, label: str | None) -> None:
    cell = page.cell
    if cell is None:
        return
    try:
        state.store().decide(cell.prediction.id, page.who, label)
    except ReviewConflictError as error:
        st.toast(str(error), icon=":material/group:")
        page.done[cell.prediction.id] = "decided by somebody else"
    else:
        page.done[cell.prediction.id] = label or "unusable"
    page.step()


def _undo(page: _Page) -> None:
    undone = state.store().undo(page.who)
    if undone is None:
        st.toast("You have no decision to undo.")
        return
    if undone.prediction_id in {cell.prediction.id for cell in page.cells}:
        page.done.pop(undone.prediction_id, None)
    else:
        page.fill()
    page.active = undone.prediction_id


def _show_cell(page: _Page, cell: Waiting, *, heat: bool) -> None:
    prediction = cell.prediction
    number = prediction.id
    status = "done" if number in page.done else "active" if number == page.active else "waiting"
    with st.container(border=True, key=f"cell-{status}-{number}"):
        st.image(
            _heat_map(page.model, cell.png) if heat else cell.png,
            alt=f"cell {number}, model: {headline(prediction.label, prediction.reason)}",
            width="stretch",
        )
        if number in page.done:
            st.html(f'<div class="hv-note">✓ {escape(page.done[number])}</div>')
            return
        st.html(_bars(prediction))
        st.button(
            "Select",
            key=f"choose-{number}",
            type="tertiary",
            disabled=number == page.active,
            on_click=page.activate,
            args=(number,),
        )


def _bars(prediction: RecordedPrediction) -> str:
    is_known = not is_out_of_distribution(prediction.reason)
    classes, probabilities = prediction.model.classes, prediction.probabilities
    bars = bars_html(classes, probabilities, most=3, highlight=is_known)
    if is_known:
        return bars
    title = escape(headline(prediction.label, prediction.reason))
    return f'<div class="hv-label">{title}</div>{bars}'


def _heat_map(model: ModelRef, png: bytes) -> bytes | NDArray[np.uint8]:
    """Return a cell with the model's heat map, or unchanged if the model has none."""
    for known in state.library().models():
        if known.name == model.name and (classifier := state.classifier(known)).explains:
            return heat_map(classifier, images.read(png))
    return png


# --- agreement and history -----------------------------------------------------------------------


def _show_agreement() -> None:
    found = [state.store().agreement(model.sha256) for model in state.store().models()]
    found = [agreement for agreement in found if agreement.matrix.sum() or agreement.unusable]
    if not found:
        st.info("No cells have been reviewed yet.")
    for agreement in found:
        n, same = int(agreement.matrix.sum()), int(agreement.matrix.trace())
        st.subheader(f"{agreement.model.name} · {agreement.model.sha256[:6]}")
        share = f" ({same / n:.0%})" if n else ""
        st.write(
            f"Reviewers agreed with the model on **{same} of {counted(n, 'cell')}**{share}; "
            f"unusable: {counted(agreement.unusable, 'cell')}."
        )
        st.caption("This is not the model's accuracy unless every cell was sent to review.")
        show_chart(
            confusion_chart(
                agreement.matrix, agreement.classes, rows="predicted", columns="reviewed as"
            )
        )


def _show_history(who: str) -> None:
    decisions = state.store().recent(who, 50)
    if not decisions:
        st.info("You have not reviewed any cells yet.")
        return
    st.dataframe(
        [
            {
                "time (UTC)": decision.at.strftime("%Y-%m-%d %H:%M:%S"),
                "cell": decision.prediction_id,
                "step": decision.kind,
                "from": decision.before or "unusable",
                "to": decision.after or "unusable",
            }
            for decision in decisions
        ],
        hide_index=True,
    )
    st.caption("Nothing is overwritten: an undo adds a row.")
