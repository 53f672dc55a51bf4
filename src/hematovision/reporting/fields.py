"""``report.html`` of a field analysis: one or two A4 pages, also to read on a screen.

The page needs nothing that analysing does not: no Jinja2 and no matplotlib. It is a single file
without scripts, and its content security policy forbids loading anything.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hematovision.fields.counts import UNCLASSIFIED, Differential, PlateletCount
from hematovision.fields.rows import CellRow, FieldRow
from hematovision.fields.sample import CellSample
from hematovision.fields.sizes import FEWEST_CELLS, SizeDistribution
from hematovision.fields.summary import PER_NL, PER_PL, ModelUsed, Summary
from hematovision.files import write_text
from hematovision.images.boxes import Box
from hematovision.intervals import Interval
from hematovision.plurals import counted
from hematovision.reporting.embedding import data_uri
from hematovision.reporting.field_charts import bar, size_chart
from hematovision.reporting.markup import (
    Content,
    Markup,
    breakable,
    fill,
    join,
    read_template,
    tag,
)
from hematovision.reporting.wording import NOT_A_DEVICE, interval, number, percent

__all__ = [
    "FIELDS_SHOWN", "GALLERY", "REPORT", "CropReader", "render_report", "write_report",
]  # fmt: skip

REPORT = "report.html"

GALLERY = 36
"""Maximum number of white cells in the gallery."""

FIELDS_SHOWN = 10
"""Maximum number of fields in the table of their quality."""

CropReader: TypeAlias = Callable[[str, Sequence[Box]], Sequence[NDArray[np.uint8] | None]]
"""Cuts boxes from the image of a name: RGB pixels (H, W, 3) each, None where that fails."""

_SIDE = 160  # of the gallery's images in pixels: 15 mm at 270 dpi
_LONGEST = 44  # characters of a name in a table
_LONGEST_FLAGS = 60
_LONGEST_ERROR = 160
_LONGEST_LIST = 400  # settings, flags of all fields
_DEEPEST = 4  # folders with the name of a field
_COLUMNS = (
    "Red", "White", "Platelets", "Review", "Red cell, px", "Focus", "Overlap", "Saturated",
)  # fmt: skip
_HASH = 12  # digits of a hash at the top; the table of models has all
_BREAK = Markup("\n")
_NUCLEATED = "erythroblast"  # the class of the sample; see `Tally`
_TITLES = {"ig": "immature granulocyte (ig)"}
_LABELS: Mapping[str, str] = {"RBC": "Red cells", "WBC": "White cells", "Platelets": "Platelets"}
_NOUNS: Mapping[str, tuple[str, str]] = {
    "RBC": ("red", "red"),
    "WBC": ("white", "white"),
    "Platelets": ("platelet", "platelets"),
}
_UNITS: Mapping[str, str] = {"um": "µm", "red cells": "of the median red cell"}


def write_report(
    out: Path,
    summary: Summary,
    *,
    fields: Iterable[FieldRow],
    sample: CellSample,
    read_crops: CropReader,
) -> Path:
    """Write ``report.html`` into the folder `out` and return its path.

    Parameters
    ----------
    out : Path
        The folder, created if missing.
    summary : Summary
        The counts, models and settings.
    fields : iterable of FieldRow
        The fields, taken one at a time. Up to `FIELDS_SHOWN` are listed: the unreadable and the
        flagged ones first.
    sample : CellSample
        White cells for the gallery, from `Tally`. Up to `GALLERY` are shown, as many of each class
        as possible.
    read_crops : CropReader
        Reads the images of these cells, all of one field at once.

    Raises
    ------
    OutputError
        If the file can't be written.
    """
    page = render_report(summary, fields=fields, sample=sample, read_crops=read_crops)
    return write_text(out / REPORT, page)


def render_report(
    summary: Summary,
    *,
    fields: Iterable[FieldRow],
    sample: CellSample,
    read_crops: CropReader,
) -> str:
    """Return the content of ``report.html``; parameters as in `write_report`."""
    sections = (
        _key(summary),
        _notes(summary.notes),
        _differential(summary.counts.differential),
        _gallery(summary, sample, read_crops),
        _sizes(summary),
        _quality(summary, fields),
        tag("div", _excluded(summary), _models(summary), class_="two pair-of"),
    )
    return fill(
        read_template("fields.html"),
        title=_short(summary.sample, 2 * _LONGEST),
        css=Markup(read_template("report.css") + read_template("fields.css")),
        facts=_facts(summary),
        badges=tag("li", NOT_A_DEVICE),
        sections=join(*sections),
        footer=_footer(),
    )


def _facts(summary: Summary) -> Markup:
    created = summary.created
    when = tag(
        "time",
        f"{created:%Y-%m-%d %H:%M %Z}".strip(),
        datetime=created.isoformat(timespec="seconds"),
    )
    return join(
        tag("b", counted(summary.counts.fields.n, "field")),
        ". Detector ",
        _model(summary.detector),
        ", classifier ",
        _model(summary.classifier) if summary.classifier else "none",
        f". HematoVision {summary.version}. ",
        when,
    )


def _model(model: ModelUsed) -> Markup:
    return join(tag("b", _short(model.name)), f" ({model.sha256[:_HASH]})")


# --- sections ------------------------------------------------------------------------------------


def _section(title: str, *content: Content, class_: str | None = None) -> Markup:
    return tag("section", tag("h2", title), *content, _BREAK, class_=class_)


def _table(
    head: Sequence[Content],
    rows: Iterable[Sequence[Content]],
    numbers: int = 0,
    class_: str | None = None,
) -> Markup:
    """Return a table whose cells may be `Markup` of ``td``; columns from `numbers` on are right."""
    top = tag("tr", *(_cell("th", text, i >= numbers) for i, text in enumerate(head)))
    body = (
        tag("tr", *(_cell("td", text, i >= numbers) for i, text in enumerate(row))) for row in rows
    )
    table = tag("table", tag("thead", top), tag("tbody", *body), class_=class_)
    return tag("div", table, class_="scroll")


def _cell(kind: str, content: Content, right: bool) -> Markup:  # noqa: FBT001
    if isinstance(content, Markup) and content.startswith(("<td", "<th")):
        return content
    return tag(kind, content, class_="n" if right else None)


def _key(summary: Summary) -> Markup:
    counts = summary.counts
    platelets, sizes = counts.platelets, counts.red_cell_sizes
    tiles = [
        _tile(name, f"{counts.cells[label].n:,}", _per_field(summary, label))
        for label, name in _LABELS.items()
    ]
    tiles.append(
        _tile(
            "Platelets per 1,000 red cells",
            number(platelets.per_1000_rbc, 1),
            _limits(platelets.interval, 1) if platelets.red_cells else "no red cells",
        )
    )
    if platelets.rbc_count is not None:
        tiles.append(
            _tile(
                "Platelets, estimated, 10⁹/L",
                number(platelets.estimate, 0),
                f"{_limits(platelets.estimate_interval, 0)}, "
                f"at {platelets.rbc_count:g}\u00a0{PER_PL}",
            )
        )
    note = f"needs {FEWEST_CELLS} red cells" if sizes.cv is None else interval(sizes.cv_interval)
    tiles.append(_tile("Anisocytosis: CV of the diameter", percent(sizes.cv), note))
    return tag("section", tag("dl", *tiles, class_="tiles"), _BREAK, aria_label="Key counts")


def _tile(name: str, value: str, note: str) -> Markup:
    return tag("div", tag("dt", name), tag("dd", value, tag("small", note)))


def _per_field(summary: Summary, label: str) -> str:
    count = summary.counts.cells[label]
    if count.mean is None:
        return "no field"
    if summary.counts.fields.read == 1:
        return "in one field"
    return f"{count.mean:.1f} a field, {count.fewest:,} to {count.most:,}"


def _limits(ends: Interval | None, digits: int) -> str:
    if ends is None:
        return number(None)
    return f"{number(ends[0], digits)} to {number(ends[1], digits)}"


def _notes(notes: Sequence[str]) -> Markup:
    if not notes:
        return Markup("")
    return _section("Caveats", tag("ul", *(tag("li", note) for note in notes)), class_="notes")


def _differential(found: Differential) -> Markup:
    title = f"Differential of {counted(found.n, 'white cell')}"
    if not found.n:
        return _section("Differential", tag("p", "No white cells."), *_nucleated(found))
    is_absolute = any(one.absolute is not None for one in found.classes.values())
    most = _scale_end(found)
    has_fractions = found.classes[UNCLASSIFIED].fraction is not None
    head: list[Content] = ["Class", "Cells", *["%", "95% limits"] * has_fractions]
    if is_absolute:
        head += [tag("th", "10⁹/L", class_="n absolute"), "95% limits"]
    end = f"{most:.0%}" if has_fractions else counted(round(most), "cell")
    head.append(tag("th", f"Scale: 0 to {end}", class_="n chart-head"))
    rows = []
    for name, one in found.classes.items():
        row: list[Content] = [tag("th", _title(name), scope="row"), f"{one.n:,}"]
        if has_fractions:
            row += [percent(one.fraction), interval(one.interval)]
        if is_absolute:
            row.append(tag("td", number(one.absolute, 2), class_="n absolute"))
            row.append(_limits(one.absolute_interval, 2))
        value = one.n if one.fraction is None else one.fraction
        row.append(tag("td", bar(value, one.interval, most), class_="chart-cell"))
        rows.append(row)
    kind = "kinds-table" if has_fractions else "kinds-table few"
    return _section(title, _table(head, rows, 1, kind), *_nucleated(found))


def _scale_end(found: Differential) -> float:
    """Return the end of the bars' scale: the largest limit, rounded up, or the largest count."""
    limits = [one.interval[1] for one in found.classes.values() if one.interval]
    if not limits:
        return max(one.n for one in found.classes.values())
    return math.ceil(10 * max(limits) - 1e-9) / 10


