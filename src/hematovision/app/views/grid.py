"""The cells that wait, several on a page: a key per class, undo, and on to the next."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from itertools import zip_longest

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from hematovision import images
from hematovision.app import state
from hematovision.app.pictures import heat_picture
from hematovision.app.theme import bars_html
from hematovision.errors import ReviewConflictError
from hematovision.model.prediction import headline
from hematovision.model.thresholds import is_out_of_distribution
from hematovision.review.records import ModelRef, RecordedPrediction, Waiting

__all__ = ["show_grid", "show_undo"]

_ON_A_PAGE = 12
_KEYS = "123456789abcdefghijklmnop"
_UNUSABLE, _AGREE, _UNDO, _NEXT = "x", "Enter", "u", "s"


@dataclass
class _Page:
    """The cells on the screen, what became of them, and which is next."""

    model: ModelRef
    who: str
    cells: list[Waiting] = field(default_factory=list)
    done: dict[int, str] = field(default_factory=dict)
    active: int | None = None

    def fill(self) -> None:
        """Ask for cells: those that this person holds, then further ones."""
        self.cells = state.store().claim(self.who, self.model.sha256, _ON_A_PAGE)
        self.done = {}
        self.step()

    def step(self) -> None:
        """Go on to the next cell that is not decided."""
        ids = [cell.prediction.id for cell in self.cells]
        place = ids.index(self.active) + 1 if self.active in ids else 0
        turned = ids[place:] + ids[:place]
        self.active = next((number for number in turned if number not in self.done), None)

    @property
    def cell(self) -> Waiting | None:
        """The cell that the keys decide on."""
        return next((cell for cell in self.cells if cell.prediction.id == self.active), None)


@st.fragment
def show_grid(who: str, model: ModelRef) -> None:
    """Draw the cells of one model that wait."""
    page = _page(who, model)
    if page.cell is None:
        page.fill()
    if not page.cells:
        _nothing_left(model)
        return
    _keys(page)
    heat = st.session_state.get("review-heat", False)
    with st.grid(6, min_column_width=165):
        for cell in page.cells:
            _card(page, cell, heat=heat)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.toggle("Show where the model looked", key="review-heat")
        waiting = {queue.model.sha256: queue.waiting for queue in state.store().queues()}
        st.caption(f"{waiting.get(model.sha256, 0)} wait · deciding as {who}")


def _page(who: str, model: ModelRef) -> _Page:
    page = st.session_state.get("review-page")
    if not isinstance(page, _Page) or (page.who, page.model.sha256) != (who, model.sha256):
        page = st.session_state["review-page"] = _Page(model, who)
    return page


def _nothing_left(model: ModelRef) -> None:
    claimed = {queue.model.sha256: queue.claimed for queue in state.store().queues()}
    if others := claimed.get(model.sha256, 0):
        st.info(f"{others} cells are waiting; other reviewers are working on them.")
        st.button("Look again", icon=":material/refresh:")
    else:
        st.success("Nothing of this model waits.", icon=":material/done_all:")
    show_undo()


def show_undo() -> None:
    """Draw the button that takes the last decision back, where no cell is on the screen."""
    who = state.reviewer()
    if state.store().recent(who, 1) and st.button(
        "Undo my last decision", icon=":material/undo:", on_click=_undo_last, args=(who,)
    ):
        st.rerun()


def _undo_last(who: str) -> None:
    state.store().undo(who)


def _keys(page: _Page) -> None:
    cell = page.cell
    assert cell is not None
    answer = cell.prediction
    flagged = f"flagged: {answer.reason}" if answer.reason else "accepted"
    st.markdown(
        f"**What is the highlighted cell?** Model: {answer.label} ({answer.confidence:.0%}), "
        f"{flagged}"
    )
    suggested = None if is_out_of_distribution(answer.reason) else answer.label
    with st.container(horizontal=True, gap="small"):
        # Classes beyond the keys are clicked.
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
            "Agree", key="agree", shortcut=_AGREE, on_click=_decide, args=(page, answer.label)
        )
    with st.container(horizontal=True, gap="small"):
        st.button(
            "Not usable",
            key="unusable",
            shortcut=_UNUSABLE,
            icon=":material/block:",
            help="No cell, several, or impossible to classify: kept, but not used for training.",
            on_click=_decide,
            args=(page, None),
        )
        st.button("Later", key="later", shortcut=_NEXT, on_click=page.step)
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
        page.done[cell.prediction.id] = label or "not usable"
    page.step()


def _undo(page: _Page) -> None:
    undone = state.store().undo(page.who)
    if undone is None:
        st.toast("There is nothing of yours to undo.")
        return
    if undone.prediction_id in {cell.prediction.id for cell in page.cells}:
        page.done.pop(undone.prediction_id, None)
    else:
        page.fill()
    page.active = undone.prediction_id


def _card(page: _Page, cell: Waiting, *, heat: bool) -> None:
    number = cell.prediction.id
    state_of = "done" if number in page.done else "active" if number == page.active else "waits"
    with st.container(border=True, key=f"cell-{state_of}-{number}"):
        st.image(
            _heat(page.model, cell.png) if heat else cell.png,
            alt=f"cell {number}, model: {headline(cell.prediction.label, cell.prediction.reason)}",
            width="stretch",
        )
        if number in page.done:
            st.html(f'<div class="hv-note">✓ {escape(page.done[number])}</div>')
            return
        st.html(_bars(cell.prediction))
        st.button(
            "Select",
            key=f"choose-{number}",
            type="tertiary",
            disabled=number == page.active,
            on_click=_choose,
            args=(page, number),
        )


def _bars(answer: RecordedPrediction) -> str:
    is_known = not is_out_of_distribution(answer.reason)
    bars = bars_html(answer.model.classes, answer.probabilities, most=3, is_known=is_known)
    if is_known:
        return bars
    return f'<div class="hv-label">{escape(headline(answer.label, answer.reason))}</div>{bars}'


def _choose(page: _Page, number: int) -> None:
    page.active = number


def _heat(model: ModelRef, picture: bytes) -> bytes | NDArray[np.uint8]:
    known = [shown for shown in state.library().models() if shown.name == model.name]
    pixels = images.read(picture)
    if not known or not (opened := state.classifier(known[0])).explains:
        return picture
    return heat_picture(opened, pixels)
