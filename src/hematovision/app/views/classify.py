"""Classify: images in, predictions with reasons out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import BinaryIO

import streamlit as st

from hematovision.app import state
from hematovision.app.samples import synthetic_samples
from hematovision.app.views.batch import show_batch
from hematovision.retraining.library import LibraryModel
from hematovision.review.batches import classify_batch

__all__ = ["show"]

_REDRAW = 0.15  # Seconds between two steps of the bar: drawing it costs more than an answer.


def show() -> None:
    """Draw the page."""
    batch = state.current_batch()
    if batch is None:
        st.title("Classify cells")
        model, uploads = _ask()
        state.show_model(model.name)
        _invite(model)
    else:
        # The answers are what one came for: the questions make room.
        turn = st.session_state.get("uploads-turn", 0)
        with st.expander("More images", icon=":material/add_photo_alternate:", key=f"more-{turn}"):
            model, uploads = _ask()
        state.show_model(batch.model.name)
        show_batch(batch)
    if uploads:
        _answer(model, uploads)


def _ask() -> tuple[LibraryModel, list[tuple[str, BinaryIO]]]:
    model = _choose_model()
    # Opened now, so that the first answer does not wait for it.
    state.classifier(model)
    return model, _uploads()


def _choose_model() -> LibraryModel:
    models = state.library().models()
    names = [model.name for model in models]
    chosen = st.selectbox(
        "Model",
        names,
        index=names.index(state.model_in_use().name),
        help="What it was trained on and how good it is: see Models.",
        key="classify-model",
        width=420,
    )
    return models[names.index(chosen)]


def _uploads() -> list[tuple[str, BinaryIO]]:
    # A new key each time: Streamlit then forgets the files that have been answered.
    turn = st.session_state.setdefault("uploads-turn", 0)
    files = st.file_uploader(
        "Images of single cells, or a zip of them",
        accept_multiple_files=True,
        key=f"uploads-{turn}",
        help="JPEG, PNG, TIFF, BMP, WebP, GIF, AVIF or JPEG 2000; HEIC or DICOM where the extra "
        "'formats' is installed. One cell in the middle of each image. They stay on this computer.",
    )
    return [(file.name, file) for file in files]


def _answer(model: LibraryModel, uploads: Sequence[tuple[str, BinaryIO | bytes]]) -> None:
    bar = st.progress(0.0, "Looking at the images …")
    drawn = 0.0

    def progress(done: int, total: int, what: str, /) -> None:  # noqa: ARG001
        nonlocal drawn
        if (now := time.monotonic()) - drawn > _REDRAW:
            drawn = now
            share = done / total if total else 0.0
            bar.progress(min(share, 1.0), f"{done} images answered")

    began = time.monotonic()
    batch = classify_batch(
        state.classifier(model),
        uploads,
        state.store(),
        name=model.name,
        limits=state.limits(),
        progress=progress,
    )
    st.session_state["answered-in"] = time.monotonic() - began
    st.session_state["uploads-turn"] += 1
    state.put_batch(batch)
    st.rerun()


def _invite(model: LibraryModel) -> None:
    st.markdown(
        f"**{model.name}** tells {_listed(state.classifier(model).classes)} apart. "
        "Each image should show one cell, as cut out of a smear."
    )
    if st.button("Try it with synthetic cells", icon=":material/draw:"):
        _answer(model, synthetic_samples())
    st.caption("Drawn cells are pictures made by this program; they show no patient.")


def _listed(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