def _nucleated(found: Differential) -> tuple[Markup, ...]:
    cells = found.nucleated_red_cells
    text = f"Nucleated red cells: {cells.n:,}"
    if cells.per_100_wbc is not None:
        text += f", {cells.per_100_wbc:.1f} per 100 white cells ({_limits(cells.interval, 1)})"
    if found.wbc_count is not None:
        text += f". White cells by the analyser: {found.wbc_count:g}\u00a0{PER_NL}"
    if found.wbc_corrected is not None:
        text += f", corrected for nucleated red cells {found.wbc_corrected:.2f}\u00a0{PER_NL}"
    return (tag("p", f"{text}.", class_="soft after"),)


def _gallery(summary: Summary, sample: CellSample, read_crops: CropReader) -> Markup:
    found = summary.counts.differential
    kinds = [*found.classes, _NUCLEATED]
    chosen = sample.choose(kinds, GALLERY)
    if not chosen:
        return Markup("")
    totals = {name: one.n for name, one in found.classes.items()}
    totals[_NUCLEATED] = found.nucleated_red_cells.n
    crops = _read_all([cell for cells in chosen.values() for cell in cells], read_crops)
    groups = [
        tag(
            "div",
            tag("h3", _title(kind), " ", tag("small", f"{len(cells)} of {totals[kind]:,}")),
            tag("ul", *(_thumbnail(kind, cell, crops[cell]) for cell in cells)),
        )
        for kind, cells in chosen.items()
    ]
    text = (
        "Sampled at random from each class, with the confidence of the class. Of unclassified "
        "cells, the most likely class."
    )
    return _section(
        "White cells", tag("p", text, class_="soft"), tag("div", *groups, class_="kinds")
    )


