import importlib
import sys
from pathlib import Path

import pytest
from tests.support.orders import late_orders

SHOP = Path(__file__).parent / "programs" / "shop.py"


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Writes a program, with parts of it replaced, and imports it as a user's tests do: `program("shop", {old: new})`."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))

    def write(name="shop", replaced=None):
        text = SHOP.read_text(encoding="utf-8")
        for old, new in (replaced or {}).items():
            assert old in text
            text = text.replace(old, new)
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
        sys.modules.pop(name, None)
        importlib.invalidate_caches()
        module = importlib.import_module(name)
        del sys.modules[name]  # the next test has another one
        return module

    return write


@pytest.fixture
def shop(program):
    return program()


@pytest.fixture(scope="session")
def orders():
    return late_orders()
