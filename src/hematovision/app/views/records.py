"""Records and privacy: what is stored, where and for how long, and how to delete it."""

from __future__ import annotations

from typing import Literal, get_args

import streamlit as st

from hematovision.app import state
from hematovision.errors import ReviewError
from hematovision.files import sha256_bytes
from hematovision.plurals import counted
from hematovision.review.records import Batch, Deletion, Retention

__all__ = ["show"]

_Images = Literal["review", "all", "none"]
_CHOICES: dict[_Images, str] = {
    "review": "only images that a person reviews",
    "all": "all images",
    "none": "no images (review is then impossible)",
}


def show() -> None:
    """Show the page."""
    where = state.store().where
    place = where.partition(":///")[2] if where.startswith("sqlite") else where
    st.title("Records and privacy")
    st.write(
        "For every prediction the app records the file name, the SHA-256 of the image, the model, "
        f"the probabilities and the time, in `{place}`."
    )
    st.caption(
        "File names can contain patient names: rename such files first. Images are stored without "
        "file metadata. No data is sent anywhere else."
    )
    _show_retention()
    st.subheader("Batches")
    _show_batches(state.store().batches())
    st.subheader("Delete records")
    _show_deletion_form()
    st.subheader("Deletions")
    _show_deletions(state.store().deletions())


def _show_retention() -> None:
    retention = state.store().retention()
    st.subheader("Stored images")
    with st.form("retention", width=620):
        choices: list[_Images] = list(get_args(_Images))
        chosen = st.radio(
            "Store",
            choices,
            index=choices.index(retention.images),
            format_func=lambda choice: _CHOICES[choice],
        )
        limited = st.checkbox(
            "Delete images after a number of days", value=retention.days is not None
        )
        days = st.number_input("Days", 1, 3650, retention.days or 365, width=160)
        if st.form_submit_button("Save", type="primary"):
            wanted = Retention(chosen, int(days) if limited else None)
            state.store().set_retention(wanted, state.who())
            state.store().apply_retention()
            st.rerun()


def _show_batches(batches: list[Batch]) -> None:
    if not batches:
        st.info("There are no records yet.")
        return
    st.dataframe(
        [
            {
                "batch": batch.id,
                "time (UTC)": batch.at.strftime("%Y-%m-%d %H:%M"),
                "model": batch.model.name,
                "images": batch.n,
                "accepted": batch.accepted,
                "for review": batch.review,
            }
            for batch in batches
        ],
        hide_index=True,
    )


def _show_deletion_form() -> None:
    what = st.segmented_control(
        "Delete", ["a batch", "an image", "everything older"], default="a batch"
    )
    with st.form("delete", width=620):
        batch = image = days = None
        if what == "an image":
            file = st.file_uploader("The image file")
            text = st.text_input("Or its SHA-256", max_chars=64)
            image = sha256_bytes(file.getvalue()) if file else text.strip().lower()
        elif what == "everything older":
            days = st.number_input("Older than (days)", 0, 3650, 365, width=220)
        else:
            batch = st.number_input("Batch number", 1, step=1, width=220)
        sure = st.checkbox("Permanently delete the predictions, images and decisions")
        if not st.form_submit_button("Delete", icon=":material/delete:"):
            return
    if not sure:
        st.warning("Tick the box to confirm.")
        return
    try:
        done = _delete(image, days, batch)
    except ReviewError as error:  # shown here to keep the rest of the page
        st.error(str(error), icon=":material/error:")
        return
    st.toast(
        f"Deleted: {counted(done.predictions, 'prediction')}, {counted(done.images, 'image')}."
    )
    st.rerun()


def _delete(image: str | None, days: int | None, batch: int | None) -> Deletion:
    if image is not None:
        return state.store().delete_image(image, state.who())
    if days is not None:
        return state.store().delete_older(int(days), state.who())
    return state.store().delete_batch(int(batch or 0), state.who())


def _show_deletions(deletions: list[Deletion]) -> None:
    if not deletions:
        st.caption("Nothing has been deleted.")
        return
    st.dataframe(
        [
            {
                "time (UTC)": deletion.at.strftime("%Y-%m-%d %H:%M"),
                "by": deletion.by,
                "what": deletion.what,
                "predictions": deletion.predictions,
                "images": deletion.images,
            }
            for deletion in deletions
        ],
        hide_index=True,
    )
