"""The charts of the pages: plain Altair, readable without colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import ArrayLike

from hematovision.app.theme import ACCEPTED, REVIEW, SHARE_COLOURS

__all__ = [
    "LIGHT_TEXT_FROM",
    "confusion_chart",
    "counts_chart",
    "curves_chart",
    "figures_of",
    "show_chart",
]

LIGHT_TEXT_FROM = 0.65
"""The share from which numbers on `SHARE_COLOURS` are white; below it they are black."""


def counts_chart(counts: Mapping[str, Mapping[str, int]]) -> Any:
    """Draw how many predictions each class has, accepted and for review."""
    # The numbers are part of the axis: its text has a colour for light and one for dark.
    titles = {name: f"{name}: {sum(found.values())}" for name, found in counts.items()}
    rows = [
        {"class": titles[name], "decision": decision, "images": found.get(decision, 0)}
        for name, found in counts.items()
        for decision in ("accepted", "review")
    ]
    axis = alt.Axis(labelLimit=180, labelOverlap=False)
    return (
        alt.Chart(pd.DataFrame(rows))
        .mark_bar()
        .encode(
            y=alt.Y("class:N", sort=list(titles.values()), title=None, axis=axis),
            x=alt.X("images:Q", title=None, axis=alt.Axis(tickMinStep=1, format="d")),
            color=alt.Color(
                "decision:N",
                scale=alt.Scale(domain=["accepted", "review"], range=[ACCEPTED, REVIEW]),
                legend=alt.Legend(orient="bottom", title=None),
            ),
            order=alt.Order("decision:N"),
            tooltip=["class", "decision", "images"],
        )
        .properties(height=90 + 30 * len(counts))
    )


def confusion_chart(matrix: ArrayLike, classes: Sequence[str], *, rows: str, columns: str) -> Any:
    """Draw a confusion matrix, coloured by the share of each row.

    Parameters
    ----------
    matrix : array of int, (C, C)
    classes : sequence of str
    rows, columns : str
        What a row and a column is: ``"the model said"``.
    """
    counts = np.asarray(matrix)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    table = [
        {"row": row, "column": column, "cells": int(counts[i, j]), "share": float(shares[i, j])}
        for i, row in enumerate(classes)
        for j, column in enumerate(classes)
    ]
    base = alt.Chart(pd.DataFrame(table)).encode(
        x=alt.X("column:N", sort=list(classes), title=columns, axis=_axis(-35)),
        y=alt.Y("row:N", sort=list(classes), title=rows, axis=_axis(0)),
        tooltip=[
            alt.Tooltip("row:N", title=rows),
            alt.Tooltip("column:N", title=columns),
            "cells:Q",
            alt.Tooltip("share:Q", format=".1%"),
        ],
    )
    squares = base.mark_rect(stroke="#80808040").encode(
        color=alt.Color(
            "share:Q",
            scale=alt.Scale(domain=[0, 1], range=list(SHARE_COLOURS), interpolate="rgb"),
            legend=None,
        )
    )
    numbers = base.mark_text().encode(
        text="cells:Q",
        color=alt.condition(
            f"datum.share > {LIGHT_TEXT_FROM}", alt.value("white"), alt.value("black")
        ),
    )
    return alt.layer(squares, numbers).properties(height=120 + 44 * len(classes))


def curves_chart(epochs: Sequence[Mapping[str, float]], figure: str) -> Any:
    """Draw ``loss`` or ``accuracy`` of training and validation over the epochs.

    Parameters
    ----------
    epochs : sequence of mapping
        With ``epoch`` and the figures of it.
    figure : str
        One that an epoch has.
    """
    rows = [
        {"epoch": int(epoch["epoch"]), "part": part, figure: epoch[key]}
        for epoch in epochs
        for part, key in (("training", figure), ("validation", f"val_{figure}"))
        if key in epoch
    ]
    return (
        alt.Chart(pd.DataFrame(rows, columns=["epoch", "part", figure]))
        .mark_line(point=True)
        .encode(
            x=alt.X("epoch:Q", axis=alt.Axis(tickMinStep=1, format="d")),
            y=alt.Y(f"{figure}:Q", scale=alt.Scale(zero=False), title=figure),
            color=alt.Color(
                "part:N",
                scale=alt.Scale(domain=["training", "validation"], range=["#0072B2", "#D55E00"]),
                legend=alt.Legend(orient="bottom", title=None),
            ),
            strokeDash=alt.StrokeDash("part:N", legend=None),
            tooltip=["epoch", "part", alt.Tooltip(f"{figure}:Q", format=".4f")],
        )
        .properties(height=240)
    )


def figures_of(epochs: Sequence[Mapping[str, float]]) -> list[str]:
    """Return which of ``accuracy`` and ``loss`` the epochs tell."""
    told = {name.removeprefix("val_") for epoch in epochs for name in epoch}
    return [figure for figure in ("accuracy", "loss") if figure in told]


def show_chart(chart: Any) -> None:
    """Draw a chart on the page.

    Streamlit's own theme for charts writes grey on white, with a contrast of 3.7; without it, text
    has the colour of the page's, in light and dark.
    """
    st.altair_chart(chart, theme=None)


def _axis(angle: int) -> alt.Axis:
    return alt.Axis(labelAngle=angle, labelLimit=120)
