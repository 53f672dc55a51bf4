"""The rules of the house: what every file of the project promises, whoever writes it."""

import ast
import inspect
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import hematovision
from hematovision import errors

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "hematovision"
REQUIREMENTS = sorted((ROOT / "requirements").glob("*.txt"))
MAX_LINES = {"src": 600, "benchmarks": 600, "recipes": 600, "website": 600, "tests": 800}

# A bracket around one letter keeps a pattern from finding itself here.
FORBIDDEN = {
    "the host of a package index": r"[p]ypi\.org|[p]ythonhosted\.org|[c]onda\.anaconda"
    r"|[n]pmjs\.(org|com)",
    "an option that names a package index": r"--(extra-)?[i]ndex-url|--[f]ind-links",
    "a path of one machine": r"(?<![\w.~])/(home/\w|Users/\w|root/|work/|opt/\w)|[A-Z]:\\[U]sers",
    "a key or a token": r"\b(gh[pousr]|github_pat|hf)_\w{20,}|[B]EGIN .*PRIVATE KEY",
}
TEXT = {
    ".cfg",
    ".css",
    ".csv",
    ".html",
    ".j2",
    ".js",
    ".json",
    ".log",
    ".md",
    ".py",
    ".sh",
    ".svg",
    ".toml",
    ".txt",
    ".yaml",
    ".yml",
}


def project_files() -> list[Path]:
    """Every file of the repository, or of an unpacked archive of it."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout.decode()
        paths = [ROOT / name for name in listed.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        folders = (
            "src",
            "tests",
            "docs",
            "recipes",
            "benchmarks",
            "requirements",
            "scripts",
            "website",
            ".ci",
        )
        paths = [path for folder in folders for path in (ROOT / folder).rglob("*")]
        paths += list(ROOT.glob("*"))
    return [path for path in paths if path.is_file() and "__pycache__" not in path.parts]


def is_text(path: Path) -> bool:
    return (
        path.suffix in TEXT
        or path.name in {"Makefile", "run", "LICENSE", "NOTICE"}
        or path.name.startswith(".git")
    )


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def declared(tree: ast.Module) -> list[str] | None:
    """The names in the module's ``__all__``, read without importing it."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets
        ):
            return list(ast.literal_eval(node.value))
    return None


