"""The files around the code: workflows, forms, hooks, citation, and the metadata of the package."""

import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml"))
PROGRAMS = Path(sysconfig.get_path("scripts"))
PYTHONS = ["3.11", "3.12", "3.13"]
SCHEMAS = {
    ".github/dependabot.yml": "vendor.dependabot",
    ".github/ISSUE_TEMPLATE/config.yml": "vendor.github-issue-config",
    "CITATION.cff": "vendor.citation-file-format",
    **{
        path.relative_to(ROOT).as_posix(): "vendor.github-issue-forms"
        for path in FORMS
        if path.name != "config.yml"
    },
}

# A distribution of the package has no .github: there is nothing to check in it.
pytestmark = pytest.mark.skipif(not GITHUB.is_dir(), reason="this is no clone")


def read(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def run(*command: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, cwd=cwd, timeout=120
    )


def lint(*paths: Path) -> subprocess.CompletedProcess[str]:
    """Check workflows as actionlint does, their scripts with ShellCheck."""
    shellcheck = PROGRAMS / ("shellcheck.exe" if sys.platform == "win32" else "shellcheck")
    assert shellcheck.exists()  # without it, scripts would not be checked
    options = ["--strict-exit", "--no-color", f"--shellcheck={shellcheck}"]
    return run(sys.executable, "-m", "jactionlint", *options, *paths)


def pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_workflows_are_valid_and_their_scripts_too():
    done = lint(*WORKFLOWS, GITHUB / "dependabot.yml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("runs-on: ${{ matrix.os }}", "runs-on: ${{ matrix.system }}", 'property "system"'),
        ("contents: read", "contents: all", '"all" is invalid'),
        ("make PYTHON=python test\n", "make PYTHON=$(which python) test\n", "SC2046"),
        ("cache: pip", "caches: pip", '"caches"'),
    ],
)
def test_a_wrong_workflow_is_found(old: str, new: str, rule: str, tmp_path: Path):
    text = (GITHUB / "workflows" / "tests.yml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "tests.yml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    done = lint(path)
    assert done.returncode == 1
    assert rule in done.stdout


@pytest.mark.parametrize(("name", "schema"), SCHEMAS.items())
def test_a_file_for_github_fits_its_schema(name: str, schema: str):
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema]
    done = run(*check, ROOT / name)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_form_that_github_would_reject_is_found(tmp_path: Path):
    text = (GITHUB / "ISSUE_TEMPLATE" / "bug.yml").read_text(encoding="utf-8")
    path = tmp_path / "bug.yml"
    path.write_text(text.replace("type: textarea", "type: text"), encoding="utf-8")
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema"]
    assert run(*check, "vendor.github-issue-forms", path).returncode == 1


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_has_few_rights_little_time_and_one_run_at_a_time(path: Path):
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["group"] == "${{ github.workflow }}-${{ github.ref }}"
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 60


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit_and_leave_no_credentials(path: Path):
    text = path.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if "uses:" in line]
    pinned = r" +- uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+"
    assert lines
    assert [line for line in lines if not re.fullmatch(pinned, line)] == []
    steps = [step for job in read(path)["jobs"].values() for step in job["steps"]]
    checkouts = [step for step in steps if step.get("uses", "").startswith("actions/checkout@")]
    assert all(step["with"] == {"persist-credentials": False} for step in checkouts)


def test_one_action_has_one_version_in_all_workflows():
    found: dict[str, set[str]] = {}
    for path in WORKFLOWS:
        for name, rest in re.findall(r"uses: ([\w/-]+)@(.+)", path.read_text(encoding="utf-8")):
            found.setdefault(name, set()).add(rest)
    assert {name: pins for name, pins in found.items() if len(pins) > 1} == {}


@pytest.mark.parametrize("name", ["tests.yml", "package.yml"])
def test_every_supported_python_is_tested_on_three_systems(name: str):
    jobs = read(GITHUB / "workflows" / name)["jobs"]
    matrices = [job["strategy"]["matrix"] for job in jobs.values() if "strategy" in job]
    (matrix,) = matrices
    assert matrix["python"] == PYTHONS
    assert {system.partition("-")[0] for system in matrix["os"]} == {"ubuntu", "macos", "windows"}


def test_workflows_run_targets_of_the_makefile():
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))
    used = set()
    for path in WORKFLOWS:
        for line in re.findall(r"(?m)run: make (.+)$", path.read_text(encoding="utf-8")):
            used |= {word for word in line.split() if "=" not in word}
    assert used == {
        *("test", "coverage", "test-install", "browser-demo", "docs", "dist", "release-check")
    }
    assert used <= targets


def test_only_the_release_can_publish_and_only_through_trust():
    release = read(GITHUB / "workflows" / "release.yml")
    jobs = release["jobs"]
    assert release[True] == {"push": {"tags": ["v*"]}}  # YAML reads the key "on" as true
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert jobs["publish"]["environment"] == {"name": "release"}
    assert jobs["publish"]["steps"][-1]["with"] == {"attestations": True}
    assert jobs["announce"]["permissions"] == {"contents": "write"}
    for path in WORKFLOWS:
        assert "secrets." not in path.read_text(encoding="utf-8")


def test_hooks_are_programs_of_the_pinned_environment():
    config = read(ROOT / ".pre-commit-config.yaml")
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    hooks = config["repos"][0]["hooks"]
    entries = [hook["entry"].split() for hook in hooks]
    assert {tuple(entry[:2]) for entry in entries} == {("sh", "scripts/in-venv.sh")}
    names = {entry[2] for entry in entries}
    assert {"ruff", "mypy", "codespell", "end-of-file-fixer", "check-added-large-files"} <= names
    assert [name for name in names if not list(PROGRAMS.glob(f"{name}*"))] == []


def test_the_forms_ask_for_no_patient_data():
    for name in ("bug", "wrong-result"):
        body = read(GITHUB / "ISSUE_TEMPLATE" / f"{name}.yml")["body"]
        assert "No patient data" in body[0]["attributes"]["value"]
        privacy = body[-1]["attributes"]["options"][0]
        assert "no patient data" in privacy["label"]
        assert privacy["required"]


def test_the_citation_names_what_the_package_names():
    citation, project = read(ROOT / "CITATION.cff"), pyproject()["project"]
    assert [author["name"] for author in citation["authors"]] == [
        author["name"] for author in project["authors"]
    ]
    assert citation["license"] == project["license"]
    assert citation["repository-code"] == project["urls"]["Source"]


def test_the_package_names_its_people_and_places():
    project = pyproject()["project"]
    assert project["authors"] == project["maintainers"] == [{"name": "The HematoVision developers"}]
    assert set(project["urls"]) == {"Homepage", "Documentation", "Source", "Changelog", "Issues"}
    places = r"https://(github\.com/hematovision|hematovision\.github\.io)/hematovision(/.*)?"
    assert [url for url in project["urls"].values() if not re.fullmatch(places, url)] == []
    assert project["urls"]["Changelog"].endswith("/CHANGELOG.md")


def test_the_classifiers_name_the_supported_pythons():
    project = pyproject()["project"]
    prefix = "Programming Language :: Python :: 3."
    named = [c.rpartition(" ")[2] for c in project["classifiers"] if c.startswith(prefix)]
    assert named == PYTHONS
    assert project["requires-python"] == f">={PYTHONS[0]}"
    assert not [c for c in project["classifiers"] if c.startswith("License ::")]  # SPDX instead
