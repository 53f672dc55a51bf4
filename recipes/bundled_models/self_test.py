"""Write the self-test of the bundled models again, without training them.

    python -m recipes.bundled_models.self_test

The recipe does so by itself; this is for models of an earlier schema, and after a change of
`hematovision.model.self_test.self_test_cell`. Only the self-test, the contract and the schema
change in ``bundle.json``.
"""

from __future__ import annotations

from hematovision.model.bundle import read_bundle, seal_self_test
from hematovision.model.registry import bundled_models, find_model


def main() -> None:
    """Run the self-test of each model and write the result."""
    for name in bundled_models():
        print(name, seal_self_test(read_bundle(find_model(name))).manifest.self_test)


if __name__ == "__main__":
    main()
