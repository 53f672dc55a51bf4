"""Regions of an image as text."""

from pathlib import Path

import pytest

from hematovision.regions import Region

SLIDE = Path("slide.svs")


def test_a_region_comes_back_from_its_text():
    region = Region(SLIDE, 1000, 0, 2048, 512)
    assert region.box == "1000,0,2048,512"
    assert Region.parse(SLIDE, region.box) == region
    assert Region.parse(SLIDE, " 1000, 0 ,2048,512 ") == region


@pytest.mark.parametrize(
    "text",
    ["", "1,2,3", "1,2,3,4,5", "-1,0,5,5", "0,0,0,5", "0,0,5,0", "0,0,5,5.5", "a,b,c,d",
     "0,0,٣,5", "0,0,5,99999999999", "0,0,5 5,5"],
)  # fmt: skip
def test_other_text_is_an_error_with_an_example(text: str):
    with pytest.raises(ValueError, match=r"such as 1000,0,2048,2048\. Received: '"):
        Region.parse(SLIDE, text)
