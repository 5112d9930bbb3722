"""Every code block of every page runs, or is read by what reads it; a page that is wrong is a failure.

A block that stands for something else, such as a synopsis, a formula or a drawing, is `text`. What the blocks of a page
need and do not show is in `preparations/<page>.py`, which runs before them, in their namespace and folder.
"""

import json
import linecache
import re
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import click
import pytest
from tests.docs.accepted import check, check_mention
from tests.docs.blocks import PAGES, ROOT, blocks, typed

import headrace as hr
from headrace.environments.config import load

LANGUAGES = {"python", "toml", "json", "console", "bash", "text"}
IN_THE_PROJECT = {
    "docs/guides/data_engineer.md",
    "docs/guides/data_scientist.md",
    "docs/operations.md",
    "docs/session.md",
    "docs/tracking.md",
}
PREPARATIONS = Path(__file__).parent / "preparations"
BLOCKS = [block for page in PAGES for block in blocks(page)]


def of(*languages):
    return [pytest.param(each, id=each.where) for each in BLOCKS if each.language in languages]


def test_each_block_says_its_language():
    assert [each.where for each in BLOCKS if each.language not in LANGUAGES] == []


@pytest.mark.parametrize("block", of("json"))
def test_json_is_json(block):
    json.loads(block.text)


@pytest.mark.parametrize("block", of("toml"))
def test_toml_is_accepted(block, tmp_path):
    """A part of headrace.toml is read as one whose other parts are minimal."""
    keys = tomllib.loads(block.text).keys()
    if not keys & {"project", "env"}:
        return
    name = '[project]\nname = "page"\nmodule = "page"\n'
    (tmp_path / "headrace.toml").write_text(block.text if "project" in keys else name + block.text, encoding="utf-8")

    config = load(tmp_path)

    assert config.environments


@pytest.mark.parametrize("block", of("console", "bash"))
def test_commands_are_accepted(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = (
        [(each.where, each.line) for each in typed(block)]
        if block.language == "console"
        else [(block.where, each) for each in block.text.splitlines() if each.strip()]
    )
    assert lines
    wrong = {}
    for where, line in lines:
        try:
            check(line)
        except (click.ClickException, AssertionError, ValueError) as error:
            wrong[f"{where} {line}"] = error.format_message() if isinstance(error, click.ClickException) else str(error)
    assert wrong == {}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_of_the_prose_exist(page):
    prose = page.read_text(encoding="utf-8")
    for block in blocks(page):
        prose = prose.replace(block.text, "")
    wrong = []
    for mention in re.findall(r"`(headrace\s[^`]+)`", prose):
        try:
            check_mention(mention)
        except AssertionError as error:
            wrong.append(str(error).splitlines()[0])
    assert wrong == []


def test_what_runs_is_not_called_text():
    hidden = re.compile(r"^(\$ |import headrace|from headrace|hr\.)", re.MULTILINE)
    assert [each.where for each in BLOCKS if each.language == "text" and hidden.search(each.text)] == []


WITH_PYTHON = [page for page in PAGES if any(each.language == "python" for each in blocks(page))]


def preparation(page):
    """The file that runs before the blocks of a page; it need not be there."""
    return PREPARATIONS / page.relative_to(ROOT).with_suffix(".py").as_posix().removeprefix("docs/")


@pytest.mark.usefixtures("environment_as_before")
@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_python_runs(page, tmp_path, monkeypatch, request):
    """The blocks in order, in one namespace, in a folder of their own or in that of the project that the page speaks of.

    A block with a title is a file of that name. The others are one program, each on the lines that it has in the page.
    """
    project = page.relative_to(ROOT).as_posix() in IN_THE_PROJECT
    folder = request.getfixturevalue("flights") if project else tmp_path
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    module = types.ModuleType("page_of_docs")
    module.hr = hr  # a page need not import what it is about
    monkeypatch.setitem(sys.modules, module.__name__, module)
    python = [each for each in blocks(page) if each.language == "python"]
    program = [each for each in python if not each.title]
    if preparation(page).is_file():
        path = Path("preparation.py")
        path.write_text(preparation(page).read_text(encoding="utf-8"), encoding="utf-8")
        exec(compile(path.read_bytes(), str(path.resolve()), "exec"), vars(module))
    request.addfinalizer(lambda: [end(each) for each in vars(module).values() if isinstance(each, subprocess.Popen)])
    written(program, Path("page_of_docs.py"))
    for block in python:
        if block.title:
            compile(block.text, block.where, "exec")
            Path(block.title).write_text(block.text, encoding="utf-8")
        else:
            lines = "\n" * (block.line - 1) + block.text
            exec(compile(lines, str(Path("page_of_docs.py").resolve()), "exec"), vars(module))


def end(process):
    """A process that a preparation started: workers of pytest-xdist end without what `atexit` was told."""
    process.kill()
    process.wait()


def written(program, path):
    """The blocks as one file, for what reads the source of a function, with the page's line numbers."""
    lines = []
    for block in program:
        lines += [""] * (block.line - 1 - len(lines)) + block.text.splitlines()
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    linecache.checkcache(str(path.resolve()))


def test_each_preparation_is_of_a_page():
    pages = {preparation(page) for page in PAGES}
    assert {path for path in PREPARATIONS.rglob("*.py") if path.name != "__init__.py"} <= pages
