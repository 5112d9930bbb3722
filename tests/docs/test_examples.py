"""Each public name has an example in its docstring, and the example runs and shows what it says.

An example begins with `hr` alone, and with those of `example_values` that its text names in backticks, as `evidence` of a gate.
"""

import ast
import doctest
import inspect
import os
import sys
from importlib import import_module
from types import ModuleType
from unittest.mock import patch

import pytest
from tests.docs.example_values import VALUES

import headrace as hr

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE  # a place in a file is `...`, and long output is wrapped
NAMES = [
    *(f"hr.{name}" for name in hr.__all__),
    *(f"hr.protocols.{name}" for name in hr.protocols.__all__),
]
ALIASES = {
    "hr.Params": "headrace.training.declarations"
}  # of a type: its docstring is the text below it in this module


def below(module, name):
    """The text below the assignment of a name in a module, as documentation tools read it."""
    body = ast.parse(inspect.getsource(import_module(module))).body
    places = [
        place
        for place, node in enumerate(body)
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name
    ]
    following = body[places[0] + 1]
    assert isinstance(following, ast.Expr), f"{module}.{name} has no text below it"
    return ast.literal_eval(following.value)


def docstring(name):
    if name in ALIASES:
        return inspect.cleandoc(below(ALIASES[name], name.rpartition(".")[2]))
    value = hr
    for part in name.split(".")[1:]:
        value = getattr(value, part)
    page = value.__doc__ if isinstance(value, type) else inspect.getdoc(value)  # a class does not have that of its base
    return inspect.cleandoc(page or "")


def examples(name):
    return doctest.DocTestParser().get_examples(docstring(name), name)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The module in which an example runs, in the folder of a project; nothing of both is left."""
    (tmp_path / "headrace.toml").write_text('[project]\nname = "shop"\nmodule = "shop"\n')
    (tmp_path / "shop.py").touch()
    module = ModuleType("shop")
    monkeypatch.setitem(sys.modules, "shop", module)
    monkeypatch.chdir(tmp_path)
    with patch.dict(os.environ):  # what it was comes back
        yield module


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_has_an_example_that_runs(name, project):
    assert examples(name), f"the docstring of {name} has no example: '    >>> …' below 'Example:'"
    section = docstring(name).partition("\nExample:\n")[2]
    vars(project).update({value: make() for value, make in VALUES.items() if f"`{value}`" in section}, hr=hr)
    test = doctest.DocTest(examples(name), vars(project), name, None, 0, docstring(name))
    report = []

    result = doctest.DocTestRunner(optionflags=FLAGS).run(test, out=report.append, clear_globs=False)

    assert result.failed == 0, "".join(report)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_stands_in_its_own_section_and_imports_no_headrace(name):
    page = docstring(name)

    assert "\nExample:\n    " in page
    assert ">>>" not in page.partition("\nExample:\n")[0]
    assert [each.source for each in examples(name) if "import headrace" in each.source] == []
    assert [each.source for each in examples(name) if "from headrace" in each.source] == []


def test_an_alias_is_what_has_no_docstring_of_its_own():
    aliases = [name for name in NAMES if not name.startswith("hr.protocols.") and not _has_own(getattr(hr, name[3:]))]

    assert aliases == list(ALIASES)


def _has_own(value):
    return inspect.isclass(value) or inspect.isfunction(value) or inspect.ismodule(value)
