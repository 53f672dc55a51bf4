"""The package's exports are complete and its import is fast."""

import subprocess
import sys

from hematovision import evaluation


def test_all_is_complete():
    exported = {
        name
        for name, value in vars(evaluation).items()
        if not name.startswith("_") and type(value).__name__ != "module"
    }
    assert exported == set(evaluation.__all__)


def test_importing_loads_nothing_heavy():
    code = (
        "import sys, hematovision.evaluation\n"
        "heavy = {'matplotlib', 'jinja2', 'pandas', 'scipy', 'sklearn', 'tensorflow', 'keras'}\n"
        "sys.exit(str(found) if (found := heavy & set(sys.modules)) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
