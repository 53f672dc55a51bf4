"""The charts of the app."""

import json

from streamlit.testing.v1 import AppTest


def legends(epochs: list[dict[str, float]]) -> list[list[str]]:
    """The splits in the legend of each chart of these epochs."""

    def script(epochs):
        from hematovision.app.display import show_curves

        show_curves(epochs)

    at = AppTest.from_function(script, kwargs={"epochs": epochs}).run()
    specs = [json.loads(chart.proto.spec) for chart in at.get("vega_lite_chart")]
    return [spec["encoding"]["color"]["scale"]["domain"] for spec in specs]


def test_the_legend_names_only_splits_that_were_measured():
    assert legends([{"epoch": 1, "loss": 0.5, "val_loss": 0.6}]) == [["training", "validation"]]
    assert legends([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.4}]) == [["training"]]