def defined(tree: ast.Module) -> set[str]:
    """The public functions and classes that the module itself defines."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {
        node.name for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")
    }


def bound(tree: ast.Module) -> set[str]:
    """Every name that the module's top level binds."""
    names = defined(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def test_no_file_names_an_index_a_machine_or_a_secret():
    found = []
    for path in filter(is_text, project_files()):
        text = path.read_text(encoding="utf-8")
        for what, pattern in FORBIDDEN.items():
            for match in re.finditer(pattern, text):
                line = text.count("\n", 0, match.start()) + 1
                found.append(f"{path.relative_to(ROOT)}:{line}: {what}: {match[0]}")
    assert not found, "\n".join(found)


def test_no_source_file_is_longer_than_one_can_read_in_one_go():
    long = {
        path.relative_to(ROOT).as_posix(): lines
        for folder, most in MAX_LINES.items()
        for path in (ROOT / folder).rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > most
    }
    assert not long


# tests/test_api.py checks the names of the package itself, which follow from a table.
@pytest.mark.parametrize(
    "path", [one for one in sources() if one != PACKAGE / "__init__.py"], ids=module_name
)
def test_a_module_declares_its_public_names(path: Path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "a module opens with what it is for"
    public = defined(tree)
    names = declared(tree)
    if names is None:
        assert not public, f"__all__ is missing, and there are {sorted(public)}"
        return
    assert len(names) == len(set(names))  # that it is sorted, ruff checks (RUF022)
    if path.name != "__init__.py":
        assert public <= set(names), f"public, but not in __all__: {sorted(public - set(names))}"
        assert set(names) <= bound(tree), (
            f"in __all__, but not there: {sorted(set(names) - bound(tree))}"
        )


def test_what_the_package_offers_is_there():
    for name in hematovision.__all__:
        assert getattr(hematovision, name) is not None
    assert set(hematovision.__all__) <= set(dir(hematovision))
    with pytest.raises(AttributeError, match="no_such_name"):
        hematovision.no_such_name  # noqa: B018


def error_classes() -> dict[str, type[BaseException]]:
    return {
        name: value
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, BaseException)
    }


def test_every_error_is_public_and_listed_in_the_tree_under_its_parent():
    listed: dict[str, str] = {}
    parents: list[str] = []
    for line in inspect.getdoc(errors).splitlines():  # type: ignore[union-attr]
        match = re.match(r"^ {4}([│ ├└─]*)([A-Z]\w+)( |$)", line)
        if match:
            depth = len(match[1]) // 4
            parents[depth:] = [match[2]]
            listed[match[2]] = parents[depth - 1] if depth else "Exception"
    assert listed == {name: kind.__bases__[0].__name__ for name, kind in error_classes().items()}
    assert set(error_classes()) <= set(errors.__all__)


def test_every_error_of_the_package_is_defined_in_one_place():
    elsewhere = [
        f"{module_name(path)}.{node.name}"
        for path in sources()
        if path != PACKAGE / "errors.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
        and any(
            isinstance(b, ast.Name) and b.id.endswith(("Error", "Exception")) for b in node.bases
        )
    ]
    assert not elsewhere


def test_the_version_is_written_in_one_place():
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in pyproject["project"]
    assert pyproject["tool"]["hatch"]["version"]["path"] == "src/hematovision/__init__.py"
    version = hematovision.__version__
    assigned = [
        path
        for path in sources()
        if re.search(rf"""=\s*["']{re.escape(version)}["']""", path.read_text(encoding="utf-8"))
    ]
    assert assigned == [PACKAGE / "__init__.py"]
    assert f"[{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_every_requirement_is_pinned_with_hashes_and_names_no_address(path: Path):
    text = path.read_text(encoding="utf-8")
    assert "://" not in text
    assert "-e " not in text
    blocks = re.split(r"\n(?=\S)", text.strip())
    for block in blocks:
        first, *hashes = [line.strip().rstrip("\\").strip() for line in block.splitlines()]
        assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*(\[[a-z0-9,-]+\])?==\S+( ; .+)?", first), first
        assert hashes, f"{first} has no hash"
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", line) for line in hashes), first


def pins(name: str) -> dict[str, set[str]]:
    """Package -> its pinned versions (one for each range of Python versions)."""
    found: dict[str, set[str]] = {}
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    for match in re.finditer(r"(?m)^([a-z0-9.-]+)(?:\[[a-z0-9,-]+\])?==(\S+)", text):
        found.setdefault(match[1], set()).add(match[2])
    return found


def requirement_names(requirements: list[str]) -> set[str]:
    names = {re.match(r"[A-Za-z0-9._-]+", text)[0].lower() for text in requirements}  # type: ignore[index]
    return names - {"hematovision"}


def test_the_pins_hold_what_the_project_asks_for():
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project, groups = pyproject["project"], pyproject["dependency-groups"]
    extras = project["optional-dependencies"]
    core = requirement_names(project["dependencies"])
    assert core <= set(pins("core.txt"))
    assert core | requirement_names(extras["train"] + extras["data"]) <= set(pins("train.txt"))
    assert requirement_names(groups["build"]) <= set(pins("build.txt"))
    everything = core | requirement_names([*groups["dev"], *groups["build"]])
    assert everything | requirement_names([r for e in extras.values() for r in e]) <= set(
        pins("dev.txt")
    )


@pytest.mark.parametrize("name", ["core.txt", "train.txt", "build.txt"])
def test_all_requirement_files_fit_into_one_environment(name: str):
    everything = pins("dev.txt")
    assert {package: everything.get(package) for package in pins(name)} == pins(name)


def test_predicting_needs_neither_tensorflow_nor_onnx():
    assert not {"tensorflow", "tensorflow-cpu", "keras", "onnx", "pandas"} & set(pins("core.txt"))


def test_the_licence_is_the_whole_of_apache_2():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    words = " ".join(text.split())
    assert words.startswith("Apache License Version 2.0, January 2004")
    assert "END OF TERMS AND CONDITIONS" in words
    assert words.endswith("governing permissions and limitations under the License.")


def _caches(tree: ast.Module) -> list[tuple[ast.FunctionDef, ast.expr]]:
    return [
        (node, decorator)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        for decorator in node.decorator_list
        if "cache" in ast.unparse(decorator).replace("cached_property", "")
    ]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_no_cache_grows_without_bound(path: Path):
    for function, decorator in _caches(ast.parse(path.read_text("utf-8"))):
        text = ast.unparse(decorator)
        arguments = function.args
        bounded = re.search(r"(maxsize|max_entries)=\d+", text)
        alone = not (arguments.args or arguments.kwonlyargs or arguments.vararg)
        assert bounded or alone, f"{path.name}: {function.name} keeps a result for each argument"


# Words of the old vocabulary, as patterns, and the words of docs/architecture.md to write instead.
BANNED = {
    r"answer": "prediction, predict; response (HTTP)",
    r"(?<![a-z])(tell|tells|told|telling|untold)(?![a-z])": "report, show, print, distinguish",
    r"(?<![a-z])(say|says|said|saying|unsaid)(?![a-z])": "predict, state, print, report",
    r"(?<!scikit[-_])(?<!sk)(?<!transfer )(?<!machine[ -])learn(?!ing[ _-]?(rate|curve))": (
        "train, training, trained, fit"
    ),
    r"phantom": "synthetic",
    r"(?<![a-z])drawn(?![a-z])": "synthetic, rendered; sampled; plotted",
    r"picture": "image, field",
    r"strang": "out-of-distribution; untrusted; unexpected",
    r"(?<![a-z])doors?(?![a-z])": "entry point",
    r"golden": "self-test",
    r"(?<![a-z])shel(f|ves)(?![a-z])": "model library",
    r"judg": "evaluate, score",
    r"(?<![a-z.])(rooms?|floors?|benches)(?![a-z])": "package, layer",
    r"(?<![a-z])(go|goes|gone|going|went) on(?! (a|the) )": "continue, resume",
    r"(?<![a-z])besides?(?![a-z])": "next to, with, apart from",
    r"(?<![a-z])anew(?![a-z])": "again, from scratch",
    r"(?<![a-z])(the|a|HTTP|plain) service(?![a-z])": "server",
    r"(?<![a-z])(train|training|valid|validation|test) parts?(?![a-z])": "split",
    r"(?<![a-z])parts? of (a|the|its) (data|dataset)(?![a-z])": "split",
    r"\d %(?![\w({%])": "a percentage without a space: 96.3%",
    r"hardly": "barely; baselines",
    r"refusal": "error, refused image",
}

# Words that a file needs in a line: names that older versions wrote, an alias, a title.
ALLOWED = {
    "CHANGELOG.md": ("phantom", "answers", "**Learn**", "/learn", "learn/", "*Learn*"),
    "docs/decisions/0008-reviews-in-a-database.md": ("`answer`",),
    "docs/deprecation.md": ("phantom", "answers"),
    "src/hematovision/app/main.py": ("learn",),
    "src/hematovision/cli/datasets.py": ("phantom",),
    "src/hematovision/data/synthesize.py": ("PHANTOM",),
    "src/hematovision/evaluation/baselines.py": ("Statistical Learning",),
    "src/hematovision/evaluation/metrics.py": ("answered",),
    "src/hematovision/model/manifest.py": ("golden",),
    "src/hematovision/reporting/wording.py": ("phantom",),
    "src/hematovision/server/engine.py": ("answers",),
    "src/hematovision/workflows/demo.py": ("phantom",),
    "tests/app/test_journey.py": ("learn",),
    "tests/cli/test_datasets.py": ("phantom",),
    "tests/model/test_manifest.py": ("golden",),
    "tests/reporting/test_report.py": ("phantom", "Phantom"),
    "tests/review/test_migrations.py": ("answer",),
    "tests/server/test_application.py": ("answers",),
    "tests/server/test_running.py": ("golden",),
    "tests/workflows/test_train.py": ("phantom", "PHANTOM"),
}
# The old names of tables and keys.
FROZEN = re.compile(
    r"LICENSE|requirements/|tests/.*/data/.*(?<!py)$|src/hematovision/models/.*/metrics\.json"
    r"|src/hematovision/review/migrations/versions/"
)


def test_no_text_uses_a_word_of_the_old_vocabulary():
    found = []
    for path in filter(is_text, project_files()):
        name = path.relative_to(ROOT).as_posix()
        if path == Path(__file__) or FROZEN.match(name):
            continue
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        for pattern, instead in BANNED.items():
            for match in re.finditer(pattern, text, re.IGNORECASE):
                number = text.count("\n", 0, match.start())
                if not any(word in lines[number] for word in ALLOWED.get(name, ())):
                    found.append(f"{name}:{number + 1}: {match[0]!r}; write: {instead}")
    assert not found, "\n".join(found)