def _read_all(cells: Sequence[CellRow], read_crops: CropReader) -> Mapping[CellRow, Markup]:
    """Read the cells of one field after the other; a cell that can't be read is stated."""
    by_image = defaultdict[str, list[CellRow]](list)
    for cell in cells:
        by_image[cell.image].append(cell)
    found = {}
    for image, here in by_image.items():
        boxes = [(cell.x_min, cell.y_min, cell.x_max, cell.y_max) for cell in here]
        for cell, crop in zip(here, read_crops(image, boxes), strict=True):
            found[cell] = (
                tag("div", "can't be read", class_="lost")
                if crop is None
                else tag("img", src=Markup(data_uri(crop, _SIDE)), alt=cell.subtype or cell.label)
            )
    return found


def _thumbnail(kind: str, cell: CellRow, image: Markup) -> Markup:
    sure = cell.confidence if cell.subtype_confidence is None else cell.subtype_confidence
    likely = f"{cell.subtype or cell.label} " if kind == UNCLASSIFIED else ""
    hint = f"{cell.image}: {cell.reason}" if cell.reason else cell.image
    # Rounded up to 100%, a confidence would claim certainty.
    text = percent(sure) if 0.995 <= sure < 1 else f"{sure:.0%}"
    return tag("li", image, f"{likely}{text}", title=hint, class_="named" if likely else None)


