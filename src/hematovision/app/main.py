"""The script that Streamlit runs for every page: navigation, page and footer."""

from __future__ import annotations

import streamlit as st

from hematovision import __version__
from hematovision.app import state
from hematovision.app.theme import STYLE
from hematovision.app.views import classify, fields, models, records, review, train
from hematovision.errors import HematoVisionError
from hematovision.model.registry import DEFAULT_DETECTOR

__all__ = ["show"]

_NOTICE = "For research and teaching. Not a medical device: do not use it for diagnosis."


def show() -> None:
    """Show the page of the URL."""
    st.set_page_config(page_title="HematoVision", page_icon="🩸", layout="wide")
    st.html(STYLE)
    pages = [
        st.Page(classify.show, title="Classify", icon=":material/search:", default=True),
        st.Page(fields.show, title="Fields", icon=":material/grid_view:", url_path="fields"),
        st.Page(review.show, title="Review", icon=":material/fact_check:", url_path="review"),
        st.Page(train.show, title="Train", icon=":material/model_training:", url_path="train"),
        st.Page(models.show, title="Models", icon=":material/analytics:", url_path="models"),
        st.Page(records.show, title="Records", icon=":material/lock:", url_path="records"),
    ]
    old = st.Page(  # the URL of 0.3 and before
        lambda: st.switch_page(pages[3], query_params=st.query_params.to_dict()),
        title="Train",
        url_path="learn",
        visibility="hidden",
    )
    # Streamlit's own menu stays open over the chosen page on a phone.
    chosen = st.navigation([*pages, old], position="hidden")
    with st.container(horizontal=True, key="pages"):
        for page in pages:
            st.page_link(page, width="content")
    try:
        chosen.run()
    except HematoVisionError as error:  # expected, with advice; others are bugs
        st.error(str(error), icon=":material/error:")
    model = _model(chosen.url_path)
    st.html(f'<div class="hv-foot">{_NOTICE}<br>HematoVision {__version__}{model}</div>')


def _model(page: str) -> str:
    """Return the model of a page."""
    if page == "fields":
        return f" · detector {DEFAULT_DETECTOR}"
    try:
        return f" · model {state.shown_model()}"
    except HematoVisionError:
        return ""


if __name__ == "__main__":
    show()
