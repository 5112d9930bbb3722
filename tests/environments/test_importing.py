import inspect
import pickle
import subprocess
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import cloudpickle
import pytest

from headrace.core.errors import ConfigError, DeclarationError, UserCodeError
from headrace.core.ids import new_id
from headrace.environments.importing import load_tree, namespace

LAZY = """\
import os
import shop.features
import shop.deep.inner as inner
from shop import features
from shop.features import NAME
from . import features as relative
from .deep import inner as deep_relative


def now():
    from shop.late import NAME as late
    import shop.late
    import shop.deep.later as later
    from shop import late as module
    return late, shop.late.NAME, later.NAME, module.NAME


class Thing:
    def name(self):
        import shop.late
        return shop.late.NAME
"""


@pytest.fixture
def tree(tmp_path):
    """Writes a project: `tree(name, **{"shop/project.py": "…"})` gives its folder."""

    def tree(name="one", files=None, *, says="one"):
        folder = tmp_path / name
        files = files or {
            "shop/__init__.py": "",
            "shop/project.py": LAZY,
            "shop/features.py": f"NAME = {says!r}\n",
            "shop/late.py": f"NAME = {says!r}\n",
            "shop/deep/inner.py": f"from ..features import NAME\nWORDS = [NAME, {says!r}]\n",
            "shop/deep/later.py": f"NAME = {says!r}\n",
        }
        for path, text in files.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return folder

    return tree


def load(folder, module="shop.project", version=None):
    return load_tree(folder, module, version=version or new_id())


def test_two_versions_live_side_by_side(tree):
    one, two = load(tree("one", says="one")), load(tree("two", says="two"))

    for module, name in ((one, "one"), (two, "two"), (one, "one")):
        assert module.NAME == module.features.NAME == module.relative.NAME == module.shop.features.NAME == name
        assert module.inner.WORDS == module.deep_relative.WORDS == [name, name]
        assert module.now() == (name,) * 4
        assert module.Thing().name() == name
    assert one.os is two.os


def test_imports_in_functions_work_in_threads(tree):
    one, two = load(tree("one", says="one")), load(tree("two", says="two"))

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda i: (one, two)[i % 2].now()[0], range(64)))

    assert said == ["one", "two"] * 32


def test_neither_touches_an_installed_package_of_that_name(tree, monkeypatch, tmp_path):
    installed = tmp_path / "installed"
    for file, text in {
        "shop/__init__.py": "",
        "shop/project.py": "",
        "shop/features.py": "NAME = 'installed'\n",
    }.items():
        (installed / file).parent.mkdir(parents=True, exist_ok=True)
        (installed / file).write_text(text)
    monkeypatch.syspath_prepend(str(installed))
    import shop.features

    try:
        module = load(tree())
        assert module.NAME == "one"
        assert module.now()[0] == "one"
        assert shop.features.NAME == "installed"
        assert sys.modules["shop"].__file__ == str(installed / "shop" / "__init__.py")
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
            del sys.modules[name]


def test_nothing_is_left_under_the_short_name_or_on_the_path(tree):
    path = list(sys.path)
    load(tree()).now()

    assert not [name for name in sys.modules if name.partition(".")[0] == "shop"]
    assert sys.path == path


def test_the_same_version_is_the_same_module(tree):
    folder = tree()
    first = load(folder, version="abc")

    assert load(folder, version="abc") is first
    assert sys.modules["headrace_project_abc.shop.project"] is first
    assert namespace("v1.0-rc/2") != namespace("v1.0-rc-2")


