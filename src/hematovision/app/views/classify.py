"""Classify: upload images and view their predictions."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import BinaryIO

import pandas as pd
import streamlit as st

from hematovision import images
from hematovision.app import state
from hematovision.app.display import counts_chart, heat_map, show_chart, web_image
from hematovision.app.theme import prediction_html, unreadable_html
from hematovision.images.crops import crop
from hematovision.model.classifier import Classifier
from hematovision.plurals import counted
from hematovision.retraining.library import LibraryModel
from hematovision.review.batches import Batch, BatchImage, classify_batch
from hematovision.synthetic import render_field

__all__ = ["show", "synthetic_samples"]

_REDRAW = 0.15  # seconds between updates of the progress bar: drawing is slower than predicting
_PER_PAGE = 12
_ALL = "all"
_SAMPLE_CELLS = {"rbc": 5, "platelet": 3, "neutrophil": 2, "lymphocyte": 2, "eosinophil": 1}
_SAMPLE_LABS = ("synthetic-a", "synthetic-b")
_SAMPLE_SEED = 8


def show() -> None:
    """Show the page."""
    batch = state.current_batch()
    if batch is None:
        st.title("Classify cells")
        model, uploads = _inputs()
        state.show_model(model.name)
        _show_welcome(model)
    else:
        turn = st.session_state.get("uploads-turn", 0)
        with st.expander("More images", icon=":material/add_photo_alternate:", key=f"more-{turn}"):
            model, uploads = _inputs()
        state.show_model(batch.model.name)
        _show_batch(batch)
    if uploads:
        _classify(model, uploads)


# --- uploads -------------------------------------------------------------------------------------


def _inputs() -> tuple[LibraryModel, list[tuple[str, BinaryIO]]]:
    models = state.library().models()
    names = [model.name for model in models]
    chosen = st.selectbox(
        "Model",
        names,
        index=names.index(state.model_in_use().name),
        help="Training data and metrics are on the Models page.",
        key="classify-model",
        width=420,
    )
    model = models[names.index(chosen)]
    state.classifier(model)  # opened now to make the first prediction fast
    # A new key clears the files that have been classified.
    turn = st.session_state.setdefault("uploads-turn", 0)
    files = st.file_uploader(
        "Single-cell images, or a zip file of them",
        accept_multiple_files=True,
        key=f"uploads-{turn}",
        help="JPEG, PNG, TIFF, BMP, WebP, GIF, AVIF or JPEG 2000; HEIC and DICOM with the extra "
        "'formats'. One cell in the middle of each image. Images stay on this computer.",
    )
    return model, [(file.name, file) for file in files]


def _show_welcome(model: LibraryModel) -> None:
    taxonomy = state.classifier(model).taxonomy
    note = f" ({taxonomy.note})" if taxonomy.note else ""
    st.markdown(
        f"**{model.name}** distinguishes {_listed(taxonomy.classes)}{note}. "
        "Each image should show one cell, cropped from a smear."
    )
    if st.button("Try it with synthetic cells", icon=":material/science:"):
        _classify(model, synthetic_samples())
    st.caption("Synthetic cells are rendered by this program, not taken from patients.")


def _listed(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def synthetic_samples() -> list[tuple[str, bytes]]:
    """Return names and PNG data of synthetic cells, cropped from synthetic fields."""
    samples: list[tuple[str, bytes]] = []
    for lab in _SAMPLE_LABS:
        field = render_field(_SAMPLE_SEED, lab=lab, cells=_SAMPLE_CELLS)
        for cell in field.cells:
            xmin, ymin, xmax, ymax = map(float, cell.box)
            pixels, touches_border = crop(field.image, (xmin, ymin, xmax, ymax))
            if not touches_border:
                name = f"synthetic {cell.kind} {len(samples) + 1}.png"
                samples.append((name, images.encode_png(pixels)))
    return samples


def _classify(model: LibraryModel, uploads: Sequence[tuple[str, BinaryIO | bytes]]) -> None:
    bar = st.progress(0.0, "Reading the images …")
    redrawn = 0.0

    def progress(done: int, total: int, what: str, unit: str = "", /) -> None:  # noqa: ARG001
        nonlocal redrawn
        if (now := time.monotonic()) - redrawn > _REDRAW:
            redrawn = now
            bar.progress(
                min(done / total if total else 0.0, 1.0), f"{counted(done, 'image')} classified"
            )

    started = time.monotonic()
    batch = classify_batch(
        state.classifier(model),
        uploads,
        state.store(),
        name=model.name,
        limits=state.limits(),
        progress=progress,
    )
    st.session_state["seconds"] = time.monotonic() - started
    st.session_state["uploads-turn"] += 1
    state.put_batch(batch)
    st.rerun()


# --- predictions ---------------------------------------------------------------------------------


def _show_batch(batch: Batch) -> None:
    _show_overview(batch)
    if refused := batch.refused:
        title = f"{counted(len(refused), 'file')} could not be read"
        with st.expander(title, icon=":material/block:", expanded=len(refused) <= 5):
            st.html(unreadable_html([image.prediction for image in refused]))
    if batch.readable:
        _show_predictions(batch)
    _show_actions(batch)


def _show_overview(batch: Batch) -> None:
    readable = batch.readable
    for_review = [image for image in readable if image.prediction.decision == "review"]
    metrics, chart = st.columns([2, 3], gap="large", vertical_alignment="center")
    with metrics, st.container(horizontal=True):
        st.metric("Images", len(batch.images), width=110)
        st.metric("Accepted", len(readable) - len(for_review), width=110)
        st.metric("For review", len(for_review), width=110)
        if batch.refused:
            st.metric("Not read", len(batch.refused), width=110)
    with metrics:
        seconds = st.session_state.get("seconds", 0.0)
        st.caption(f"Classified by {batch.model.name} in {seconds:.1f} s and recorded.")
        known = [image.known for image in for_review if image.known is not None]
        waiting = sum(each.is_waiting for each in known)
        counts = {"already decided": len(known) - waiting, "already in the queue": waiting}
        if known:
            texts = ", ".join(f"{count} {text}" for text, count in counts.items() if count)
            st.caption(f"Not queued for review again: {texts}.")
    with chart:
        show_chart(counts_chart(batch.counts()))


@st.fragment
def _show_predictions(batch: Batch) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        decision = st.segmented_control(
            "Decision", [_ALL, "review", "accepted"], default=_ALL, key="filter-decision"
        )
        labels = st.multiselect(
            "Classes", batch.model.classes, key="filter-classes", placeholder="all", width=280
        )
        name = st.text_input("File name contains", key="filter-name", width=200)
        heat = st.toggle(
            "Heat map",
            key="heat",
            help="Grad-CAM for the predicted class: yellow regions contributed most.",
        )
    decisions = [decision] if decision in ("review", "accepted") else ["review", "accepted"]
    chosen = batch.chosen(decisions, labels, name)
    grid, table = st.tabs(["Images", "Table"])
    with grid:
        _show_images(batch, chosen, heat=heat)
    with table:
        _show_table(batch, chosen)


def _show_images(batch: Batch, chosen: Sequence[BatchImage], *, heat: bool) -> None:
    if not chosen:
        st.info("No images match. Change the filters above.")
        return
    pages = -(-len(chosen) // _PER_PAGE)
    # If the number of pages changes, return to the first page.
    page = st.pagination(pages, key=f"page-{batch.number}-{pages}") if pages > 1 else 1
    model = state.classifier(state.library().find(batch.model.name)) if heat else None
    explaining = model if model is not None and model.explains else None
    with st.grid(4, min_column_width=210):
        for image in chosen[(page - 1) * _PER_PAGE : page * _PER_PAGE]:
            with st.container(border=True, key=f"cell-{batch.number}-{image.prediction_id}"):
                _show_image(batch, image, explaining)


def _show_image(batch: Batch, image: BatchImage, explaining: Classifier | None) -> None:
    """Draw an image with its prediction, and a heat map if `explaining` is given."""
    prediction = image.prediction
    st.image(
        web_image(batch.content(image))
        if explaining is None
        else heat_map(explaining, batch.pixels(image)),
        alt=f"{prediction.path}: {prediction.headline}",
        width="stretch",
    )
    st.html(prediction_html(prediction, prediction.path))
    if image.known is not None and not image.known.is_waiting:
        st.caption(f"Decided by {image.known.reviewer}: {image.known.label or 'unusable'}")


def _show_table(batch: Batch, chosen: Sequence[BatchImage]) -> None:
    values = [{**image.prediction.values(), "sha256": image.sha256} for image in chosen]
    table = pd.DataFrame(values).drop(columns="error", errors="ignore")
    number = st.column_config.NumberColumn
    st.dataframe(
        table,
        hide_index=True,
        height=min(600, 38 + 35 * len(chosen)),
        column_config={
            "path": st.column_config.TextColumn("file"),
            "confidence": st.column_config.ProgressColumn(
                "confidence", min_value=0.0, max_value=1.0, format="percent"
            ),
            "novelty": number(format="%.2f"),
        }
        | {f"p_{name}": number(f"p {name}", format="%.3f") for name in batch.model.classes},
    )
    st.caption("Click a column title to sort.")


def _show_actions(batch: Batch) -> None:
    accepted = [image for image in batch.readable if image.prediction.decision == "accepted"]
    with st.container(horizontal=True):
        st.download_button(
            "Download the table",
            batch.csv,
            file_name=f"hematovision-batch-{batch.number}.csv",
            mime="text/csv",
            icon=":material/download:",
            on_click="ignore",
        )
        if accepted and st.button(
            f"Also review the {len(accepted)} accepted",
            icon=":material/fact_check:",
            help="Adds the accepted cells to the queue, so that every cell is reviewed.",
        ):
            sent = state.store().send_to_review(_images_to_send(batch, accepted))
            known = len(accepted) - sent
            rest = f" {known} are already waiting or decided." if known else ""
            st.toast(f"{counted(sent, 'cell')} added to the review queue.{rest}")
        if st.button("New images", icon=":material/restart_alt:"):
            state.put_batch(None)
            st.rerun()


def _images_to_send(batch: Batch, accepted: Sequence[BatchImage]) -> Mapping[int, bytes]:
    """Return each image that is neither waiting nor decided once, as PNG by prediction id."""
    known = state.store().known({image.sha256 for image in accepted}, batch.model)
    unknown = {image.sha256: image for image in accepted if image.sha256 not in known}
    return {
        image.prediction_id: images.encode_png(batch.pixels(image))
        for image in unknown.values()
        if image.prediction_id is not None
    }
