"""Fields: upload whole fields, see and count their cells."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import BinaryIO, Literal

import pandas as pd
import streamlit as st

from hematovision import images
from hematovision.app import state
from hematovision.app.theme import text_html
from hematovision.fields.counts import Differential
from hematovision.fields.summary import PER_NL, Summary
from hematovision.plurals import counted
from hematovision.reporting.wording import interval, percent
from hematovision.synthetic import render_field
from hematovision.uploads.fields import UploadedField, UploadedFields, analyze_uploads
from hematovision.uploads.receiving import expected, receive
from hematovision.workflows.analyze import AnalyzeOptions

__all__ = ["show"]

_RESULT, _TURN = "fields-result", "fields-turn"
_PER_PAGE = 4
_REDRAW = 0.15  # seconds between updates of the progress bar
_SAMPLE_SEED = 5  # with a white cell and platelets
_SINGLE = 760  # width of the card of a single field, in pixels
_EDGES: dict[str, Literal["two", "inside", "all"]] = {
    "at the top and left": "two",
    "none": "inside",
    "all": "all",
}


def show() -> None:
    """Show the page."""
    result = st.session_state.get(_RESULT)
    st.title("Count whole fields")
    if result is None:
        st.markdown(
            "Finds every red cell, white cell and platelet in microscope fields, classifies the "
            "white cells, and counts all cells. The red cells give the scale."
        )
        options, uploads = _inputs()
        if st.button("Try it with a synthetic field", icon=":material/science:"):
            _analyse(options, [("synthetic field.png", _synthetic())])
        st.caption("Synthetic fields are rendered by this program, not taken from patients.")
    else:
        turn = st.session_state.get(_TURN, 0)
        title = "Other fields"
        with st.expander(title, icon=":material/add_photo_alternate:", key=f"other-{turn}"):
            options, uploads = _inputs()
        _show_result(result)
    if uploads:
        _analyse(options, uploads)


def _inputs() -> tuple[AnalyzeOptions, list[tuple[str, BinaryIO]]]:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        edges = st.selectbox(
            "Cells at the border that count", list(_EDGES), key="fields-edges", width=260
        )
        diameter = st.number_input(
            "Width of a red cell in pixels",
            min_value=5.0,
            max_value=1400.0,
            value=None,
            placeholder="measured",
            key="fields-diameter",
            width=260,
        )
        red = st.number_input(
            "Red cells by your analyser, 10¹²/L",
            min_value=0.01,
            max_value=20.0,
            value=None,
            placeholder="for an estimate of platelets",
            key="fields-rbc",
            width=260,
        )
    turn = st.session_state.setdefault(_TURN, 0)
    files = st.file_uploader(
        "Fields: microscope images with many cells, or a zip file of them",
        accept_multiple_files=True,
        key=f"fields-{turn}",
        help="The formats of Classify. Images stay on this computer and are not stored.",
    )
    options = AnalyzeOptions(edges=_EDGES[edges], rbc_diameter=diameter, rbc_count=red)
    return options, [(file.name, file) for file in files]


def _synthetic() -> bytes:
    return images.encode_png(render_field(_SAMPLE_SEED, lab="synthetic-a").image)


def _analyse(options: AnalyzeOptions, uploads: Sequence[tuple[str, BinaryIO | bytes]]) -> None:
    bar = st.progress(0.0, "Opening the models …")
    redrawn = 0.0

    def progress(done: int, total: int, what: str, unit: str = "", /) -> None:  # noqa: ARG001
        nonlocal redrawn
        if (now := time.monotonic()) - redrawn > _REDRAW:
            redrawn = now
            bar.progress(min(done / total, 1.0), f"{counted(done, 'field')} analysed")

    st.session_state[_RESULT] = analyze_uploads(
        state.analyzer(options),
        receive(uploads, state.limits()),
        options,
        total=expected(uploads, state.limits()),
        progress=progress,
    )
    st.session_state[_TURN] += 1
    st.rerun()


# --- results -------------------------------------------------------------------------------------


def _show_result(result: UploadedFields) -> None:
    summary = result.summary
    cells = summary.counts.cells
    with st.container(horizontal=True):
        st.metric("Fields", len(result.fields), width=110)
        st.metric("Red cells", f"{cells['RBC'].n:,}", width=110)
        st.metric("White cells", f"{cells['WBC'].n:,}", width=110)
        st.metric("Platelets", f"{cells['Platelets'].n:,}", width=110)
        st.metric("For review", sum(one.review for one in cells.values()), width=110)
    notes = "".join(f"<li>{text_html(note)}</li>" for note in _notes(summary))
    st.html(f'<ul class="hv-list">{notes}</ul>')
    _downloads(result)
    shown, kinds, table = st.tabs(["Fields", "White cells", "Table"])
    with shown:
        _show_fields(result)
    with kinds:
        _show_differential(summary.counts.differential)
    with table:
        rows = [cell.values() for one in result.fields for cell in one.cells]
        st.dataframe(pd.DataFrame(rows).drop(columns="error", errors="ignore"), hide_index=True)


def _notes(summary: Summary) -> list[str]:
    """Return the platelets per red cell, the estimate if there is one, and the caveats."""
    found = summary.counts.platelets
    notes = []
    if found.per_1000_rbc is not None and found.interval is not None:
        low, high = found.interval
        ratio = f"{found.per_1000_rbc:.1f} (95% limits {low:.1f} to {high:.1f})"
        notes.append(f"Platelets per 1,000 red cells: {ratio}.")
    if found.estimate is not None and found.estimate_interval is not None:
        low, high = found.estimate_interval
        estimate = f"{found.estimate:.0f}\u00a0{PER_NL} ({low:.0f} to {high:.0f})"
        notes.append(f"Platelets, estimated: {estimate}.")
    return [*notes, *summary.notes]


def _downloads(result: UploadedFields) -> None:
    with st.container(horizontal=True):
        st.download_button(
            "Download all results",
            result.archive,
            file_name="hematovision-fields.zip",
            mime="application/zip",
            icon=":material/download:",
            on_click="ignore",
            help="cells.csv, fields.csv, summary.json, report.html and the overlays.",
        )
        st.download_button(
            "Download the report",
            result.report,
            file_name="report.html",
            mime="text/html",
            icon=":material/print:",
            on_click="ignore",
        )


@st.fragment
def _show_fields(result: UploadedFields) -> None:
    pages = -(-len(result.fields) // _PER_PAGE)
    page = st.pagination(pages, key=f"fields-page-{pages}") if pages > 1 else 1
    here = result.fields[(page - 1) * _PER_PAGE : page * _PER_PAGE]
    alone = len(result.fields) == 1
    with st.container(width=_SINGLE) if alone else st.grid(2, min_column_width=320):
        for number, one in enumerate(here):
            with st.container(border=True, key=f"field-{page}-{number}"):
                _show_field(one)


def _show_field(one: UploadedField) -> None:
    field = one.field
    st.html(f"<div>{text_html(field.image)}</div>")  # a bare name could be that of a file
    if field.error:
        st.error(f"Could not be read: {field.error}", icon=":material/block:")
        return
    platelets = counted(field.platelets or 0, "platelet")
    counts = f"{field.rbc} red, {field.wbc} white, {platelets}"
    if one.overlay:
        st.image(one.overlay, alt=f"{field.image} with its cells: {counts}", width="stretch")
    st.caption(f"{counts}; {field.review} for review")
    if field.flags:
        st.warning(field.flags, icon=":material/warning:")


def _show_differential(found: Differential) -> None:
    if not found.n:
        st.info("No white cells were found.")
        return
    rows = []
    for name, one in found.classes.items():
        row: dict[str, object] = {"class": name, "cells": one.n}
        if one.fraction is not None:
            row |= {"%": percent(one.fraction), "95% limits": interval(one.interval)}
        rows.append(row)
    st.dataframe(pd.DataFrame(rows), hide_index=True)
