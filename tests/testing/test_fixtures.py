"""The fixtures, in a project's own tests, run by pytest as its users do."""

import shutil
import subprocess
import sys
from pathlib import Path

import headrace.examples

TESTS = """
import shop
from headrace.core import clock

pytest_plugins = ["headrace.testing.fixtures"]
ROWS = [{"order_id": 1, "customer": "c", "ordered_at": "2025-01-01", "amount": 2.0, "delivered_at": "2025-01-02"}]
folders = []


def test_environments(headrace_environment):
    one, other = headrace_environment(shop, at="2025-05-01"), headrace_environment(shop)
    folders.extend([one.folder, other.folder])
    assert all(folder.exists() for folder in folders)
    one.load("bronze.orders", ROWS)


def test_they_are_gone():
    assert len(folders) == 2 and not any(folder.exists() for folder in folders)


def test_clock(frozen_clock):
    frozen_clock("2020-02-29")
    assert clock.now().isoformat().startswith("2020-02-29T00:00:00")


def test_clock_is_back():
    assert clock.now().year > 2020
"""


def test_fixtures_of_a_project(shop):
    folder = Path(shop.__file__).parent
    (folder / "test_shop.py").write_text(TESTS, encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "4 passed" in done.stdout, done.stdout


def test_nothing_is_loaded_unasked():
    """pytest finds no plugin of Headrace by itself."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--fixtures", "-q", "/dev/null"], capture_output=True, text=True, check=False
    )

    assert "headrace_environment" not in done.stdout


def test_the_tests_of_the_example_pass(tmp_path):
    folder = tmp_path / "flights"
    shutil.copytree(
        Path(headrace.examples.__file__).parent / "flights", folder, ignore=shutil.ignore_patterns(".*", "__pycache__")
    )

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "4 passed" in done.stdout, done.stdout
