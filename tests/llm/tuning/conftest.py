import importlib.util
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("tickets.py")


@pytest.fixture(scope="session")
def tickets():
    """The tuning of `tickets.py`, which is a program too."""
    spec = importlib.util.spec_from_file_location("tickets", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
