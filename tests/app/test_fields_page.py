"""The page for whole fields, run as Streamlit runs it, without a browser."""

import io
import zipfile

import pytest

pytest.importorskip("streamlit", reason="the page needs the extra 'app'")

import streamlit as st
from streamlit.testing.v1 import AppTest

from hematovision import images
from hematovision.app import state
from square_finder import field, opened_finder

PNG = images.encode_png(field(("RBC", "RBC", "WBC", "RBC", "Platelets", "?")))
EMPTY = images.encode_png(field([""]))


def draw() -> None:
    """Show the page; AppTest takes the source of this function, hence the import inside."""
    from hematovision.app.views import fields

    fields.show()


@pytest.fixture(autouse=True)
def chosen(home, monkeypatch) -> list:
    """The options that the analyzer was opened with."""
    chosen = []

    def analyzer(options):
        chosen.append(options)
        return opened_finder()

    monkeypatch.setattr(state, "analyzer", analyzer)
    st.cache_resource.clear()
    return chosen


def ok(at: AppTest) -> AppTest:
    assert not at.exception, [error.message for error in at.exception]
    return at


def page() -> AppTest:
    return ok(AppTest.from_function(draw, default_timeout=120).run())


def upload(at: AppTest, *files: tuple[str, bytes]) -> AppTest:
    at.file_uploader[0].set_value([(name, content, "") for name, content in files])
    return ok(at.run())


def metrics(at: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in at.metric}


def texts(at: AppTest) -> str:
    parts = [*at.markdown, *at.caption, *at.info, *at.warning, *at.error, *at.html]
    return "\n".join(str(part.value) for part in parts)


def test_uploaded_fields_are_counted_and_shown():
    at = upload(page(), ("a.png", PNG), ("b.png", PNG), ("empty.png", EMPTY), ("text.png", b"no"))
    assert metrics(at) == {
        "Fields": "4",
        "Red cells": "4",
        "White cells": "4",
        "Platelets": "2",
        "For review": "2",
    }
    assert "2 red, 2 white, 1 platelet; 1 for review" in texts(at).replace("<b>", "")
    assert "no red cells found" in texts(at)
    assert "Platelets per 1,000 red cells: 500.0 (95% limits " in texts(at)
    assert "estimated" not in texts(at)
    assert "Could not be read" in texts(at)
    assert "lymphocyte" in at.dataframe[0].value.to_string()
    assert list(at.dataframe[0].value) == ["class", "cells"]  # too few for percentages
    assert len(at.dataframe[1].value) == 12
    # Streamlit takes a text without tags for the name of a file, and warns if there is one.
    assert [one.value for one in at.html if not str(one.value).startswith("<")] == []


def test_a_synthetic_field_can_be_tried():
    at = page()
    (button,) = [one for one in at.button if one.label == "Try it with a synthetic field"]
    assert metrics(ok(button.click().run()))["Fields"] == "1"


def test_settings_are_used(chosen):
    at = page()
    ok(at.selectbox[0].select("all").run())
    ok(at.number_input[0].set_value(41.0).run())
    ok(at.number_input[1].set_value(4.5).run())
    upload(at, ("a.png", PNG))
    assert "Platelets, estimated: " in texts(at)
    (options,) = chosen
    assert (options.edges, options.rbc_diameter, options.rbc_count) == ("all", 41.0, 4.5)


def test_the_results_can_be_downloaded():
    at = upload(page(), ("a.png", PNG))
    content = at.session_state["fields-result"].archive()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist()[-1] == "overlays/001-a.jpg"


def test_other_fields_replace_the_first():
    at = upload(page(), ("a.png", PNG))
    at = upload(at, ("b.png", EMPTY))
    assert metrics(at)["Red cells"] == "0"
    assert metrics(at)["Fields"] == "1"
