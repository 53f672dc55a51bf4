"""What the page says of an answer, in HTML."""

import re

import pytest

from hematovision.app.theme import THEME, answer_html, bars_html, decision_html
from hematovision.model.prediction import Prediction


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours (WCAG 2.1)."""

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_bars_begin_with_the_most_probable_and_add_up_the_rest():
    html = bars_html(("a", "b", "c", "d", "e"), (0.05, 0.6, 0.2, 0.1, 0.05), most=3)
    assert re.findall(r"hv-number\">([^<]+)<", html) == ["60.0%", "20.0%", "20.0%"]
    assert re.findall(r'title="([^"]+)"', html) == ["b", "c", "3 others"]


def test_no_probability_below_one_is_called_certain():
    assert "99.9%" in bars_html(("a", "b"), (0.99996, 0.00004))
    assert "100.0%" in bars_html(("a", "b"), (1.0, 0.0))


def test_names_of_files_and_classes_are_text_whatever_they_hold():
    evil = '<img src=x onerror="alert(1)">'
    prediction = Prediction(evil, (evil, "b"), evil, (0.9, 0.1), 0.9, 1.0, "review", evil)
    html = answer_html(prediction, evil)
    assert "<img" not in html
    assert 'onerror="' not in html


@pytest.mark.parametrize(
    ("decision", "sign"), [("accepted", "✓"), ("review", "?"), ("refused", "✕")]
)
def test_a_decision_is_a_word_and_a_sign_besides_its_colour(decision: str, sign: str):
    text = re.sub(r"<[^>]+>", "", decision_html(decision))
    assert text == f"{sign} {decision}"


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_text_and_buttons_can_be_read_on_their_ground(mode: str):
    ground = THEME[f"theme.{mode}.backgroundColor"]
    assert contrast(THEME[f"theme.{mode}.textColor"], ground) > 7
    assert contrast(THEME[f"theme.{mode}.primaryColor"], ground) > 4.5
    for decision in ("accepted", "review", "refused"):
        (colour,) = re.findall(r"color:(#\w{6})", decision_html(decision))
        assert contrast(colour, ground) > 3
