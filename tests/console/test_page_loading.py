"""Pages are loaded when they are asked for: each word leads to the module that answers it, and a module to its words."""

import pkgutil
import subprocess
import sys
from importlib import import_module

from headrace.console import pages
from headrace.console.page_loading import MODULES

from .conftest import HOST


def test_the_first_word_of_each_route_names_its_module():
    words = {}
    for each in pkgutil.iter_modules(pages.__path__):
        for route in import_module(f"headrace.console.pages.{each.name}").ROUTES:
            begin = route.path.removeprefix("/{env}").removeprefix("/").partition("/")[0]
            assert words.setdefault(begin, each.name) == each.name
    assert words == dict(MODULES)


def test_what_no_module_has_is_no_page(console):
    browser, _ = console
    for path in ("/dev/nothing", "/dev/models/", "/dev/home", "//", "/dev/sign-in/x"):
        assert browser.get(path, host=HOST).status in (404, 307), path


def test_the_console_starts_without_what_only_pages_need():
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, headrace.console.app; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "starlette" in loaded
    heavy = {"pandas", "numpy", "pyarrow", "duckdb", "deltalake", "sqlglot", "mlflow", "sklearn"}
    assert not heavy & set(loaded)
    assert not [each for each in loaded if each.startswith("headrace.console.pages.")]
