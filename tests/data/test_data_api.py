"""The public names of `hematovision.data`."""

import subprocess
import sys

import hematovision.data


def test_the_public_names_are_sorted_and_exist():
    names = hematovision.data.__all__
    # Constants, then classes, then functions, as the linter sorts them.
    order = sorted(names, key=lambda n: (0 if n.isupper() else 1 if n[0].isupper() else 2, n))
    assert names == order
    assert all(hasattr(hematovision.data, name) for name in names)


def test_importing_the_package_is_fast():
    code = (
        "import sys, hematovision.data;"
        "print([m for m in ('pandas', 'sklearn', 'tensorflow', 'keras', 'matplotlib', 'scipy')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
