"""Give the bundled models their golden answers, without making them anew.

    python -m recipes.bundled_models.golden

The recipe does so by itself; this is for models that were made before there were golden answers,
and after a change of `hematovision.model.self_test.self_test_cell`. Only ``golden`` and the
schema's number change in ``bundle.json``.
"""

from __future__ import annotations

from hematovision.model.bundle import read_bundle, seal_self_test
from hematovision.model.registry import bundled_models, find_model


def main() -> None:
    """Ask each model and write down what it says."""
    for name in bundled_models():
        print(name, seal_self_test(read_bundle(find_model(name))).manifest.self_test)


if __name__ == "__main__":
    main()