def _sizes(summary: Summary) -> Markup:
    sizes = summary.counts.red_cell_sizes
    text = (
        "Whole, accepted red cells only. The variation of the diameter is not the RDW, which is "
        "that of the volume."
    )
    rows = (
        tag("tr", tag("th", name, scope="row"), tag("td", value))
        for name, value in (*_size_rows(sizes), *_platelet_rows(summary.counts.platelets))
    )
    content = tag("table", tag("tbody", *rows))
    if sizes.n:
        chart = size_chart(sizes.histogram, sizes.unit, sizes.mean)
        content = tag(
            "div", tag("div", chart, tag("p", text, class_="soft")), content, class_="two measures"
        )
    return _section("Red cells and platelets", content, class_="together")


def _size_rows(sizes: SizeDistribution) -> tuple[tuple[str, str], ...]:
    measured = ("Red cells measured", f"{sizes.n:,}")
    if sizes.mean is None:
        return (measured, ("Diameter", f"needs {FEWEST_CELLS} red cells"))
    unit = _UNITS[sizes.unit]
    return (
        measured,
        ("Mean diameter", f"{number(sizes.mean, 2)} {unit}"),
        ("Standard deviation", f"{number(sizes.sd, 2)} {unit}"),
        ("Coefficient of variation", f"{percent(sizes.cv)} ({interval(sizes.cv_interval)})"),
    )


def _platelet_rows(found: PlateletCount) -> tuple[tuple[str, str], ...]:
    red = counted(found.red_cells, "red cell")
    ratio = f"{number(found.per_1000_rbc, 1)} ({_limits(found.interval, 1)})"
    return (
        ("Platelets counted", f"{found.platelets:,} for {red}"),
        ("Platelets per 1,000 red cells", ratio if found.red_cells else "no red cells"),
        ("Platelets, estimated", _estimate(found)),
    )


def _estimate(found: PlateletCount) -> str:
    if found.rbc_count is None:
        return "needs the analyser's red-cell count (--rbc-count)"
    if found.estimate is None:
        return "no red cells"
    limits = _limits(found.estimate_interval, 0)
    return (
        f"{found.estimate:.0f}\u00a0{PER_NL} ({limits}), at {found.rbc_count:g}\u00a0{PER_PL} "
        "red cells"
    )


def _quality(summary: Summary, fields: Iterable[FieldRow]) -> Markup:
    chosen = _worst(fields)
    counts = summary.counts.fields
    if not chosen:
        return Markup("")
    head: list[Content] = ["Field", *_COLUMNS]
    if has_flags := any(row.flags for row in chosen):
        head.append(tag("th", "Flags"))
    rows = [
        _field(row, name, has_flags) for row, name in zip(chosen, _field_names(chosen), strict=True)
    ]
    flags = "; ".join(f"{flag}: {counted(n, 'field')}" for flag, n in counts.flags.items())
    shown = f"{len(chosen)} of {counted(counts.n, 'field')}" if len(chosen) < counts.n else ""
    text = ". ".join(
        filter(None, (shown and f"{shown} shown, unreadable and flagged ones first", flags))
    )
    return _section(
        "Quality of the fields",
        tag("p", f"{_cut(text, _LONGEST_LIST)}.", class_="soft") if text else "",
        _table(head, rows, 1, "fields-table flagged" if has_flags else "fields-table"),
    )


def _worst(fields: Iterable[FieldRow]) -> list[FieldRow]:
    """Return the fields to list: unreadable and flagged ones first, then in order."""
    ranked = ((not row.error, not row.flags, i, row) for i, row in enumerate(fields))
    return [row for *_, row in heapq.nsmallest(FIELDS_SHOWN, ranked, key=lambda one: one[:3])]


def _field_names(rows: Sequence[FieldRow]) -> list[str]:
    """Return the names of files, with folders if needed to distinguish them."""
    parts = [PurePath(row.image).parts or (row.image,) for row in rows]
    for depth in range(1, _DEEPEST):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(zip(names, (row.region for row in rows), strict=True))) == len(rows):
            break
    return names


