"""How every figure is drawn: to an SVG document, in the colours and the style of the house.

Figures stand on their own, without pyplot, so that nothing outlives a call. Colours are those of
Okabe & Ito 2008 ("Color Universal Design"), told apart by people with any colour vision. Text stays
text, so that a reader's fonts draw class names in any script.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hematovision.errors import needs_extra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["BLUE", "GREEN", "GREY", "INK", "ORANGE", "svg"]

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


def svg(size: tuple[float, float], draw: Callable[[Figure], None]) -> str:
    """Return what `draw` puts on a figure of `size` inches, as an SVG document."""
    with needs_extra("train", "Drawing figures"):
        import matplotlib as mpl
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    buffer = io.BytesIO()
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # The reader's fonts draw what matplotlib's own lacks; it is only measured with the latter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure)
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue().decode("utf-8")
