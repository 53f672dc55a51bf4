"""What stands around every page: the list of pages, the model of the page, and the notice."""

from __future__ import annotations

import streamlit as st

from hematovision import __version__
from hematovision.app import state
from hematovision.app.theme import STYLE
from hematovision.app.views import classify, learn, models, records, review
from hematovision.errors import HematoVisionError

__all__ = ["NOTICE", "show"]

NOTICE = "For research and teaching. Not a medical device: it must not decide about a patient."

_PAGES = (
    (classify.show, "Classify", ":material/search:", "classify"),
    (review.show, "Review", ":material/fact_check:", "review"),
    (learn.show, "Learn", ":material/model_training:", "learn"),
    (models.show, "Models", ":material/analytics:", "models"),
    (records.show, "Records", ":material/lock:", "records"),
)


def show() -> None:
    """Draw the page that was asked for."""
    st.set_page_config(page_title="HematoVision", page_icon="🩸", layout="wide")
    st.html(STYLE)
    pages = [
        st.Page(draw, title=title, icon=icon, url_path=path, default=path == "classify")
        for draw, title, icon, path in _PAGES
    ]
    # Streamlit's own list becomes a menu on a phone that stays open over the chosen page.
    chosen = st.navigation(pages, position="hidden")
    with st.container(horizontal=True, key="pages"):
        for page in pages:
            st.page_link(page, width="content")
    try:
        chosen.run()
    except HematoVisionError as error:
        # What the program refuses on purpose says what to do; anything else is a defect.
        st.error(str(error), icon=":material/error:")
    st.html(f'<div class="hv-foot">{NOTICE}<br>HematoVision {__version__}{_model()}</div>')


def _model() -> str:
    try:
        return f" · model {state.shown_model()}"
    except HematoVisionError:
        return ""
