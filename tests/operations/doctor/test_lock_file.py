"""The lock file, against what is really installed in this environment."""

import subprocess
import sys
from importlib.metadata import distributions

import pytest

from headrace.operations.doctor.lock_file import lock_file


def installed():
    """What pip itself writes, of what is installed here."""
    named = {each.name: each.version for each in distributions() if each.name != "headrace"}
    return "".join(f"{name}=={version}\n" for name, version in sorted(named.items()))


def check(tmp_path, text):
    (tmp_path / "requirements.lock").write_text(text)
    (found,) = lock_file(tmp_path)
    return found


def test_what_is_installed_is_what_is_locked(tmp_path):
    found = check(tmp_path, installed())
    assert (found.result, found.way) == ("ok", "")


def test_a_lock_with_hashes_comments_and_markers_is_read(tmp_path):
    from importlib.metadata import version

    import click

    text = (
        "# by uv\n--index-url https://example.org/simple\n"
        f"click=={version('click')} \\\n    --hash=sha256:{'0' * 64} \\\n    --hash=sha256:{'1' * 64}\n    # via headrace\n"
        "colorama==0.4.6 ; sys_platform == 'win32'\n"
    )
    assert click
    assert check(tmp_path, text).found == "the 1 of requirements.lock are installed"


def test_no_lock_is_a_warning(tmp_path):
    (found,) = lock_file(tmp_path)
    assert found.result == "warning"
    assert "there is no requirements.lock" in found.found


def test_an_edited_lock_names_what_differs(tmp_path):
    lines = installed().splitlines()
    edited = [f"{line.split('==')[0]}==0.0.1" for line in lines[:14]]
    found = check(
        tmp_path, "\n".join([*edited, *lines[14:], "never-heard-of==1.0", "click>=8", "duckdb @ https://x/y.whl"])
    )

    assert found.result == "warning"
    assert found.found.startswith("15 differ: ")
    assert f"{lines[0].split('==')[0]} {lines[0].split('==')[1]}, locked 0.0.1" in found.found
    assert "and 5 more" in found.found
    assert "without a version: click, duckdb" in found.found
    assert "pip install -r requirements.lock" in found.way


def test_a_locked_distribution_that_is_not_installed_is_named(tmp_path):
    assert "never-heard-of 1.0 is not installed" in check(tmp_path, "never-heard-of==1.0").found


@pytest.mark.parametrize("text", ["click==8==9", "<html>", "a b c"])
def test_a_file_that_is_no_lock_is_named_with_its_line(tmp_path, text):
    found = check(tmp_path, f"\n{text}\n")
    assert (found.result, found.found[:26]) == ("failed", "requirements.lock: line 2 "[:26])


def test_what_pip_freezes_can_be_read(tmp_path):
    frozen = subprocess.run(
        [sys.executable, "-m", "pip", "freeze", "--exclude-editable"], capture_output=True, text=True, check=False
    )
    if frozen.returncode:
        pytest.skip("there is no pip in this environment")
    assert check(tmp_path, frozen.stdout).result == "ok"
