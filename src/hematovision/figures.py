"""Figures: plots on matplotlib figures in one style, without pyplot and its global state.

A `Drawing` is a size and a function that plots; `show` makes the figure that users get, `save` the
bytes of a file. matplotlib is imported when a figure is made, and not before. Colours are those of
Okabe & Ito 2008 ("Color Universal Design"), distinguishable with any colour vision.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hematovision.extras import needs_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Figure

__all__ = [
    "BLUE", "GREEN", "GREY", "INK", "ORANGE", "Drawing", "Panel", "image_grid", "save", "show",
]  # fmt: skip

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
    "svg.hashsalt": "hematovision",  # makes the bytes reproducible
    "text.color": INK,
    "text.parse_math": False,  # a class may be called "$"
    "xtick.color": INK,
    "ytick.color": INK,
}

_SCREEN_DPI = 100
_PANEL = 1.9  # inches, the side of a panel of `image_grid`
_NAME = 28  # characters below a panel


class Drawing(NamedTuple):
    """A figure that can be shown or saved: ``show(drawing)``, ``save(drawing, format="svg")``."""

    size: tuple[float, float]  # width and height in inches
    draw: Callable[[Figure], None]  # plots on a figure of that size


class Panel(NamedTuple):
    """One image of `image_grid`."""

    image: NDArray[np.uint8] | None  # RGB (H, W, 3); None for an empty panel
    title: str
    name: str = ""  # below the image
    is_flagged: bool = False  # the title is orange


def show(drawing: Drawing) -> Figure:
    """Return a drawing as a matplotlib figure, which notebooks show.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    with _styled():
        figure = _notebook_figure()(figsize=drawing.size, dpi=_SCREEN_DPI, layout="constrained")
        drawing.draw(figure)
    return figure


def save(drawing: Drawing, **how: Any) -> bytes:
    """Return a drawing as the bytes of a file; `how` are arguments of ``Figure.savefig``."""
    buffer = io.BytesIO()
    with _styled():
        from matplotlib.figure import Figure

        figure = Figure(figsize=drawing.size, layout="constrained")
        drawing.draw(figure)
        figure.savefig(buffer, **how)
    return buffer.getvalue()


def image_grid(
    panels: Sequence[Panel], columns: int = 5, title: str = "", *, side: float = _PANEL
) -> Drawing:
    """Arrange images in rows, each with its title above and its name below.

    A panel is `side` inches wide, and as high as the tallest of the images.
    """
    columns = max(1, min(columns, len(panels)))
    rows = max(1, -(-len(panels) // columns))

    def draw(figure: Figure) -> None:
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for one, panel in zip(axes, panels, strict=False):
            _draw_panel(one, panel)
        for unused in axes[len(panels) :]:
            unused.remove()
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=11, weight="bold")

    ratios = [one.image.shape[0] / one.image.shape[1] for one in panels if one.image is not None]
    height = (side * min(2.0, max(ratios, default=1.0)) + 0.55) * rows + 0.35 * bool(title)
    return Drawing((max(2.6, side * columns), height), draw)


def _draw_panel(axes: Axes, panel: Panel) -> None:
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(panel.image is None)
    if panel.image is not None:
        axes.imshow(panel.image)
    else:
        axes.set_aspect("equal")
    colour = ORANGE if panel.is_flagged else INK
    name = panel.name if len(panel.name) <= _NAME else f"...{panel.name[3 - _NAME :]}"
    axes.set_xlabel(name, fontsize=8, color=GREY)
    axes.set_title(panel.title, fontsize=9, weight="normal", color=colour, loc="center")


@contextmanager
def _styled() -> Iterator[None]:
    """Apply the style in the block; characters that matplotlib's font lacks cause no warnings."""
    with needs_extra("notebook", "Plotting figures"):
        import matplotlib as mpl
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


@cache
def _notebook_figure() -> type[Figure]:
    """Return a figure class that notebooks show without pyplot."""
    from matplotlib.figure import Figure

    class NotebookFigure(Figure):
        def _repr_png_(self) -> bytes:
            buffer = io.BytesIO()
            with _styled():
                self.savefig(buffer, format="png")
            return buffer.getvalue()

    return NotebookFigure
