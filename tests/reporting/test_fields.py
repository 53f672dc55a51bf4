"""The report of a field analysis is one safe file that prints on two pages, whatever the fields."""

import base64
import io
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from field_rows import FIELD, cell
from hematovision.errors import OutputError
from hematovision.fields.counts import Tally
from hematovision.fields.rows import FieldRow
from hematovision.fields.summary import ModelUsed, Summary
from hematovision.reporting.fields import FIELDS_SHOWN, GALLERY, render_report, write_report
from hematovision.taxonomy import PBC8

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
KINDS = ("basophil", "eosinophil", "ig", "lymphocyte", "monocyte", "neutrophil")


def crops(image, boxes):
    """A grey crop of each box."""
    return [np.full((90, 90, 3), 200, np.uint8) for _ in boxes]


def field(name="a.png", *, red=20, kinds=KINDS, platelets=2, cut=False, **changes):
    cells = [cell(image=name, x=40.0 * i, width=33 + i % 7) for i in range(red)]
    cells += [cell("WBC", kind, 60.0 * i, 200.0, 80, image=name) for i, kind in enumerate(kinds)]
    cells += [cell("Platelets", x=20.0 * i, width=9, image=name) for i in range(platelets)]
    cells += [replace(one, on_edge=True, counted=False) for one in cells] if cut else []
    counts = {"rbc": red, "wbc": len(kinds), "platelets": platelets}
    return replace(FIELD, image=name, **counts, **changes), cells


