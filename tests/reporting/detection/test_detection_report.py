"""The report of a detector's evaluation, its tables and figures."""

import csv
import re
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from detected_fields import CLASSES, field, random_fields
from hematovision.evaluation.detection import FieldBaseline, evaluate_fields
from hematovision.reporting.detection import (
    DrawnField,
    worst_fields,
    write_cell_table,
    write_field_table,
    write_figures,
)
from hematovision.reporting.detection.figures import drawings
from hematovision.reporting.detection.page import render_detection_report
from hematovision.reporting.plots import svg
from hematovision.reporting.report import ReportFacts

FACTS = ReportFacts("<fields>", "blood-fields", "fields", "test", details={"Backbone": "tiny"})
GOOD = field([(50, 50, 0)], [(50, 50, 0, 0.9)], "good")
BAD = field(
    [(50, 50, 0), (90, 90, 1)], [(10, 10, 2, 0.9), (50, 50, 0, 0.8)], "bad", group="patient 1"
)


def page(fields, **facts) -> str:
    metrics = evaluate_fields(fields, CLASSES)
    scores = replace(FieldBaseline("<rule>", "12 fields", None, {}), counts={})
    counts = {"RBC": metrics.per_class["RBC"].counts}
    metrics = replace(metrics, baselines={"area": replace(scores, counts=counts)})
    return render_detection_report(metrics, replace(FACTS, **facts), fields)


def test_the_report_states_scores_counts_and_baselines():
    text = page([GOOD, BAD])
    assert "&lt;fields&gt;" in text
    assert "<rule>" not in text
    assert "Stained area" in text
    assert "fitted on 12 fields" in text
    assert re.search(r"This detector<small>mean F1 [\d.]+%</small>", text)
    assert "count off by 0.50" in text  # in one of two fields, by one
    assert re.search(r"RBC</th>\s*<td class=\"n\">100%", text)
    assert text.count("data:image/svg+xml") == 3
    assert "<script" not in text
    assert "Labs" not in text


def test_the_report_has_a_table_of_labs_if_there_are_several(monkeypatch):
    monkeypatch.setattr("hematovision.reporting.detection.page.svg", lambda *_: "<svg/>")
    text = page([replace(GOOD, lab="Basel"), replace(BAD, lab="Tehran")])
    assert "<h2>Labs</h2>" in text
    assert ">Tehran</th>" in text
    assert "Synthetic images" not in text
    assert "Synthetic images" in page([replace(GOOD, lab="synthetic-a")])


def test_the_table_of_fields_counts_cells_by_class(tmp_path):
    known = replace(GOOD, annotated=frozenset({0, 1}), diameter=36.0, annotated_diameter=35.5)
    path = write_field_table(tmp_path / "fields.csv", [known, BAD], CLASSES, ["too dense", ""])
    good, bad = csv.DictReader(path.read_text().splitlines())
    assert (good["annotated_RBC"], good["found_RBC"], good["matched_RBC"]) == ("1", "1", "1")
    assert good["annotated_Platelets"] == ""  # not annotated
    assert (good["rbc_diameter_px"], good["annotated_rbc_diameter_px"]) == ("36.00", "35.50")
    assert (good["flags"], good["group"]) == ("too dense", "")
    assert (bad["annotated_WBC"], bad["found_WBC"], bad["matched_WBC"]) == ("1", "0", "0")
    assert (bad["found_Platelets"], bad["group"]) == ("1", "patient 1")


def test_the_table_of_cells_lists_correct_false_and_missed_ones(tmp_path):
    path = write_cell_table(tmp_path / "predictions.csv", [BAD], CLASSES)
    rows = [
        (row["result"], row["label"], row["confidence"], row["x_min"])
        for row in csv.DictReader(path.read_text().splitlines())
    ]
    assert rows == [
        ("correct", "RBC", "0.800000", "45.00"),
        ("missed", "WBC", "", "85.00"),
        ("false", "Platelets", "0.900000", "5.00"),
    ]


def test_the_worst_fields_come_first_and_those_without_errors_never():
    unannotated = replace(BAD, annotated=frozenset({0}), name="red cells only")
    assert worst_fields([GOOD, BAD, unannotated]) == [1]
    fields = [replace(BAD, name=name) for name in "cba"]
    assert worst_fields([*fields, GOOD], most=2) == [2, 1]


def test_outlines_differ_for_correct_false_and_missed_cells():
    pixels = np.full((100, 120, 3), 230, np.uint8)
    shown = DrawnField.of(BAD, pixels)
    assert (shown.correct, shown.false, shown.missed) == (1, 1, 1)
    assert shown.image.startswith(b"\xff\xd8")
    assert shown.image != DrawnField.of(GOOD, pixels).image
    page_with = render_detection_report(evaluate_fields([BAD], CLASSES), FACTS, [BAD], [shown])
    assert 'alt="bad: 1 correct, 1 false, 1 missed cells"' in page_with


def test_figures_are_written_as_svg_and_png(tmp_path):
    fields = random_fields(5)
    write_figures(tmp_path, evaluate_fields(fields, CLASSES), fields)
    assert len(list(tmp_path.glob("*.svg"))) == len(list(tmp_path.glob("*.png"))) == 3
    assert "average precision" in (tmp_path / "precision_recall.svg").read_text()
    assert "found - annotated" in (tmp_path / "count_agreement.svg").read_text()


def test_differences_of_counts_are_whole_cells():
    axes = plotted("count_agreement", [GOOD, replace(GOOD, name="other")])[0]
    low, high = axes.get_ylim()
    assert low <= -1
    assert high >= 1
    assert all(tick == round(tick) for tick in axes.get_yticks())


def test_the_sensitivity_stays_when_all_found_cells_are_used():
    (axes,) = plotted("froc", [GOOD, BAD])
    ends = {line.get_label(): (line.get_xdata()[-1], line.get_ydata()[-1]) for line in axes.lines}
    assert ends == {"RBC": (16, 1.0), "WBC": (16, 0.0)}  # the white cell is missed


def plotted(name, fields):
    figure = Figure()
    drawings(evaluate_fields(fields, CLASSES), fields)[name].draw(figure)
    return figure.axes


def test_figures_of_a_single_field_can_be_plotted():
    plotted = drawings(evaluate_fields([GOOD], CLASSES), [GOOD])
    assert all(svg(*drawing).startswith("<?xml") for drawing in plotted.values())
