"""Writes what an analysis leaves in its folder: tables, exports, overlays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from hematovision import images
from hematovision.errors import ImageError
from hematovision.fields.overlay import draw_cells
from hematovision.fields.rows import CELL_SCHEMA, FIELD_SCHEMA, CellRow, FieldRow
from hematovision.files import delete_all_leftovers, writing
from hematovision.model.inference import Source, ahead
from hematovision.model.session import usable_cpus
from hematovision.progress import Progress
from hematovision.reporting.fields import REPORT
from hematovision.tables.sinks import SUFFIXES, Table, open_table
from hematovision.tables.store import RunItem
from hematovision.workflows.analyze.options import AnalyzeOptions
from hematovision.workflows.analyze.pixels import image_size, opened_pixels
from hematovision.workflows.analyze.results import AnalyzedImage, Results
from hematovision.workflows.classify import overlay_names

if TYPE_CHECKING:
    from hematovision.data.formats.export import Export

__all__ = ["OVERLAYS", "remove_outputs", "write_overlays", "write_tables"]

OVERLAYS = "overlays"
"""The folder of the overlays."""

_TABLES = ("cells", "fields")


def remove_outputs(folder: Path, last: str) -> None:
    """Remove files of an earlier run that would contradict the new ones.

    These are leftovers of killed processes, tables, which may have another format, and overlays,
    whose images may be gone. `last` is the file that marks a folder as complete.
    """
    delete_all_leftovers(folder)
    names = [last, REPORT, *(f"{table}{suffix}" for table in _TABLES for suffix in SUFFIXES)]
    with writing(folder):
        for name in names:
            (folder / name).unlink(missing_ok=True)
        for overlay in (folder / OVERLAYS).rglob("*.jpg"):
            overlay.unlink()


def write_tables(
    folder: Path,
    results: Results,
    options: AnalyzeOptions,
    names: Sequence[str],
    *,
    model: str,
    subtypes: Sequence[str],
    source: Callable[[RunItem], Source],
    count: Callable[[FieldRow, Iterable[CellRow]], None],
    each: Callable[[FieldRow], None],
    progress: Progress,
) -> None:
    """Write ``cells`` and ``fields``, and the exports, in one pass and constant memory.

    `names` are those of the images in their rows, in order; `model` and `subtypes` are for the
    exports: the name of the model, and the kinds of white cells that it knows. `source` returns an
    image for a second look. `count` is called with every field or region and its cells, `each` with
    the row of every image.
    """
    suffix = f".{options.format}"
    with ExitStack() as stack:
        cells = stack.enter_context(open_table(folder / f"cells{suffix}", CELL_SCHEMA))
        fields = stack.enter_context(open_table(folder / f"fields{suffix}", FIELD_SCHEMA))
        exports = [
            stack.enter_context(_export(name, folder, names, subtypes, model))
            for name in options.exports
        ]
        for done, image in enumerate(results.images(), 1):
            fields.write(image.field.values())
            each(image.field)
            begun = [export for export in exports if _begin(export, image, source)]
            for field, found in image.parts():
                count(field, _written(found, cells, begun))
            progress(done, len(names), "Writing the tables", "fields")


def _export(
    name: str, folder: Path, images: Sequence[str], subtypes: Sequence[str], model: str
) -> AbstractContextManager[Export]:
    from hematovision.data.formats.export import open_export  # as in `options`

    return open_export(name, folder / name, images=images, subtypes=subtypes, model=model)


def _written(
    found: Iterable[CellRow], table: Table, exports: Sequence[Export]
) -> Iterator[CellRow]:
    """Write each cell, then yield it."""
    for cell in found:
        values = cell.values()
        table.write(values)
        for export in exports:
            export.cell(values)
        yield cell


def _begin(export: Export, image: AnalyzedImage, source: Callable[[RunItem], Source]) -> bool:
    """Start a field of an export, of the size of the whole image; False if it is unreadable."""
    field, item = image.field, image.items[0]
    width, height = field.width, field.height
    if item.region and not field.error:
        width, height = image_size(source(item), field.image)
    if field.error or not width or not height:
        return False
    export.field(field.image, width, height)
    return True


def write_overlays(
    folder: Path,
    results: Results,
    paths: Sequence[Path],
    source: Callable[[RunItem], Source],
    progress: Progress,
) -> int:
    """Draw every readable image with its cells into ``overlays``; return the number of overlays.

    `paths` are the images of `results`, in order. Images read by region have none: they may be too
    large to draw.
    """
    budget = images.PixelBudget()

    def work(given: tuple[PurePath, AnalyzedImage]) -> bool:
        name, image = given
        if image.field.error or image.items[0].region:
            return False
        return _draw(folder / OVERLAYS / name, image, source(image.items[0]), budget)

    named = zip(overlay_names(paths, ".jpg"), results.images(), strict=True)
    written = 0
    with closing(ahead(work, named, usable_cpus())) as overlays:
        for done, is_new in enumerate(overlays, 1):
            written += is_new
            progress(done, len(paths), "Drawing overlays", "images")
    return written


def _draw(path: Path, image: AnalyzedImage, source: Source, budget: images.PixelBudget) -> bool:
    field = image.field
    try:
        with opened_pixels(source, field.image, budget) as pixels:
            overlay = draw_cells(pixels, image.cells(), rbc_diameter_px=field.rbc_diameter_px)
    except (ImageError, MemoryError):  # readable a moment ago; its rows stay
        return False
    images.write(path, overlay)
    return True
