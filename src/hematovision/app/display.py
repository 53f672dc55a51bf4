"""Charts (plain Altair, readable without colour) and images as the browser shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from hematovision import images
from hematovision.app.theme import ACCEPTED, REVIEW, SHARE_COLOURS
from hematovision.model.classifier import Classifier
from hematovision.model.explain import draw_overlay
from hematovision.model.inference import Item, predict_image

__all__ = [
    "LIGHT_TEXT_FROM", "confusion_chart", "counts_chart", "heat_map", "show_chart", "show_curves",
    "web_image",
]  # fmt: skip

LIGHT_TEXT_FROM = 0.65
"""Numbers on `SHARE_COLOURS` are white above this share, and black below it."""

_WEB_FORMATS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
_MAX_SIDE = 512
_MAX_BYTES = 300_000  # larger files are scaled down


def web_image(content: bytes) -> bytes | NDArray[np.uint8]:
    """Return a small PNG or JPEG file unchanged; decode and scale down other images."""
    if content.startswith(_WEB_FORMATS) and len(content) <= _MAX_BYTES:
        return content
    reduced = Image.fromarray(images.read(content))
    reduced.thumbnail((_MAX_SIDE, _MAX_SIDE))
    return np.asarray(reduced)


def heat_map(classifier: Classifier, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image overlaid with its explanation map.

    `pixels` are RGB uint8 of shape (H, W, 3); the classifier must be able to explain.
    """
    attention = predict_image(classifier, Item("cell", pixels), explain=True).attention
    return pixels if attention is None else draw_overlay(pixels, attention)


def counts_chart(counts: Mapping[str, Mapping[str, int]]) -> Any:
    """Return a chart of accepted and flagged predictions by class."""
    # The counts are in the labels, which are readable on light and dark backgrounds.
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
    """Return a chart of a confusion matrix, coloured by each row's shares.

    `matrix` is of int, shape (C, C); `rows` and `columns` are the axis titles.
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


def _axis(angle: int) -> alt.Axis:
    return alt.Axis(labelAngle=angle, labelLimit=120)


def show_curves(epochs: Sequence[Mapping[str, float]], *, columns: bool = False) -> None:
    """Draw accuracy and loss by epoch.

    Each row has ``epoch``, and ``accuracy``, ``val_accuracy``, ``loss`` and ``val_loss`` if known.
    With `columns` the charts are next to each other.
    """
    known = {name.removeprefix("val_") for epoch in epochs for name in epoch}
    metrics = [metric for metric in ("accuracy", "loss") if metric in known]
    places = st.columns(2) if columns else [st.container() for _ in metrics]
    for metric, place in zip(metrics, places, strict=False):
        with place:
            show_chart(_curves_chart(epochs, metric))


def _curves_chart(epochs: Sequence[Mapping[str, float]], metric: str) -> Any:
    colours = {"training": "#0072B2", "validation": "#D55E00"}
    rows = [
        {"epoch": int(epoch["epoch"]), "split": split, metric: epoch[key]}
        for epoch in epochs
        for split, key in (("training", metric), ("validation", f"val_{metric}"))
        if key in epoch
    ]
    shown = [split for split in colours if any(row["split"] == split for row in rows)]
    return (
        alt.Chart(pd.DataFrame(rows, columns=["epoch", "split", metric]))
        .mark_line(point=True)
        .encode(
            x=alt.X("epoch:Q", axis=alt.Axis(tickMinStep=1, format="d")),
            y=alt.Y(f"{metric}:Q", scale=alt.Scale(zero=False), title=metric),
            color=alt.Color(
                "split:N",
                scale=alt.Scale(domain=shown, range=[colours[split] for split in shown]),
                legend=alt.Legend(orient="bottom", title=None),
            ),
            strokeDash=alt.StrokeDash("split:N", legend=None),
            tooltip=["epoch", "split", alt.Tooltip(f"{metric}:Q", format=".4f")],
        )
        .properties(height=240)
    )


def show_chart(chart: Any) -> None:
    """Draw a chart in the page's colours: the contrast of grey text in Streamlit's theme is 3.7."""
    st.altair_chart(chart, theme=None)
