"""Projects that once came out wrong; each test works on a copy."""

import shutil
from pathlib import Path

import pytest
from deltalake import DeltaTable


class Case:
    """A copy of a project, and the commands that are run in it."""

    def __init__(self, headrace, folder):
        self.headrace, self.folder = headrace, folder

    def run(self, *commands, code=0):
        """Runs `headrace run …` for each of these texts; gives the last answer."""
        done = None
        for command in commands:
            done = self.headrace.run(self.folder, "run", *command.split())
            assert done.code == code, done.stdout + done.stderr
        return done

    def table(self, name):
        """The rows of a table as pandas has them."""
        return DeltaTable(str(self.folder.joinpath(".headrace", "dev", "lakehouse", *name.split(".")))).to_pandas()


@pytest.fixture
def case(headrace, tmp_path):
    """`case("name")`: the project of that name."""

    def copied(name):
        return Case(headrace, Path(shutil.copytree(Path(__file__).parent / name, tmp_path / name)))

    return copied


@pytest.fixture
def project(headrace, tmp_path):
    """`project({"proj.py": …})`: a project of these files."""

    def written(files):
        folder = tmp_path / "project"
        for name, text in {"headrace.toml": '[project]\nname = "p"\nmodule = "proj"\n\n[env.dev]\n', **files}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        return Case(headrace, folder)

    return written
