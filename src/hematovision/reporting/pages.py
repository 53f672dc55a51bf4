"""How every page is made from its template."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hematovision.extras import needs_extra
from hematovision.reporting import wording

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["environment"]


def environment() -> Environment:
    """Return where templates are found, and the filters that write figures in them.

    Raises
    ------
    MissingExtraError
        If Jinja2 is not installed.
    """
    with needs_extra("train", "Writing reports"):
        from jinja2 import Environment, PackageLoader, StrictUndefined
    templates = Environment(
        loader=PackageLoader("hematovision.evaluation"),
        autoescape=True,  # class names and paths are whatever a folder was called
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(
        percent=wording.percent,
        interval=wording.interval,
        number=wording.number,
        p_value=wording.p_value,
        points=wording.points,
        points_interval=wording.points_interval,
    )
    return templates
