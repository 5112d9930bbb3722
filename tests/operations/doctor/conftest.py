import shutil
import subprocess
import sys

import pytest
from tests.cli import mini

from headrace.operations.doctor import diagnose
from headrace.operations.operation import At


class ExaminedProject:
    """A project that can be examined, with what is found by the name of the check."""

    def __init__(self, folder):
        self.folder = folder

    def configure(self, dev, more=""):
        """What `[env.dev]` has, and further tables."""
        text = mini.TOML.replace("[env.dev]\n", f"[env.dev]\n{dev}\n").replace("[env.live]\n", f"{more}\n[env.live]\n")
        (self.folder / "headrace.toml").write_text(text)

    def git(self, *arguments):
        command = ["git", "-c", "user.name=A", "-c", "user.email=a@b.c", *arguments]
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True)

    def examine(self, env="dev"):
        return {finding.check: finding for finding in diagnose(At(env=env, folder=self.folder))}


@pytest.fixture
def project(tmp_path):
    made = ExaminedProject(mini.write(tmp_path / "mini", orders=5))
    versions = subprocess.run(
        [
            sys.executable,
            "-c",
            "import importlib.metadata as m; print(*(f'{each}=={m.version(each)}' for each in ('click', 'headrace')), sep=chr(10))",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    (made.folder / "requirements.lock").write_text(versions.stdout)
    yield made
    shutil.rmtree(made.folder)
