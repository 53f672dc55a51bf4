"""Predictions as HTML, and colours that everybody can read."""

import re
from dataclasses import replace

import pytest

pytest.importorskip("streamlit", reason="the page needs the extra 'app'")

from hematovision.app.display import LIGHT_TEXT_FROM
from hematovision.app.theme import (
    ACCEPTED,
    FILLED,
    REVIEW,
    SHARE_COLOURS,
    STYLE,
    THEME,
    bars_html,
    decision_html,
    prediction_html,
    text_html,
)
from hematovision.model.prediction import Prediction


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours (WCAG 2.1)."""

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_bars_are_sorted_and_the_last_one_sums_up_the_rest():
    html = bars_html(("a", "b", "c", "d", "e"), (0.05, 0.6, 0.2, 0.1, 0.05), most=3)
    assert re.findall(r"hv-number\">([^<]+)<", html) == ["60.0%", "20.0%", "20.0%"]
    assert re.findall(r'title="([^"]+)"', html) == ["b", "c", "3 others"]


def test_no_probability_below_one_is_shown_as_100_percent():
    assert "99.9%" in bars_html(("a", "b"), (0.99996, 0.00004))
    assert "100.0%" in bars_html(("a", "b"), (1.0, 0.0))


def test_names_of_files_and_classes_are_escaped():
    evil = '<img src=x onerror="alert(1)">'
    prediction = Prediction(evil, (evil, "b"), evil, (0.9, 0.1), 0.9, 1.0, "review", evil)
    html = prediction_html(prediction, evil)
    assert "<img" not in html
    assert 'onerror="' not in html


@pytest.mark.parametrize(
    ("decision", "sign"), [("accepted", "✓"), ("review", "?"), ("refused", "✕")]
)
def test_a_decision_is_a_word_and_a_sign_as_well_as_a_colour(decision: str, sign: str):
    text = re.sub(r"<[^>]+>", "", decision_html(decision))
    assert text == f"{sign} {decision}"


def blend(colour: str, ground: str, opacity: float) -> str:
    """The colour of a translucent `colour` on `ground`."""
    mixed = (
        round(opacity * int(colour[i : i + 2], 16) + (1 - opacity) * int(ground[i : i + 2], 16))
        for i in (1, 3, 5)
    )
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


MODES = ("light", "dark")
GROUNDS = ("backgroundColor", "secondaryBackgroundColor")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("place", GROUNDS)
def test_text_is_readable_on_both_backgrounds_of_a_theme(mode: str, place: str):
    ground = THEME[f"theme.{mode}.{place}"]
    text = THEME[f"theme.{mode}.textColor"]
    assert contrast(text, ground) >= 7
    assert contrast(THEME[f"theme.{mode}.primaryColor"], ground) >= 4.5
    opacities = {float(value) for value in re.findall(r"opacity:(\.\d+)", STYLE)}
    assert opacities == {0.55, 0.85}  # the first is of images
    assert contrast(blend(text, ground, 0.85), ground) >= 4.5


@pytest.mark.parametrize("pair", FILLED.values(), ids=FILLED)
def test_filled_elements_are_readable(pair: tuple[str, str]):
    assert contrast(*pair) >= 4.5


@pytest.mark.parametrize("decision", ["accepted", "review", "refused"])
def test_a_decision_is_shown_in_its_pair_of_colours(decision: str):
    (pair,) = re.findall(r"color:(#\w{6});background:(#\w{6})", decision_html(decision))
    assert pair == FILLED[decision]


def test_primary_buttons_take_their_colours_from_the_table():
    for name in ("primary button", "primary button hovered"):
        text, ground = FILLED[name]
        assert re.search(rf"color:{text};\s+background:{ground}", STYLE)


@pytest.mark.parametrize("mode", MODES)
def test_surfaces_stand_out_from_their_background(mode: str):
    ground = THEME[f"theme.{mode}.backgroundColor"]
    # Surfaces need 3 (WCAG 2.1, 1.4.11).
    assert min(contrast(colour, ground) for colour in (ACCEPTED, REVIEW)) >= 3
    assert contrast(FILLED["primary button"][1], ground) >= 3


def test_numbers_of_a_confusion_matrix_are_readable_at_every_share():
    low, high = SHARE_COLOURS
    for share in range(101):
        text = "#ffffff" if share / 100 > LIGHT_TEXT_FROM else "#000000"
        assert contrast(text, blend(high, low, share / 100)) >= 4.5, share


def test_commands_in_messages_are_code_and_the_rest_is_text():
    assert text_html("Use `hematovision classify` <b>") == (
        "Use <code>hematovision classify</code> &lt;b&gt;"
    )


def test_the_headline_of_an_out_of_distribution_image_is_not_a_class():
    known = Prediction("a.png", ("WBC", "b"), "WBC", (0.97, 0.03), 0.97, 2.0, "review", "")
    unlike = replace(known, reason="unlike the training images")
    assert ">WBC</span>" in prediction_html(known, "a.png")
    assert 'hv-label">Not recognised<' in prediction_html(unlike, "a.png")
    assert "hv-top" in prediction_html(known, "a.png")
    assert "hv-top" not in prediction_html(unlike, "a.png")
