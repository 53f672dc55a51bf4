"""Records and privacy: what is kept, where, how long, and how it goes away."""

from __future__ import annotations

from typing import Literal, get_args

import streamlit as st

from hematovision.app import state
from hematovision.errors import ReviewError
from hematovision.files import sha256_bytes
from hematovision.review.records import Batch, Deletion, Retention

__all__ = ["show"]

_Images = Literal["review", "all", "none"]
_CHOICES: dict[_Images, str] = {
    "review": "only cells that a person reviews",
    "all": "all images",
    "none": "no images (nothing can be reviewed then)",
}


def show() -> None:
    """Draw the page."""
    st.title("Records and privacy")
    st.write(
        "Of every answer are kept: the image's name and SHA-256, the model, the probabilities and "
        f"the time. They lie in `{_place()}`."
    )
    st.caption(
        "Names of files can name patients: rename them before. Pictures are kept without the "
        "metadata of their files. Nothing is sent anywhere."
    )
    _keeping()
    st.subheader("Batches")
    _batches(state.store().batches())
    st.subheader("Delete")
    _delete()
    st.subheader("What was deleted")
    _trace(state.store().deletions())


def _keeping() -> None:
    retention = state.store().retention()
    st.subheader("What is kept")
    with st.form("retention", width=620):
        choices: list[_Images] = list(get_args(_Images))
        chosen = st.radio(
            "Pictures",
            choices,
            index=choices.index(retention.images),
            format_func=lambda choice: _CHOICES[choice],
        )
        limited = st.checkbox("Delete everything after some days", value=retention.days is not None)
        days = st.number_input("Days", 1, 3650, retention.days or 365, width=160)
        if st.form_submit_button("Keep it so", type="primary"):
            wanted = Retention(chosen, int(days) if limited else None)
            state.store().set_retention(wanted, _who())
            state.store().apply_retention()
            st.rerun()


def _batches(batches: list[Batch]) -> None:
    if not batches:
        st.info("There are no records yet.")
        return
    st.dataframe(
        [
            {
                "batch": batch.id,
                "when (UTC)": batch.at.strftime("%Y-%m-%d %H:%M"),
                "model": batch.model.name,
                "images": batch.n,
                "accepted": batch.accepted,
                "for review": batch.review,
            }
            for batch in batches
        ],
        hide_index=True,
    )


def _delete() -> None:
    what = st.segmented_control(
        "Delete", ["a batch", "an image", "everything older"], default="a batch"
    )
    with st.form("delete", width=620):
        batch = image = days = None
        if what == "an image":
            file = st.file_uploader("The image itself")
            text = st.text_input("Or its SHA-256", max_chars=64)
            image = sha256_bytes(file.getvalue()) if file else text.strip().lower()
        elif what == "everything older":
            days = st.number_input("Older than so many days", 0, 3650, 365, width=220)
        else:
            batch = st.number_input("Number of the batch", 1, step=1, width=220)
        sure = st.checkbox("Pictures, answers and decisions go for good")
        if not st.form_submit_button("Delete", icon=":material/delete:"):
            return
    if not sure:
        st.warning("Tick the box to confirm.")
        return
    try:
        done = _deleted(image, days, batch)
    except ReviewError as error:
        # Here, so that the rest of the page stays.
        st.error(str(error), icon=":material/error:")
        return
    st.toast(f"Deleted: {done.predictions} predictions, {done.images} images.")
    st.rerun()


def _deleted(image: str | None, days: int | None, batch: int | None) -> Deletion:
    if image is not None:
        return state.store().delete_image(image, _who())
    if days is not None:
        return state.store().delete_older(int(days), _who())
    return state.store().delete_batch(int(batch or 0), _who())


def _trace(deletions: list[Deletion]) -> None:
    if not deletions:
        st.caption("Nothing yet.")
        return
    st.dataframe(
        [
            {
                "when (UTC)": deletion.at.strftime("%Y-%m-%d %H:%M"),
                "by": deletion.by,
                "what": deletion.what,
                "answers": deletion.predictions,
                "pictures": deletion.images,
            }
            for deletion in deletions
        ],
        hide_index=True,
    )


def _place() -> str:
    """Return where the records are: a file's path, or the address of a server."""
    where = state.store().where
    return where.partition(":///")[2] if where.startswith("sqlite") else where


def _who() -> str:
    return state.reviewer() or "somebody on the page"
