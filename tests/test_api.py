"""The public API: complete, documented, and every example runs."""

import ast
import doctest
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import hematovision
from empty_files import leave_figures_empty, leave_keras_files_empty
from example_folder import mirror_of, write_examples
from hematovision import errors
from server.conftest import running

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "docs" / "python.md", ROOT / "README.md")
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
VALUES = ("FIVE_KINDS", "PBC8", "RBC_WBC_PLATELETS", "WHITE_CELLS", "__version__")


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, object]]:
    """The names that examples use without defining them; the current folder has their files."""
    folder = write_examples(tmp_path_factory.mktemp("examples"))
    before = Path.cwd()
    with (
        pytest.MonkeyPatch.context() as patch,
        mirror_of(folder / "mirror") as mirror,
        running(environment={"no_proxy": "127.0.0.1"}) as (_, url),
    ):
        patch.setenv("HEMATOVISION_CACHE", str(folder / "cache"))
        patch.setenv("no_proxy", "127.0.0.1")
        leave_figures_empty(patch)
        leave_keras_files_empty(patch)
        os.chdir(folder)
        try:
            yield {"mirror": mirror, "url": url}
        finally:
            os.chdir(before)


def test_all_is_sorted_and_everything_in_it_can_be_imported():
    assert hematovision.__all__ == sorted(hematovision.__all__)
    assert len(hematovision.__all__) == len(set(hematovision.__all__))
    for name in hematovision.__all__:
        assert getattr(hematovision, name).__doc__ or name == "__version__"
    assert dir(hematovision) == hematovision.__all__


def test_type_checkers_see_the_names_of_the_table():
    tree = ast.parse(Path(inspect.getfile(hematovision)).read_text("utf-8"))
    imported = {
        alias.asname: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hematovision.")
        for alias in node.names
    }
    assert imported == {
        name: f"hematovision.{module}.{name}" for name, module in hematovision._MODULES.items()
    }


def test_the_tree_of_errors_is_public():
    assert set(errors.__all__) <= set(hematovision.__all__)


def test_importing_the_package_imports_nothing_else():
    code = (
        "import sys, hematovision; "
        "assert not {'numpy', 'onnxruntime', 'PIL', 'pandas', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def examples_of(name: str) -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    return [one for one in finder.find(getattr(hematovision, name), name) if one.examples]


@pytest.mark.parametrize("name", sorted(set(hematovision.__all__) - set(VALUES)))
def test_every_public_name_has_an_example_that_runs(
    name: str, names: dict[str, object], monkeypatch: pytest.MonkeyPatch
):
    found = examples_of(name)
    assert name in [one.name for one in found], f"{name} has no example of its own"
    for example in found:
        assert not any(doctest.SKIP in one.options for one in example.examples)
        run(example, names)


def run(example: doctest.DocTest, names: dict[str, object]) -> None:
    example.globs = dict(names)
    output: list[str] = []
    failed, _ = doctest.DocTestRunner(optionflags=OPTIONS).run(example, out=output.append)
    assert not failed, "".join(output)


PUBLIC_METHODS = [
    (name, method)
    for name in ("Classifier", "FieldAnalyzer")
    for method in ("load", "predict", "stream", "predict_proba", "embed", "explain")
    if hasattr(getattr(hematovision, name), method)
]


@pytest.mark.parametrize(("name", "method"), PUBLIC_METHODS)
def test_every_way_to_predict_has_an_example(name: str, method: str):
    assert f"{name}.{method}" in [one.name for one in examples_of(name)] or method == "load"


def code_of(page: Path) -> str:
    """The sessions of a page, one after the other."""
    return "\n".join(re.findall(r"(?ms)^```pycon\n(.*?)^```", page.read_text("utf-8")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_sessions_of_the_documentation_run(page: Path, names: dict[str, object]):
    example = doctest.DocTestParser().get_doctest(code_of(page), {}, page.name, str(page), 0)
    assert example.examples
    run(example, names)


def test_the_page_on_python_lists_every_public_name():
    text = PAGES[0].read_text("utf-8")
    missing = [n for n in hematovision.__all__ if not re.search(rf"`{n}\b", text)]
    assert not missing


def test_the_package_has_an_example_that_runs(names: dict[str, object]):
    (example,) = doctest.DocTestFinder(recurse=False).find(hematovision, "hematovision")
    run(example, names)
