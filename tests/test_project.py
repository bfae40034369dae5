"""The checkout as a whole: quick import, one list of dependencies, workflows and documents that do not go stale."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from typer.testing import CliRunner

import tlib
from tlib import cli, pipeline

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MODULES = sorted((ROOT / "tlib").rglob("*.py"))
# Where an import, or a conda package, is not named as the package on PyPI that brings it.
IMPORT_NAMES = {
    "cycler": "matplotlib",
    "debian": "python-debian",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
    "IPython": "ipython",
}
CONDA_NAMES = {"pytorch": "torch", "matplotlib-base": "matplotlib"}


def requirements(*extras: str) -> dict[str, Requirement]:
    """What pyproject.toml asks for at run time and in the extras, by canonical name."""
    optional = PYPROJECT["project"]["optional-dependencies"]
    lines = PYPROJECT["project"]["dependencies"] + [line for extra in extras for line in optional[extra]]
    return {canonicalize_name(Requirement(line).name): Requirement(line) for line in lines}


def pins() -> dict[str, Version]:
    """The exact versions of constraints.txt, by canonical name."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def test_import_is_quick_and_leaves_torch_alone() -> None:
    code = (
        "import sys, time; start = time.perf_counter(); import tlib; took = time.perf_counter() - start; "
        "assert not {'torch', 'transformers', 'datasets', 'numpy'} & sys.modules.keys(); print(took)"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    assert min(float(run.stdout) for run in runs) <= 0.3


def test_submodules_load_at_first_use_and_a_wrong_name_says_what_there_is() -> None:
    assert tlib.pipeline is pipeline
    assert {"start", "claims", "data", "training"} <= set(dir(tlib))
    with pytest.raises(AttributeError, match=r"no 'dtaa'; it has start and the modules .*claims, .*data"):
        _ = tlib.dtaa


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_module_is_longer_than_300_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


def test_every_import_of_the_library_is_declared() -> None:
    declared = requirements()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            for name in {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"tlib"}:
                package = canonicalize_name(IMPORT_NAMES.get(name, name))
                assert package in declared, f"{path.name} imports {name}, which pyproject.toml does not ask for"


def test_torch_and_numpy_have_no_upper_bound() -> None:
    for name in ("torch", "numpy"):
        assert {clause.operator for clause in requirements()[name].specifier} == {">="}


def test_every_requirement_is_pinned_within_its_range() -> None:
    for name, requirement in requirements("book", "test").items():
        assert name in pins(), f"constraints.txt has no exact version of {name}"
        assert requirement.specifier.contains(pins()[name]), f"{name} {pins()[name]} is outside {requirement.specifier}"


def test_the_conda_environment_asks_for_the_same_versions() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment.keys() == {"name", "channels", "dependencies"}
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    *plain, last = environment["dependencies"]
    assert last == {"pip": ["-e .[book,test]"]} and "pip" in plain
    for line in plain:
        assert re.fullmatch(r"[a-z0-9_-]+(>=[\d.]+)?", line), f"not a conda specification: {line}"
    versions = {Requirement(line).name: Requirement(line).specifier for line in plain}
    assert str(versions.pop("python")) == PYPROJECT["project"]["requires-python"]
    for name in versions.keys() - {"pip", "nodejs"}:
        assert versions[name] == requirements()[CONDA_NAMES.get(name, name)].specifier


def test_the_package_ships_every_file_that_is_not_python() -> None:
    shipped = PYPROJECT["tool"]["setuptools"]["package-data"]
    patterns = [f"{package.replace('.', '/')}/{glob}" for package, globs in shipped.items() for glob in globs]
    for path in (ROOT / "tlib").rglob("*.*"):
        name = path.relative_to(ROOT).as_posix()
        if path.suffix not in (".py", ".pyc", ".lock"):
            assert any(fnmatch(name, pattern) for pattern in patterns), f"package-data leaves out {name}"


def test_locks_are_neither_shipped_nor_committed() -> None:
    shipped = [pattern for patterns in PYPROJECT["tool"]["setuptools"]["package-data"].values() for pattern in patterns]
    lock = "checkpoints/ulmfit_lm_forward.safetensors.lock"
    assert not any(fnmatch(lock, pattern) for pattern in shipped)
    assert "*.lock" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_make_sets_up_a_missing_environment_with_torch_first() -> None:
    command = ["make", "--dry-run", "book", "VENV=_build/no-environment"]
    steps = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    order = ["-m venv _build/no-environment", f"install .* torch=={pins()['torch']}", r"'\.\[book,test\]'", "tlib book"]
    found = [re.search(pattern, steps) for pattern in order]
    assert all(found) and [match.start() for match in found] == sorted(match.start() for match in found)


def test_make_help_lists_every_target() -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {"book", "test", "check", "serve", "clean", "pretrain", "help"} <= set(re.findall(r"make (\w+)", listed))


def test_continuous_integration_runs_make_test() -> None:
    run = ROOT / ".ci" / "run"
    assert os.access(run, os.X_OK)
    assert run.read_text(encoding="utf-8").rstrip().endswith("exec make test")


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda path: path.stem)
def test_a_workflow_is_well_formed_and_names_no_repository(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert {"name", True, "permissions", "jobs"} <= workflow.keys()  # YAML 1.1 reads the key `on` as true
    for job in workflow["jobs"].values():
        assert {"runs-on", "steps"} <= job.keys()
        assert all(("run" in step) != ("uses" in step) for step in job["steps"])
    assert "github.com" not in text and "github.io" not in text
    for file in re.findall(r"hashFiles\('([^']+)'\)", text):
        assert (ROOT / file).is_file(), f"a cache is keyed by {file}, which is not there"


def test_the_workflows_test_publish_and_build_cold_once_a_week() -> None:
    folder = ROOT / ".github" / "workflows"
    test, weekly = (yaml.safe_load((folder / f"{name}.yml").read_text(encoding="utf-8")) for name in ("test", "weekly"))
    assert {"push", "pull_request"} <= test[True].keys() and test["jobs"]["publish"]["needs"] == "test"
    assert any(step.get("run") == ".ci/run" for step in test["jobs"]["test"]["steps"])
    assert any(step.get("run") == ".ci/run" for step in weekly["jobs"]["cold-build"]["steps"])
    assert not any("cache" in str(step) for step in weekly["jobs"]["cold-build"]["steps"])


def test_the_citation_is_complete_and_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors", "license", "date-released"} <= citation.keys()
    assert citation["version"] == PYPROJECT["project"]["version"] == tlib.__version__


def test_code_and_prose_each_have_their_licence() -> None:
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")
    assert "CC BY 4.0" in (ROOT / "LICENSE-prose").read_text(encoding="utf-8")


def test_the_readme_has_the_table_that_the_records_give() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert cli.README_START in readme and cli.README_END in readme
    assert readme == cli.with_chapter_table(readme, ROOT), "write it anew with: tlib run CHAPTER --accept"


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_links_between_documents_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / target).exists(), f"{document} links to {target}"


def test_the_command_line_has_its_commands_and_explains_its_errors() -> None:
    listed = CliRunner().invoke(cli.app, ["--help"]).output
    assert all(name in listed for name in ("run", "book", "data", "claims", "pretrain", "power"))
    program = Path(sys.executable).with_name("tlib")
    refused = subprocess.run([program, "data", "get", "brwon"], capture_output=True, text=True, check=False)
    assert refused.returncode == 1 and "Traceback" not in refused.stderr
    assert refused.stderr.startswith("tlib: ") and "brown" in refused.stderr
