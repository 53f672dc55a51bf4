"""How every figure is drawn: to SVG or PNG, in the colours and the style of the house.

Figures stand on their own, without pyplot, so that nothing outlives a call. Colours are those of
Okabe & Ito 2008 ("Color Universal Design"), told apart by people with any colour vision. Text stays
text, so that a reader's fonts draw class names in any script.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from hematovision.extras import needs_extra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["BLUE", "GREEN", "GREY", "INK", "ORANGE", "PNG_DPI", "Drawing", "png", "svg"]

PNG_DPI = 200
"""Sharp in print at a column's width."""

BLUE, ORANGE, GREEN, INK, GREY = "#0072B2", "#D55E00", "#009E73", "#1f2933", "#6b7680"

_STYLE: Any = {  # matplotlib types every key by name
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "font.size": 10,
    "grid.color": "#e4e8eb",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "hematovision",  # the same figure is the same bytes
    "text.color": INK,
    "text.parse_math": False,  # a class may be called "$"
    "xtick.color": INK,
    "ytick.color": INK,
}


class Drawing(NamedTuple):
    """A figure that can be written in several forms: ``svg(*drawing)``, ``png(*drawing)``.

    Parameters
    ----------
    size : tuple of float
        Width and height in inches.
    draw : callable
        Puts it on a figure of that size.
    """

    size: tuple[float, float]
    draw: Callable[[Figure], None]


def svg(size: tuple[float, float], draw: Callable[[Figure], None]) -> str:
    """Return what `draw` puts on a figure of `size` inches, as an SVG document."""
    metadata = {"Date": None, "Creator": None}
    return _saved(size, draw, format="svg", metadata=metadata).decode("utf-8")


def png(size: tuple[float, float], draw: Callable[[Figure], None]) -> bytes:
    """Return what `draw` puts on a figure of `size` inches, as a PNG of `PNG_DPI` pixels an inch.

    Text is drawn with matplotlib's own font; a character that it lacks is a box. The SVG has none.
    """
    return _saved(size, draw, format="png", dpi=PNG_DPI, metadata={"Software": None})


def _saved(size: tuple[float, float], draw: Callable[[Figure], None], **how: Any) -> bytes:
    with needs_extra("train", "Drawing figures"):
        import matplotlib as mpl
        from matplotlib.figure import Figure
    buffer = io.BytesIO()
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # The reader's fonts draw what matplotlib's own lacks; it is only measured with the latter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        figure.savefig(buffer, **how)
    return buffer.getvalue()