def test_an_edit_within_the_same_second_is_read(tree, monkeypatch):
    """Python's own cache of bytecode knows a file by its size and the second in which it was written."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    folder = tree(says="one")
    said = []
    for name in ("one", "two", "six"):
        (folder / "shop" / "features.py").write_text(f"NAME = {name!r}\n")
        said.append(load(folder).NAME)

    assert said == ["one", "two", "six"]
    assert not list(folder.rglob("__pycache__"))


def test_a_module_that_was_just_written_is_found(tree):
    folder = tree()
    for i in range(3):
        (folder / "shop" / f"new_{i}.py").write_text("")
        (folder / "shop" / "project.py").write_text(f"import shop.new_{i}\n")
        load(folder)


def test_files_and_sources_are_the_real_ones(tree):
    folder = tree()
    module = load(folder)

    assert module.__file__ == str(folder / "shop" / "project.py")
    assert inspect.getsource(module.now).startswith("def now():\n    from shop.late")
    assert inspect.getsourcefile(module.Thing) == module.__file__
    assert inspect.getsource(module) == LAZY


def test_other_things_in_the_folder_do_not_matter(tree):
    folder = tree(
        files={
            "setup.py": "raise RuntimeError\n",
            "conftest.py": "raise RuntimeError\n",
            "tests/test_project.py": "raise RuntimeError\n",
            "json/notes.txt": "",
            "email/one.csv": "",
            "click/draft.py": "raise RuntimeError\n",
            "headrace/local.py": "raise RuntimeError\n",
            "not-a-module.py": "raise RuntimeError\n",
            "shop/project.py": "import json, email.message, click, headrace as hr\nfrom headrace.core import errors\n",
        }
    )
    module = load(folder)

    import click

    assert module.click is click
    assert module.json.loads("1") == 1
    assert sys.modules["headrace"] is module.hr


def test_modules_beside_the_package_are_the_projects_too(tree):
    folder = tree(
        files={
            "settings.py": "NAME = 'beside'\n",
            "tools/words.py": "NAME = 'no __init__'\n",
            "shop/project.py": "import settings\nfrom tools.words import NAME\nNAMES = [settings.NAME, NAME]\n",
        }
    )

    assert load(folder).NAMES == ["beside", "no __init__"]


def test_a_source_folder_is_looked_into(tree):
    folder = tree(
        files={
            "src/shop/__init__.py": "",
            "src/shop/words.py": "NAME = 'src'\n",
            "src/shop/project.py": "from shop.words import NAME\n",
        }
    )

    assert load(folder).NAME == "src"


def test_a_single_file_is_a_project(tree):
    folder = tree(files={"project.py": "NAME = 1\n"})

    assert load(folder, "project").NAME == 1


def test_an_optional_module_can_be_tried(tree):
    folder = tree(
        files={
            "shop/project.py": """\
try:
    import shop.missing
except ModuleNotFoundError as error:
    said = error.name, str(error)
try:
    from shop import missing
except ImportError as error:
    found = None
"""
        }
    )

    assert load(folder).said == ("shop.missing", "No module named 'shop.missing'")


def test_modules_that_import_each_other(tree):
    folder = tree(
        files={
            "shop/project.py": "import shop.other\nNAME = 'project'\ndef other(): return shop.other.project()\n",
            "shop/other.py": "import shop.project\ndef project(): return shop.project.NAME\n",
        }
    )

    assert load(folder).other() == "project"


def test_a_version_moves_on_when_its_folder_is_gone(tree):
    version = new_id()
    first, second = tree("first"), tree("second")
    module = load(first, version=version)
    first.rename(first.with_name("gone"))

    assert load(second, version=version) is module
    assert module.now()[0] == "one"


# what goes wrong


def test_a_misspelt_keyword_of_a_declaration_gets_the_nearest_one(tree):
    folder = tree(files={"shop/project.py": 'import headrace as hr\n\nhr.Source("bronze.t", fils="data/*")\n'})

    with pytest.raises(UserCodeError, match=r"unexpected keyword argument 'fils'[\s\S]*Did you mean 'files'"):
        load(folder)


def test_an_exception_shows_the_users_lines_and_none_of_ours(tree):
    folder = tree(
        files={
            "shop/project.py": "import shop.broken\n",
            "shop/broken.py": "def divide():\n    return 1 / 0\n\n\ndivide()\n",
        }
    )

    with pytest.raises(UserCodeError) as raised:
        load(folder)

    message, shop = str(raised.value), folder / "shop"
    assert f"raised at {shop / 'broken.py'}:2: ZeroDivisionError: division by zero" in message
    assert [line.strip() for line in message.splitlines()[1:]] == [
        f"{shop / 'project.py'}:1, in <module>: import shop.broken",
        f"{shop / 'broken.py'}:5, in <module>: divide()",
        f"{shop / 'broken.py'}:2, in divide: return 1 / 0",
    ]
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    assert "headrace" not in message.replace(str(folder), "")


def test_after_a_repair_the_same_version_can_be_loaded(tree):
    folder, version = tree(files={"shop/project.py": "1 / 0\n"}), new_id()
    with pytest.raises(UserCodeError):
        load(folder, version=version)
    (folder / "shop" / "project.py").write_text("NAME = 1\n")

    assert load(folder, version=version).NAME == 1


@pytest.mark.parametrize("nested", [False, True])
def test_a_syntax_error_shows_the_line(tree, nested):
    broken = "x = 1\ndef f(:\n    pass\n"
    folder = tree(
        files={"shop/project.py": "from shop import broken\n", "shop/broken.py": broken}
        if nested
        else {"shop/project.py": broken}
    )

    with pytest.raises(UserCodeError) as raised:
        load(folder)

    message = str(raised.value)
    assert f"{folder / 'shop' / ('broken.py' if nested else 'project.py')}:2: SyntaxError: invalid syntax" in message
    assert "\n  def f(:\n        ^" in message


@pytest.mark.parametrize("text", ["if True:\nx = 1\n", "x = '\n", "x = 1\0\n", "x = 'ä'\n".encode("latin-1")])
def test_other_text_that_is_no_program(tree, text):
    folder = tree()
    file = folder / "shop" / "project.py"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())

    with pytest.raises(UserCodeError, match=r"shop/project\.py|source code"):
        load(folder)


def test_names_in_messages_are_the_users(tree):
    folder = tree(files={"shop/project.py": "from shop.words import nothing\n", "shop/words.py": ""})

    with pytest.raises(UserCodeError, match=r"cannot import name 'nothing' from 'shop\.words'") as raised:
        load(folder)
    assert "headrace_project" not in str(raised.value)


def test_a_missing_library_is_named(tree):
    folder = tree(files={"shop/project.py": "import no_such_library\n"})

    with pytest.raises(UserCodeError, match=r"project\.py:1: ModuleNotFoundError: No module named 'no_such_library'"):
        load(folder)


def test_a_program_that_exits_does_not_end_the_process(tree):
    folder = tree(files={"shop/project.py": "import sys\nsys.exit(0)\n"})

    with pytest.raises(UserCodeError, match=r"project\.py:2: SystemExit: 0"):
        load(folder)


def test_errors_of_declarations_are_not_wrapped(tree):
    folder = tree(files={"shop/project.py": "import headrace as hr\n\nhr.Table('bad name', key='x')\n"})

    with pytest.raises(DeclarationError, match="'bad name' is not a table name"):
        load(folder)


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("shop.projet", "Did you mean 'shop.project'"),
        ("shp.project", "Did you mean 'shop.project'"),
        ("zzz", "Known: "),
    ],
)
def test_a_missing_module_is_said_with_the_place(tree, module, said):
    folder = tree()

    with pytest.raises(ConfigError, match=rf"\[project\] module = '{module}'[\s\S]*{said}") as raised:
        load(folder, module)
    assert str(folder) in str(raised.value)


# what others do with what was loaded


def test_functions_and_classes_can_be_pickled_by_value(tree, tmp_path):
    files = {
        "shop/__init__.py": "",
        "shop/words.py": "def word(): return 'word'\n",
        "shop/project.py": """\