def _field(row: FieldRow, name: str, has_flags: bool) -> list[Content]:  # noqa: FBT001
    label = f"{_short(name)} ({row.region})" if row.region else _short(name)
    first = tag("td", breakable(label), class_="name field-name", title=row.image)
    if row.error:
        reason = f"could not be read: {_cut(row.error, _LONGEST_ERROR)}"
        return [first, tag("td", reason, colspan=len(_COLUMNS) + has_flags, class_="name")]
    numbers = (row.rbc, row.wbc, row.platelets, row.review)
    values = (
        *("" if n is None else f"{n:,}" for n in numbers),
        number(row.rbc_diameter_px, 0),
        number(row.focus, 2),
        percent(row.overlap),
        percent(row.saturation),
    )
    cells = (
        tag("td", value, class_="n", data_label=column)
        for column, value in zip(_COLUMNS, values, strict=True)
    )
    if not has_flags:
        return [first, *cells]
    kind = "name flags" if row.flags else "name no-flags"
    return [first, *cells, tag("td", _cut(row.flags, _LONGEST_FLAGS) or "none", class_=kind)]


def _excluded(summary: Summary) -> Markup:
    counts = summary.counts
    sizes, unreadable = counts.red_cell_sizes, counts.fields.unreadable
    review = {label: count.review for label, count in counts.cells.items()}
    unsized = {"at the border": sizes.on_edge, "without a scale": sizes.no_scale}
    rows = (
        ("Fields", f"{unreadable:,}" if unreadable else "", "could not be read, see fields.csv"),
        (
            "Cells cut by the border",
            _listed(counts.not_counted),
            "not counted, by the edge rule",
        ),
        (
            "Cells for review",
            _listed(review),
            f"counted; white cells as {UNCLASSIFIED}, red cells without their size",
        ),
        (
            "Red cells not measured",
            ", ".join(f"{n:,} {where}" for where, n in unsized.items() if n),
            "their diameter is not known",
        ),
    )
    body = [
        tag("tr", tag("th", what, scope="row"), tag("td", f"{number}: {why}", class_="name"))
        for what, number, why in rows
        if number
    ]
    table = tag("table", tag("tbody", *body)) if body else tag("p", "Nothing was left out.")
    return _section("Left out or uncertain", table)


def _listed(counts: Mapping[str, int]) -> str:
    """List numbers of cells by label: ``12 red, 1 white``."""
    return ", ".join(counted(n, *_NOUNS[label]) for label, n in counts.items() if n)


def _models(summary: Summary) -> Markup:
    settings = "; ".join(
        f"{name}: {'none' if value is None else value}" for name, value in summary.settings.items()
    )
    sources = ", ".join(
        f"{source} ({counted(n, 'field')})"
        for source, n in summary.counts.fields.scale_sources.items()
    )
    rows = (
        ("Detector", _identified(summary.detector)),
        ("Classifier", _identified(summary.classifier)),
        ("Settings", _short(settings, _LONGEST_LIST)),
        ("Scale from", sources),
    )
    body = (
        tag("tr", tag("th", name, scope="row"), tag("td", value, class_="name"))
        for name, value in rows
        if value
    )
    return _section("Models and settings", tag("table", tag("tbody", *body), class_="details"))


def _identified(model: ModelUsed | None) -> str:
    return "none" if model is None else f"{_short(model.name)}, SHA-256 {model.sha256}"


def _footer() -> Markup:
    text = (
        f"{NOT_A_DEVICE} Not a diagnosis. Limits are exact 95% limits for cells sampled at random: "
        "Clopper-Pearson for percentages, as in Rümke's table, and Poisson for numbers. They do "
        "not cover cells that a model misses or confuses, nor an uneven smear. All cells are in "
        "cells.csv, all fields in fields.csv, all counts in summary.json."
    )
    return tag("p", text)


# --- names ---------------------------------------------------------------------------------------


def _title(kind: str) -> str:
    return _TITLES.get(kind) or _short(kind)


def _short(text: str, most: int = _LONGEST) -> str:
    """Shorten a long name in its middle: the end often distinguishes files."""
    if len(text) <= most:
        return text
    half = (most - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def _cut(text: str, most: int) -> str:
    """Shorten a long text at its end."""
    if len(text) <= most:
        return text
    return f"{text[: most - 1].rsplit(' ', 1)[0].rstrip(' ,;:.')}…"
