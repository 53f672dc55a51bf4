"""The app's light and dark themes, and predictions as HTML.

Class colours are from Okabe and Ito ("Color Universal Design", 2008), without yellow and black,
which are invisible on one of the two backgrounds. A word or symbol always accompanies a colour.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from types import MappingProxyType

from hematovision.model.prediction import Prediction
from hematovision.model.thresholds import is_out_of_distribution

__all__ = [
    "ACCEPTED", "FILLED", "REVIEW", "SHARE_COLOURS", "STYLE", "THEME", "bars_html", "decision_html",
    "prediction_html", "text_html", "unreadable_html",
]  # fmt: skip

ACCEPTED, REVIEW = "#009E73", "#D55E00"
"""Colours of areas in charts; too light for text."""

FILLED: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "accepted": ("#ffffff", "#006b4f"),
        "review": ("#ffffff", "#a34400"),
        "refused": ("#ffffff", "#5a5f66"),
        "primary button": ("#ffffff", "#9446a6"),
        "primary button hovered": ("#ffffff", "#7b2d8b"),
    }
)
"""Text and background colours of filled elements, the same in both themes."""

SHARE_COLOURS = ("#f7fbff", "#08306b")
"""Colours of the shares 0 and 1."""

_SIGNS = {"accepted": "✓", "review": "?", "refused": "✕"}

THEME: dict[str, object] = {
    "theme.baseRadius": "0.6rem",
    "theme.headingFontSizes": ["2rem", "1.4rem", "1.2rem", "1.1rem", "1rem", "1rem"],
    "theme.light.primaryColor": "#7b2d8b",
    "theme.light.backgroundColor": "#ffffff",
    "theme.light.secondaryBackgroundColor": "#f6f3f8",
    "theme.light.textColor": "#221a29",
    "theme.dark.primaryColor": "#c98bd6",
    "theme.dark.backgroundColor": "#17141b",
    "theme.dark.secondaryBackgroundColor": "#241f2b",
    "theme.dark.textColor": "#f1ecf4",
}
"""Streamlit's options; the violet is that of Giemsa stain."""

STYLE = (
    f"""<style>
[data-testid^="stBaseButton-primary"] {{color:{FILLED["primary button"][0]};
  background:{FILLED["primary button"][1]}; border-color:{FILLED["primary button"][1]}}}
[data-testid^="stBaseButton-primary"]:is(:hover, :focus-visible, :active) {{
  color:{FILLED["primary button hovered"][0]};
  background:{FILLED["primary button hovered"][1]}}}
</style><style>"""
    """
[data-testid="stMainBlockContainer"] {padding-top:3.2rem; padding-bottom:2rem}
.st-key-pages {gap:.25rem}
@media (max-width:640px) {.st-key-pages a > span:first-child {display:none}}
.hv-prediction {display:flex; justify-content:space-between; align-items:baseline; gap:.5rem;
  flex-wrap:wrap; margin:.1rem 0 .35rem}
.hv-label {font-weight:600; font-size:1.05rem; overflow-wrap:anywhere}
.hv-chip {font-size:.8rem; font-weight:600; border-radius:1rem;
  padding:.05rem .55rem; white-space:nowrap}
.hv-note {font-size:.82rem; opacity:.85; margin:.1rem 0 .3rem; overflow-wrap:anywhere}
.hv-bar {display:grid; grid-template-columns:1fr auto; column-gap:.5rem; row-gap:.1rem;
  font-size:.82rem; line-height:1.35; margin-bottom:.3rem}
.hv-bar span:first-child {overflow:hidden; text-overflow:ellipsis; white-space:nowrap}
.hv-track {grid-column:1 / -1; background:color-mix(in srgb, currentColor 12%, transparent);
  border-radius:.3rem; height:.4rem; overflow:hidden}
.hv-fill {display:block; height:100%; border-radius:.3rem;
  background:color-mix(in srgb, currentColor 45%, transparent)}
.hv-top .hv-fill {background:#0072B2}
.hv-top {font-weight:600}
.hv-number {text-align:right; font-variant-numeric:tabular-nums}
[data-testid="stImage"] img {border-radius:.4rem}
[class*="st-key-cell-"] [data-testid="stImage"] img,
[class*="st-key-cell-"] [data-testid="stImageContainer"] {width:100%}
[class*="st-key-cell-active"] {outline:3px solid #0072B2; outline-offset:-1px; border-radius:.6rem}
[class*="st-key-cell-done"] [data-testid="stImage"] {opacity:.55}
.hv-unreadable {max-height:26rem; overflow:auto; margin:0; padding:0; font-size:.9rem}
.hv-unreadable :is(dt, dd) {margin-left:0; padding-left:0}
.hv-unreadable dt {font-weight:600; overflow-wrap:anywhere}
.hv-unreadable dd {margin:0 0 .6rem; overflow-wrap:anywhere}
[data-testid^="stBaseButton"] kbd {color:inherit; opacity:.85}
[data-testid="stCaptionContainer"], [data-testid="stMarkdownContainer"] blockquote {
  color:inherit; opacity:.85}
.hv-list {font-size:.9rem; margin:0; padding-left:1.2rem}
.hv-foot {font-size:.8rem; opacity:.85; margin-top:2.5rem; text-align:center}
kbd {border:1px solid color-mix(in srgb, currentColor 40%, transparent); border-radius:.25rem;
  padding:0 .3rem; font-size:.85em}
</style>"""
)
"""CSS for styles that Streamlit's theme does not support."""