from shop import words
from shop.words import word
FACTOR = 2


def double(x):
    return FACTOR * x, word(), words.word()


class Thing:
    def __init__(self, x):
        self.x = x

    def double(self):
        return double(self.x)
""",
    }
    module = load(tree(files=files))
    pickled = [
        sys.modules[name] for name in sys.modules if name.startswith(module.__name__.partition(".")[0] + ".shop")
    ]
    for each in pickled:
        cloudpickle.register_pickle_by_value(each)
    try:
        data = cloudpickle.dumps((module.double, module.Thing(4)))
    finally:
        for each in pickled:
            cloudpickle.unregister_pickle_by_value(each)
    file = tmp_path / "data.pkl"
    file.write_bytes(data)

    script = "import pickle, sys; f, t = pickle.load(open(sys.argv[1], 'rb')); print(f(3), t.double())"
    done = subprocess.run(
        [sys.executable, "-c", script, file], capture_output=True, text=True, check=True, cwd=tmp_path
    )

    assert done.stdout == "(6, 'word', 'word') (8, 'word', 'word')\n"


def test_instances_can_be_pickled_by_name_where_the_version_is_loaded(tree):
    thing = load(tree()).Thing()

    assert type(pickle.loads(pickle.dumps(thing))) is type(thing)


def test_a_function_knows_its_version_wherever_it_is_called_from(tree):
    module = load(tree())
    call = SimpleNamespace(function=module.now)

    assert eval("call.function()", {"call": call, "__builtins__": {}})[0] == "one"


def test_tracebacks_name_the_real_file(tree):
    folder = tree(files={"shop/project.py": "def fail():\n    raise ValueError('no')\n"})
    module = load(folder)

    with pytest.raises(ValueError, match="no") as raised:
        module.fail()
    last = traceback.extract_tb(raised.value.__traceback__)[-1]
    assert (Path(last.filename), last.lineno, last.line) == (
        folder / "shop" / "project.py",
        2,
        "raise ValueError('no')",
    )
