"""A batch that was answered: the overview, the pictures with their reasons, the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from hematovision import images
from hematovision.app import state
from hematovision.app.charts import counts_chart, show_chart
from hematovision.app.pictures import heat_picture, plain_picture
from hematovision.app.theme import prediction_html, refusals_html
from hematovision.model.classifier import Classifier
from hematovision.review.batches import Batch, BatchImage

__all__ = ["show_batch"]

_ON_A_PAGE = 12
_ALL = "all"


def show_batch(batch: Batch) -> None:
    """Draw a batch."""
    _overview(batch)
    _refusals(batch.refused)
    if batch.readable:
        _answers(batch)
    _actions(batch)


def _overview(batch: Batch) -> None:
    answered = batch.readable
    review = sum(row.prediction.decision == "review" for row in answered)
    figures, chart = st.columns([2, 3], gap="large", vertical_alignment="center")
    with figures, st.container(horizontal=True):
        st.metric("Images", len(batch.images), width=110)
        st.metric("Accepted", len(answered) - review, width=110)
        st.metric("For review", review, width=110)
        if batch.refused:
            st.metric("Not read", len(batch.refused), width=110)
    with figures:
        seconds = st.session_state.get("answered-in", 0.0)
        st.caption(f"Predicted by {batch.model.name} in {seconds:.1f} s, and kept in the records.")
        _already(batch)
    with chart:
        show_chart(counts_chart(batch.counts()))


def _already(batch: Batch) -> None:
    """Tell how many images are not queued, since people know them."""
    doubted = [row.known for row in batch.readable if row.prediction.decision == "review"]
    known = [one for one in doubted if one is not None]
    waiting = sum(one.is_waiting for one in known)
    texts = {
        f"{len(known) - waiting} already decided by a person": len(known) - waiting,
        f"{waiting} already in the queue": waiting,
    }
    if known:
        told = ", ".join(text for text, count in texts.items() if count)
        st.caption(f"Of those for review, {told}: not queued again.")


def _refusals(refused: Sequence[BatchImage]) -> None:
    if not refused:
        return
    title = f"{len(refused)} {'file was' if len(refused) == 1 else 'files were'} not read"
    with st.expander(title, icon=":material/block:", expanded=len(refused) <= 5):
        st.html(refusals_html([row.prediction for row in refused]))


@st.fragment
def _answers(batch: Batch) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        decision = st.segmented_control(
            "Decision", [_ALL, "review", "accepted"], default=_ALL, key="pictures-decision"
        )
        labels = st.multiselect(
            "Classes", batch.model.classes, key="pictures-classes", placeholder="all", width=280
        )
        name = st.text_input("Name of the file", key="pictures-name", width=200)
        heat = st.toggle(
            "Show where the model looked",
            key="heat",
            help="Grad-CAM for the predicted class: yellow regions contributed most.",
        )
    decisions = [decision] if decision in ("review", "accepted") else ["review", "accepted"]
    rows = batch.chosen(decisions, labels, name)
    pictures, table = st.tabs(["Pictures", "Table"])
    with pictures:
        _pictures(batch, rows, heat=heat)
    with table:
        _table(batch, rows)


def _pictures(batch: Batch, rows: Sequence[BatchImage], *, heat: bool) -> None:
    if not rows:
        st.info("No images match. Change the filters above.")
        return
    pages = -(-len(rows) // _ON_A_PAGE)
    # Another number of pages is another list of them, which begins at its first.
    page = st.pagination(pages, key=f"page-{batch.number}-{pages}") if pages > 1 else 1
    shown = rows[(page - 1) * _ON_A_PAGE : page * _ON_A_PAGE]
    model = state.classifier(state.library().find(batch.model.name)) if heat else None
    explaining = model if model is not None and model.explains else None
    with st.grid(4, min_column_width=210):
        for row in shown:
            with st.container(border=True, key=f"cell-{batch.number}-{row.prediction_id}"):
                _card(batch, row, explaining)


def _card(batch: Batch, row: BatchImage, explaining: Classifier | None) -> None:
    """Draw a prediction, with where the model looked if there is one that can say so."""
    prediction = row.prediction
    st.image(
        plain_picture(batch.content(row))
        if explaining is None
        else heat_picture(explaining, batch.pixels(row)),
        alt=f"{prediction.path}: {prediction.headline}",
        width="stretch",
    )
    st.html(prediction_html(prediction, prediction.path))
    if row.known is not None and not row.known.is_waiting:
        decided = row.known.label or "not usable"
        st.caption(f"Already decided by {row.known.reviewer}: {decided}")


def _table(batch: Batch, rows: Sequence[BatchImage]) -> None:
    values = [{**row.prediction.values(), "sha256": row.sha256} for row in rows]
    table = pd.DataFrame(values).drop(columns="error", errors="ignore")
    names = batch.model.classes
    st.dataframe(
        table,
        hide_index=True,
        height=min(600, 38 + 35 * len(rows)),
        column_config={
            "path": st.column_config.TextColumn("file"),
            "confidence": st.column_config.ProgressColumn(
                "confidence", min_value=0.0, max_value=1.0, format="percent"
            ),
            "novelty": st.column_config.NumberColumn(format="%.2f"),
        }
        | {
            f"p_{name}": st.column_config.NumberColumn(f"p {name}", format="%.3f") for name in names
        },
    )
    st.caption("Click on a column's head to sort; choose above what is shown.")


def _actions(batch: Batch) -> None:
    accepted = [row for row in batch.readable if row.prediction.decision == "accepted"]
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
            f"Review the {len(accepted)} accepted too",
            icon=":material/fact_check:",
            help="Adds the accepted cells to the queue, so that a person checks every cell.",
        ):
            sent = state.store().send_to_review(_pictures_to_send(batch, accepted))
            known = len(accepted) - sent
            rest = f" {known} are already waiting or decided." if known else ""
            st.toast(f"{sent} cells added to the review queue.{rest}")
        if st.button("New images", icon=":material/restart_alt:"):
            state.put_batch(None)
            st.rerun()


def _pictures_to_send(batch: Batch, rows: Sequence[BatchImage]) -> Mapping[int, bytes]:
    """Return the pictures of answers that nobody has looked at or will anyway, each image once."""
    known = state.store().known({row.sha256 for row in rows}, batch.model)
    unknown = {row.sha256: row for row in rows if row.sha256 not in known}
    return {
        row.prediction_id: images.encode_png(batch.pixels(row))
        for row in unknown.values()
        if row.prediction_id is not None
    }