def decision_html(decision: str) -> str:
    """Return a decision as a chip with a symbol and a word."""
    text, ground = FILLED[decision]
    style = f"color:{text};background:{ground}"
    return f'<span class="hv-chip" style="{style}">{_SIGNS[decision]} {escape(decision)}</span>'


def bars_html(
    classes: Sequence[str],
    probabilities: Sequence[float],
    most: int = 4,
    *,
    highlight: bool = True,
) -> str:
    """Return the highest probabilities as bars, in descending order.

    There are at most `most` bars; the last is the sum of all other classes. `highlight` emphasises
    the first bar; it is off for an out-of-distribution image.
    """
    pairs = sorted(zip(probabilities, classes, strict=True), reverse=True)
    shown = pairs if len(pairs) <= most else pairs[: most - 1]
    rest = pairs[len(shown) :]
    if rest:
        shown = [*shown, (sum(p for p, _ in rest), f"{len(rest)} others")]
    return "".join(
        _bar(name, value, top=highlight and i == 0) for i, (value, name) in enumerate(shown)
    )


def prediction_html(prediction: Prediction, name: str) -> str:
    """Return a prediction: headline, decision and reason, probabilities, file name."""
    label = escape(prediction.headline)
    reason = prediction.reason or prediction.error or ""
    note = f'<div class="hv-note">{text_html(reason)}</div>' if reason else ""
    bars = (
        bars_html(
            prediction.classes,
            prediction.probabilities,
            highlight=not is_out_of_distribution(prediction.reason),
        )
        if prediction.label
        else ""
    )
    head = f'<span class="hv-label">{label}</span>{decision_html(prediction.decision)}'
    return (
        f'<div class="hv-prediction">{head}</div>{note}{bars}'
        f'<div class="hv-note" title="{escape(name)}">{escape(name)}</div>'
    )


def text_html(text: str) -> str:
    """Return a message as HTML; text in backticks becomes code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def unreadable_html(refused: Sequence[Prediction]) -> str:
    """Return the names of unreadable files with their errors."""
    rows = (f"<dt>{escape(one.path)}</dt><dd>{text_html(one.error or '')}</dd>" for one in refused)
    return f'<dl class="hv-unreadable">{"".join(rows)}</dl>'


def _bar(name: str, value: float, *, top: bool) -> str:
    percent = f"{value:.1%}" if value < 0.9995 or value == 1.0 else "99.9%"
    return (
        f'<div class="hv-bar{" hv-top" if top else ""}"><span title="{escape(name)}">'
        f'{escape(name)}</span><span class="hv-number">{percent}</span><span class="hv-track">'
        f'<span class="hv-fill" style="width:{100 * value:.1f}%"></span></span></div>'
    )