class Page(HTMLParser):
    """Collects tags, and the text of each section by its heading."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.images, self.sections = [], [], {"": ""}
        self._heading, self._here = None, ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.images += [dict(attrs)["src"]] if tag == "img" else []
        if tag == "h2":
            self._heading = ""
        if tag == "wbr":  # within a word
            self.sections[self._here] = self.sections[self._here].rstrip()

    def handle_endtag(self, tag):
        if tag == "h2":
            self._here, self._heading = self._heading, None
            self.sections[self._here] = ""

    def handle_data(self, data):
        if self._heading is not None:
            self._heading += data
        else:
            self.sections[self._here] += f"{data} "


def summarised(fields, *, sample="s1", classifier=True, settings=None, **given):
    tally = Tally(PBC8.classes if classifier else ())
    for row, cells in fields:
        tally.add(row, cells)
    return tally, Summary(
        sample,
        ModelUsed("blood-fields", "ab" * 32),
        ModelUsed("pbc8", "cd" * 32) if classifier else None,
        tally.counts(**given),
        settings or {"edges": "two"},
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    )


def rendered(fields, *, read_crops=crops, **given):
    tally, summary = summarised(fields, **given)
    rows = (row for row, _ in fields)
    return render_report(summary, fields=rows, sample=tally.sample, read_crops=read_crops)


def page(fields, **given):
    return Page(rendered(fields, **given))


def test_the_page_states_sample_date_models_and_their_hashes():
    found = page([field()])
    head = found.sections[""]
    for text in ("s1", "1 field", "2026-01-02 03:04 UTC", "blood-fields", "abababababab", "Not a"):
        assert text in head
    models = found.sections["Models and settings"]
    assert "ab" * 32 in models
    assert "cd" * 32 in models
    assert "edges: two" in models


def test_the_differential_has_limits_and_a_bar_for_each_class():
    fields = [field(f"{i}.png", kinds=(*KINDS, "neutrophil", "neutrophil")) for i in range(10)]
    found = page(fields, wbc_count=8.0)
    text = found.sections["Differential of 80 white cells"]
    assert "neutrophil 30 37.5% 26.9 to 49.0% 3.00 2.15 to 3.92" in text
    assert "immature granulocyte (ig) 10 12.5%" in text
    assert "unclassified 0 0% 0 to 4.5%" in text
    assert "0 to 50%" in text  # the scale of the bars
    assert found.tags.count("svg") == 7 + 1


def test_few_white_cells_have_no_percentages():
    text = page([field()]).sections["Differential of 6 white cells"]
    assert "basophil 1 eosinophil 1" in re.sub(r"\s+", " ", text)
    assert "0 to 1 cell" in text
    assert "%" not in text


def test_platelets_are_estimated_only_from_the_red_cell_count():
    fields = [field(f"{i}.png") for i in range(10)]
    text = page(fields).sections["Red cells and platelets"]
    assert "20 for 200 red cells" in text
    assert "100.0 (61.1 to 154.4)" in text
    assert "needs the analyser's red-cell count" in text
    text = page(fields, rbc_count=4.0).sections["Red cells and platelets"]
    assert "400\u00a0×\u00a010⁹/L (244 to 618)" in text  # noqa: RUF001 - a sign


def test_the_gallery_shows_cells_of_every_class_as_jpeg():
    fields = [field(f"{i}.png", kinds=(*KINDS, "erythroblast")) for i in range(20)]
    found = page(fields)
    assert len(found.images) == GALLERY
    text = found.sections["White cells"]
    assert "basophil  6 of 20" in text
    assert "erythroblast  5 of 20" in text
    head, _, content = found.images[0].partition(";base64,")
    assert head == "data:image/jpeg"
    assert Image.open(io.BytesIO(base64.b64decode(content))).size == (90, 90)


def test_each_field_is_read_once_and_one_that_is_gone_is_stated():
    read = []

    def read_crops(image, boxes):
        read.append((image, len(boxes)))
        return [None] * len(boxes)

    found = page([field("a.png"), field("b.png")], read_crops=read_crops)
    assert sorted(read) == [("a.png", 6), ("b.png", 6)]
    assert not found.images
    assert found.sections["White cells"].count("can't be read") == 12


def test_the_fields_listed_first_are_unreadable_then_flagged():
    good = [field(f"good-{i}.png") for i in range(100)]
    flagged = field("flagged.png", flags="blurred")
    broken = (FieldRow.unreadable("broken.png", "it is empty"), [])
    text = page([*good, flagged, broken]).sections["Quality of the fields"]
    names = re.findall(r"[\w-]+\.png", text)
    assert names[:3] == ["broken.png", "flagged.png", "good-0.png"]
    assert len(names) == FIELDS_SHOWN
    assert "could not be read: it is empty" in text
    assert "10 of 102 fields shown" in text


def test_fields_of_the_same_name_are_shown_with_their_folders():
    names = ["x/s1/1.png", "x/s2/1.png", "x/s2/2.png"]
    text = page([field(name) for name in names]).sections["Quality of the fields"]
    assert re.findall(r"[\w/]+\.png", text) == [
        "s1/1.png",
        "s2/1.png",
        "s2/2.png",
    ]


def test_flags_have_a_column_only_if_a_field_has_one():
    good, flagged = field("good.png"), field("flagged.png", flags="blurred; pale")
    assert "Flags" not in page([good]).sections["Quality of the fields"]
    text = page([good, flagged]).sections["Quality of the fields"]
    assert "Flags" in text
    assert re.search(r"flagged\.png.* blurred; pale .*good\.png.* none", text)


def test_a_long_reason_ends_at_a_word():
    broken = FieldRow.unreadable("x.png", "the header is damaged, " * 20)
    text = page([field(), (broken, [])]).sections["Quality of the fields"]
    assert re.search(r"could not be read: the header .* (the|header|is|damaged)…", text)


def test_what_was_left_out_is_counted_with_the_reason():
    row, cells = field()
    cells += [
        cell(counted=False, on_edge=True),
        cell("WBC", counted=False, on_edge=True),
        cell("WBC", "neutrophil", decision="review", reason="low confidence"),
        cell(decision="review", reason="low confidence"),
        cell("Platelets", decision="review", reason="low confidence"),
    ]
    found = page([(row, cells), (FieldRow.unreadable("x.png", "damaged"), [])])
    text = found.sections["Left out or uncertain"]
    assert "1: could not be read, see fields.csv" in text
    assert "1 red, 1 white: not counted, by the edge rule" in text
    assert "1 red, 1 white, 1 platelet: counted; white cells as unclassified" in text
    assert "1 at the border: their diameter is not known" in text
    assert "Nothing was left out." in page([field()]).sections["Left out or uncertain"]


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [(replace(FIELD, flags="no red cells found", scale_source="none"), [])],
        [(FieldRow.unreadable("x.png", "it is empty"), [])],
        [field(red=0, kinds=(), platelets=3)],
    ],
    ids=["no fields", "no cells", "no readable field", "platelets only"],
)
def test_without_white_cells_the_page_is_complete(fields):
    found = page(fields, rbc_count=4.0, wbc_count=5.0)
    assert "No white cells." in found.sections["Differential"]
    assert found.sections["Caveats"].strip()
    assert "blood-fields" in found.sections["Models and settings"]
    assert "no red cells" in found.sections["Red cells and platelets"]
    assert "nan" not in rendered(fields).replace("nant", "")


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&\u202e\udcff{{7*7}}$sections"


def test_names_cannot_add_markup_and_the_page_loads_nothing():
    row, cells = field(HOSTILE, kinds=(HOSTILE,), flags=HOSTILE)
    html = rendered([(row, cells)], sample=HOSTILE)
    assert "script-src" not in html
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in html
    found = Page(html)
    assert "script" not in found.tags
    assert len(found.images) == 1
    assert found.images[0].startswith("data:image/jpeg")
    assert not re.search(r"<[^>]+\son\w+=", re.sub(r'"[^"]*"', "", html))
    assert "\u202e" not in html
    html.encode("utf-8")
    assert not re.search(r"https?://|url\(|@import", html)


@pytest.mark.parametrize("name", ["Образец № 7", "血液样本", "Blutprobe Müller"])
def test_names_in_any_script_are_kept(name):
    row, cells = field(f"/дата/{name}.png")
    html = rendered([(row, cells)], sample=name)
    assert f"<h1>{name}</h1>" in html
    assert f"{name}.png</td>" in html


def test_the_report_is_written_in_one_piece_or_not_at_all(tmp_path):
    tally, summary = summarised([field()])
    out = write_report(
        tmp_path / "results", summary, fields=[], sample=tally.sample, read_crops=crops
    )
    assert out == tmp_path / "results" / "report.html"
    assert out.read_text(encoding="utf-8").endswith("</html>\n")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        write_report(tmp_path / "file", summary, fields=[], sample=tally.sample, read_crops=crops)


def test_writing_a_report_imports_neither_other_reports_nor_what_they_need():
    code = (
        "import sys, hematovision.reporting.fields; "
        "print(sorted({'jinja2', 'matplotlib', 'pandas', 'tensorflow', 'hematovision.evaluation', "
        "'hematovision.model', 'hematovision.reporting.card'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_large_sample_with_long_names_prints_on_two_pages(tmp_path):
    kinds = (*KINDS, *KINDS, "erythroblast", "")
    long = "a very long name of a field, as instruments write them " * 4
    fields = [
        field(
            f"{long}{i}.png",
            red=40,
            kinds=kinds,
            cut=True,
            flags="too few cells; too dense; blurred; overstained",
        )
        for i in range(60)
    ]
    fields += [(FieldRow.unreadable(f"{long}{i}.png", "it is damaged " * 30), []) for i in range(5)]
    settings = {f"a setting {i}": "its value" for i in range(12)}
    html = rendered(fields, sample=long, settings=settings, rbc_count=4.5, wbc_count=7.0)
    (tmp_path / "report.html").write_text(html, encoding="utf-8")
    assert pages(tmp_path / "report.html") == 2


def pages(html: Path) -> int:
    """Print a page to PDF, and return the number of sheets."""
    pdf = html.with_suffix(".pdf")
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer")
    subprocess.run(
        [CHROMIUM, *options, f"--user-data-dir={html.parent}/profile", f"--print-to-pdf={pdf}",
         html.as_uri()],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    return len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes()))
