"""What is promised of the project as a whole."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import headrace as hr

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "headrace"
HEAVY = {"numpy", "pandas", "pyarrow", "mlflow", "duckdb", "deltalake", "sqlalchemy", "sqlglot", "sklearn", "starlette"}


@pytest.mark.parametrize(
    "program", ["import headrace", "import headrace.cli.main as m; m.cli(['--help'], standalone_mode=False)"]
)
def test_nothing_heavy_is_loaded_before_it_is_used(program):
    script = f"{program}; import sys; print('loaded:', sorted(set(sys.modules) & {HEAVY!r}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "loaded: []"


def test_every_public_name_can_be_had():
    assert all(getattr(hr, name) is not None for name in hr.__all__)


def test_headrace_knows_nothing_of_flights():
    sources = [path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix in (".py", ".sql", ".toml")]
    guilty = [
        path
        for path in sources
        if "examples" not in path.relative_to(PACKAGE).parts
        and re.search("nycflights|carrier|tailnum", path.read_text())
    ]

    assert guilty == []


def test_the_flights_program_is_short():
    program = PACKAGE / "examples" / "flights" / "flights"
    lines = [
        line
        for path in program.iterdir()
        if path.suffix in (".py", ".sql")
        for line in path.read_text().splitlines()
        if line.strip() and not line.lstrip().startswith(("#", "--"))
    ]

    assert len(lines) < 200


def test_every_box_has_a_page_and_a_docstring():
    boxes = [path.parent for path in PACKAGE.glob("*/__init__.py") if path.parent.name != "examples"]

    assert [box.name for box in boxes if not (ROOT / "docs" / f"{box.name}.md").is_file()] == []
    assert [box.name for box in boxes if not (box / "__init__.py").read_text().startswith('"""')] == []


def test_every_key_of_the_configuration_is_documented():
    from headrace.environments.keys import ENV_KEYS
    from headrace.environments.project_table import PROJECT_KEYS

    page = (ROOT / "docs" / "environments.md").read_text()

    assert [key for key in (*ENV_KEYS, *PROJECT_KEYS) if not re.search(rf"`{key}`|^{key} =", page, re.MULTILINE)] == []


def test_every_command_is_documented():
    from headrace.cli.main import COMMANDS

    page = (ROOT / "docs" / "cli.md").read_text()

    assert [name for name in COMMANDS if f"headrace {name}" not in page] == []


def test_delta_is_written_in_one_place_and_read_in_one_place():
    homes = {"lakehouse/attempt.py", "lakehouse/scan.py"}
    sources = {path.relative_to(PACKAGE).as_posix(): path.read_text() for path in PACKAGE.rglob("*.py")}
    calls = re.compile(r"^(?!\s*#).*\b(write_deltalake\(|DeltaTable\.create\(|read_parquet\()", re.MULTILINE)

    assert [name for name, text in sources.items() if name not in homes and calls.search(text)] == []


def pinned(name):
    """The versions of a lock: several of one package where newer Pythons take a newer one."""
    found = re.findall(
        r"^([a-z0-9-]+)(?:\[[a-z,-]+\])?==(\S+)", (ROOT / "requirements" / name).read_text(), re.MULTILINE
    )
    return {package: {version for other, version in found if other == package} for package, _ in found}


def wanted(extra):
    """What an extra asks for, with what the package itself asks for and what the Makefile installs it with."""
    from packaging.requirements import Requirement

    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = stated["project"]["optional-dependencies"]
    found, extras_left = [*stated["project"]["dependencies"], *stated["dependency-groups"]["install"]], [extra]
    while extras_left:
        for line in extras[extras_left.pop()]:
            asked = Requirement(line)
            if asked.name == "headrace":
                extras_left += asked.extras
            else:
                found.append(line)
    return [Requirement(line) for line in found]


@pytest.mark.parametrize("extra", ["demo", "dev"])
def test_the_locks_hold_what_the_package_asks_for(extra):
    from packaging.utils import canonicalize_name

    locked = pinned(f"{extra}.txt")
    wrong = [
        str(asked)
        for asked in wanted(extra)
        if not all(asked.specifier.contains(each) for each in locked.get(canonicalize_name(asked.name), ["0"]))
    ]

    assert wrong == []  # `make lock` makes them anew


def test_the_locks_agree_and_name_no_place():
    demo, assistant, dev = pinned("demo.txt"), pinned("demo-llm.txt"), pinned("dev.txt")
    texts = [(ROOT / "requirements" / f"{name}.txt").read_text() for name in ("demo", "demo-llm", "dev")]

    assert {name: versions for name, versions in demo.items() if dev.get(name) != versions} == {}
    assert {name: versions for name, versions in assistant.items() if dev.get(name) != versions} == {}
    assert {name for name in demo if name not in assistant} == set()
    assert [line for text in texts for line in text.splitlines() if re.search(r"://|file:|^-|^torch|/\w+/", line)] == []
    assert all(
        line.endswith("\\") for text in texts for line in text.splitlines() if re.match(r"[a-z]", line)
    )  # a hash follows


@pytest.mark.parametrize("script", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.stem)
def test_what_a_benchmark_takes_from_headrace_is_there(script):
    """They run by hand: what moves under them would be found out when somebody wants a figure."""
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "headrace":
            module = importlib.import_module(node.module)
            for each in node.names:
                if not hasattr(module, each.name):
                    importlib.import_module(f"{node.module}.{each.name}")
