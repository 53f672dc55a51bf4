"""Run by Python at startup if this folder is on its path: training samples few decoys.

Each decoy costs a pass through the backbone. The numbers are those of conftest.py.
"""

import sys
from importlib.machinery import ModuleSpec, PathFinder

MODULE = "hematovision.training.inputs"


class FewDecoys(PathFinder):
    """Finds one module, and changes it once it is loaded."""

    @classmethod
    def find_spec(cls, name, path=None, target=None) -> ModuleSpec | None:
        if name != MODULE:
            return None
        spec = PathFinder.find_spec(name, path, target)
        load = spec.loader.exec_module

        def load_and_change(module) -> None:
            load(module)
            module.RENDERED_DECOYS, module.SPOILT_DECOYS = 22, 12

        spec.loader.exec_module = load_and_change
        return spec


sys.meta_path.insert(0, FewDecoys)
