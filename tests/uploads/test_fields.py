"""Uploaded fields are analysed in memory, and their archive has the files of the command."""

import io
import zipfile

from hematovision import images
from hematovision.fields.rows import CELL_SCHEMA
from hematovision.model.inference import Item
from hematovision.uploads.fields import analyze_uploads
from hematovision.uploads.receiving import receive
from hematovision.workflows.analyze import AnalyzeOptions, run_analysis
from hematovision.workflows.analyze.engine import LocalEngine
from square_finder import field, opened_finder, write_field

CELLS = ("RBC", "RBC", "WBC", "RBC", "Platelets", "?")
PNG = images.encode_png(field(CELLS))


def analysed(*uploads: tuple[str, bytes], **options):
    chosen = AnalyzeOptions(**options)
    return analyze_uploads(opened_finder(), receive(uploads), chosen, total=len(uploads))


def test_fields_have_their_cells_and_overlays():
    found = analysed(("a.png", PNG), ("text.png", b"text"), ("b.png", PNG), rbc_count=4.8)
    assert [one.field.image for one in found.fields] == ["a.png", "text.png", "b.png"]
    assert [len(one.cells) for one in found.fields] == [6, 0, 6]
    assert [bool(one.overlay) for one in found.fields] == [True, False, True]
    assert images.read(found.fields[0].overlay).shape[1] == 1024
    assert found.summary.counts.cells["RBC"].n == 4
    assert found.summary.counts.platelets.estimate == 2 / 4 * 1000 * 4.8
    assert (found.summary.sample, found.summary.counts.fields.unreadable) == ("3 uploads", 1)


def test_equal_names_get_a_number():
    found = analysed(("a.png", PNG), ("a.png", images.encode_png(field(["WBC"] * 3))))
    assert [one.field.image for one in found.fields] == ["a.png", "a.png (2)"]
    assert {cell.image for cell in found.fields[1].cells} == {"a.png (2)"}


def test_progress_is_reported_for_each_field():
    steps = []
    items = [Item("a.png", PNG), Item("b.png", PNG)]
    analyze_uploads(
        opened_finder(),
        items,
        AnalyzeOptions(),
        total=2,
        progress=lambda *step: steps.append(step),
    )
    assert steps == [(1, 2, "Analysing fields", "fields"), (2, 2, "Analysing fields", "fields")]


def test_the_archive_has_the_tables_of_the_command(tmp_path):
    found = analysed(("a.png", PNG), ("../../etc/b.png", PNG))
    with zipfile.ZipFile(io.BytesIO(found.archive())) as archive:
        names = archive.namelist()
        cells = archive.read("cells.csv").decode().splitlines()
        overlay = archive.read("overlays/001-a.jpg")
    assert names == [
        "cells.csv", "fields.csv", "summary.json", "report.html", "overlays/001-a.jpg", names[-1],
    ]  # fmt: skip
    assert names[-1].startswith("overlays/002-")
    assert ".." not in names[-1]
    assert overlay == found.fields[0].overlay
    write_field(tmp_path / "fields" / "a.png", CELLS)
    run_analysis(
        opened_finder(),
        [str(tmp_path / "fields")],
        tmp_path / "out",
        AnalyzeOptions(),
        resume=False,
        engine=LocalEngine(),
        progress=lambda *step: None,
    )
    expected = (tmp_path / "out" / "cells.csv").read_text().splitlines()
    assert cells[0] == expected[0] == ",".join(CELL_SCHEMA.names)
    path = str(tmp_path / "fields" / "a.png")
    assert cells[1:7] == [row.replace(path, "a.png") for row in expected[1:7]]


def test_an_upload_without_a_readable_field_has_a_report_too():
    found = analysed(("text.png", b"text"))
    assert "text.png" in found.report
    assert found.summary.counts.fields.read == 0
