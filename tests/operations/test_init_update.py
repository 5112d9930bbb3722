"""`headrace init --update`: a project that people have worked in, and templates that have changed since."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from headrace.cli.init import command
from headrace.core import locks
from headrace.core.errors import ConfigError, NotFoundError, RefusedError
from headrace.operations import init_update
from headrace.operations.init import create_project
from headrace.operations.init_update import update_project
from headrace.scaffold import base, project_files, templates, update

NEWER = "9.0.0"
UPDATE = """\
import sys
from pathlib import Path
from headrace.operations import init_update
from headrace.scaffold import templates
templates.FOLDER, init_update.installed_version = Path(sys.argv[1]), lambda: "9.0.0"
init_update.update_project()
"""


def git(folder, *words):
    done = subprocess.run(
        ["git", "-c", "user.name=A", "-c", "user.email=a@b.c", *words], cwd=folder, capture_output=True, text=True, check=True
    )  # fmt: skip
    return done.stdout.strip()


def commit(folder):
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "a change")


def edit(path, before, after):
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project of the shipped templates."""
    here = tmp_path_factory.mktemp("made")
    create_project("shop", folder=here, git=False)
    git(here / "shop", "init", "--quiet", "--initial-branch=main")
    commit(here / "shop")
    return here / "shop"


@pytest.fixture
def shop(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "shop", symlinks=True))


@pytest.fixture
def newer(tmp_path, monkeypatch):
    """The templates of a newer version, which a test changes: nothing else of that version is."""
    folder = Path(shutil.copytree(templates.FOLDER, tmp_path / "templates"))
    monkeypatch.setattr(templates, "FOLDER", folder)
    monkeypatch.setattr(init_update, "installed_version", lambda: NEWER)
    return folder / "project"


def results(done):
    return {each.path: each.result for each in done.files}


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).parts[0] not in (".git", ".headrace")
    }


def test_with_the_same_templates_there_is_nothing_to_do(shop):
    before = content(shop)
    for _ in range(2):
        done = update_project(shop / "shop")
        assert (done.files, done.conflicts, done.before) == ((), 0, done.after)
    assert content(shop) == before
    assert git(shop, "status", "--porcelain") == ""


def test_an_assistant_is_brought_forward_and_its_documents_are_left_alone(tmp_path, newer):
    (tmp_path / "pages").mkdir()
    for number in range(3):
        (tmp_path / "pages" / f"{number}.md").write_text(f"# Page {number}\n\nIt is so.\n")
    create_project("helper", kind="assistant", folder=tmp_path, source=tmp_path / "pages", ci=["github"], git=False)
    helper = tmp_path / "helper"
    git(helper, "init", "--quiet")
    edit(helper / "headrace.toml", "gpt-4.1-mini", "gpt-5")
    (helper / "data" / "documents" / "2.md").write_text("ours")
    edit(helper / ".headrace-template.toml", '["github"]', '["github", "gitlab"]')
    commit(helper)
    edit(newer.parent / "assistant" / "answer.md.txt", "in one short sentence", "in a sentence")
    edit(newer.parent / "assistant" / "routes.toml.txt", 'day = "10.00"', 'day = "5.00"')
    done = update_project(helper)

    assert results(done) == {
        ".gitlab-ci.yml": "added",
        "headrace.toml": "merged",
        "helper/answer.md": "updated",
        ".headrace-template.toml": "updated",
        ".headrace-template.gz": "updated",
    }
    assert "gpt-5" in (helper / "headrace.toml").read_text()
    assert 'day = "5.00"' in (helper / "headrace.toml").read_text()
    assert (helper / "data" / "documents" / "2.md").read_text() == "ours"
    commit(helper)
    assert update_project(helper).files == ()
    edit(helper / ".headrace-template.toml", 'kind = "assistant"', 'kind = "asistant"')
    commit(helper)
    with pytest.raises(NotFoundError, match="did you mean 'assistant'"):
        update_project(helper)


def test_what_both_changed_is_merged_and_what_was_deleted_stays_so(shop, newer, monkeypatch):
    edit(shop / "README.md", "# shop\n", "# Our shop\n")
    edit(shop / "shop" / "project.py", "hr.documented(),", "hr.documented(),\n        hr.at_least('roc_auc', 0.6),")
    (shop / "tests" / "unit" / "test_project.py").unlink()
    (shop / "ours.txt").write_text("ours")
    commit(shop)
    edit(newer.parent / "tabular" / "README.md.txt", "`headrace up` does all of this", "`headrace up` does all that")
    edit(newer / "ci_run.txt", "set -eu\n", "set -eu\numask 077\n")
    edit(newer.parent / "tabular" / "test_project.py.txt", "import json\n", "import json\nimport os\n")
    (newer / "new.txt").write_text("new\n")
    files = {**project_files.FILES, "docs/new.md": "project/new"}
    del files["pyproject.toml"]
    monkeypatch.setattr(project_files, "FILES", files)
    done = update_project(shop)

    assert results(done) == {
        "README.md": "merged",
        "ci/run": "updated",
        "docs/new.md": "added",
        "pyproject.toml": "removed",
        "tests/unit/test_project.py": "left out",
        ".headrace-template.toml": "updated",
        ".headrace-template.gz": "updated",
    }
    assert (done.after, done.conflicts, done.resumed) == (NEWER, 0, False)
    readme = (shop / "README.md").read_text()
    assert readme.startswith("# Our shop\n")
    assert "`headrace up` does all that" in readme
    assert "hr.at_least('roc_auc', 0.6)" in (shop / "shop" / "project.py").read_text()
    assert "umask 077" in (shop / "ci" / "run").read_text()
    assert os.access(shop / "ci" / "run", os.X_OK)
    assert (shop / "docs" / "new.md").read_text() == "new\n"
    assert not (shop / "pyproject.toml").exists()
    assert not (shop / "tests" / "unit" / "test_project.py").exists()
    assert f'headrace = "{NEWER}"' in (shop / ".headrace-template.toml").read_text()
    assert not list((shop / ".headrace").glob("update-*"))

    with pytest.raises(RefusedError, match="not committed"):
        update_project(shop)
    commit(shop)
    assert update_project(shop).files == ()
    edit(
        newer.parent / "tabular" / "test_project.py.txt", "import os\n", "import re\n"
    )  # deleted files stay deleted in each later update
    assert results(update_project(shop)) == {
        "tests/unit/test_project.py": "left out",
        ".headrace-template.gz": "updated",
    }
    assert not (shop / "tests" / "unit" / "test_project.py").exists()


def test_conflicts_are_left_with_markers_and_listed(shop, newer, monkeypatch):
    edit(shop / "ci" / "run", "set -eu\n", "set -eux\n")
    edit(shop / "pyproject.toml", "pytest", "pytest  # ours")
    (shop / "requirements.txt").write_bytes(b"\0binary")
    (shop / "requirements-dev.txt").unlink()
    (shop / "requirements-dev.txt").symlink_to("/etc/hostname")
    shutil.rmtree(shop / "tests" / "integration")
    (shop / "tests" / "integration").write_text("a file")
    commit(shop)
    (shop / ".headrace").mkdir(exist_ok=True)
    (shop / ".headrace" / "mine").write_text("ignored by git")
    edit(newer / "ci_run.txt", "set -eu\n", "set -e\n")
    edit(newer.parent / "tabular" / "README.md.txt", "# <<name>>\n", "# The project <<name>>\n")
    for each in ("requirements.txt", "requirements-dev.txt", "../tabular/test_pipelines.py.txt", "new.txt"):
        (newer / each).write_text("new\n")
    files = {**project_files.FILES, ".headrace/mine": "project/new"}
    del files["pyproject.toml"]
    monkeypatch.setattr(project_files, "FILES", files)
    monkeypatch.chdir(shop)
    done = CliRunner().invoke(command, ["--update"], obj={})

    assert done.exit_code == 1, done.output
    listed = {
        line.split()[-1] if line.split()[0] != "conflict" else line.split()[1]: line
        for line in done.stdout.splitlines()[1:]
    }
    conflicts = {path: line for path, line in listed.items() if line.startswith("conflict")}
    assert set(conflicts) == {
        ".headrace/mine", "ci/run", "pyproject.toml", "requirements.txt", "requirements-dev.txt", "tests/integration/test_pipelines.py",
    }  # fmt: skip
    assert "1 place with markers" in conflicts["ci/run"]
    assert "does not have it any more" in conflicts["pyproject.toml"]
    assert "it is no text" in conflicts["requirements.txt"]
    assert "it is no plain file" in conflicts["requirements-dev.txt"]
    assert "tests/integration is no folder" in conflicts["tests/integration/test_pipelines.py"]
    assert "it is not in git" in conflicts[".headrace/mine"]
    script = (shop / "ci" / "run").read_text()
    assert "<<<<<<< yours\nset -eux\n" in script
    assert f"set -e\n>>>>>>> headrace {NEWER}\n" in script
    assert (shop / "README.md").read_text().startswith("# The project shop\n")
    assert (shop / "requirements.txt").read_bytes() == b"\0binary"
    assert (shop / "requirements-dev.txt").is_symlink()
    assert (shop / "tests" / "integration").read_text() == "a file"
    assert (shop / ".headrace" / "mine").read_text() == "ignored by git"
    assert "# ours" in (shop / "pyproject.toml").read_text()

    commit(shop)
    again = CliRunner().invoke(command, ["--update"], obj={})
    assert (again.exit_code, again.stdout) == (0, "")
    assert "nothing to do" in again.stderr


def test_a_file_that_both_added_is_a_conflict_or_the_same(shop, newer, monkeypatch):
    (shop / "one.txt").write_text("new\n")
    (shop / "two.txt").write_text("ours\n")
    commit(shop)
    (newer / "new.txt").write_text("new\n")
    monkeypatch.setattr(
        project_files, "FILES", {**project_files.FILES, "one.txt": "project/new", "two.txt": "project/new"}
    )
    done = update_project(shop)

    assert results(done)["two.txt"] == "conflict"
    assert "one.txt" not in results(done)
    assert (shop / "two.txt").read_text() == f"<<<<<<< yours\nours\n=======\nnew\n>>>>>>> headrace {NEWER}\n"


def test_a_file_for_another_ci_system_comes_with_its_answer(shop):
    for path in (".gitlab-ci.yml",):
        (shop / path).unlink()
    edit(shop / ".headrace-template.toml", 'ci = ["github", "gitlab"]', 'ci = ["github"]')
    made = base.read_base(shop)
    del made[".gitlab-ci.yml"]
    (shop / base.FILE).write_bytes(base.pack(made))
    commit(shop)
    edit(shop / ".headrace-template.toml", 'ci = ["github"]', 'ci = ["github", "gitlab"]')
    commit(shop)

    assert results(update_project(shop)) == {".gitlab-ci.yml": "added", ".headrace-template.gz": "updated"}


@pytest.mark.parametrize("change", ["edited", "staged", "untracked", "deleted"])
def test_nothing_is_touched_where_something_is_not_committed(shop, newer, change):
    edit(newer.parent / "tabular" / "README.md.txt", "# <<name>>\n", "# The project <<name>>\n")
    if change == "untracked":
        (shop / "untracked.txt").write_text("mine")
    elif change == "deleted":
        (shop / "request.json").unlink()
    else:
        edit(shop / "request.json", "{", "{ ")
    if change == "staged":
        git(shop, "add", "--all")
    before = content(shop)
    with pytest.raises(RefusedError, match="changes that are not committed") as error:
        update_project(shop)

    assert error.value.findings[0][3:] == ("untracked.txt" if change == "untracked" else "request.json")
    assert content(shop) == before


def test_in_a_folder_of_a_larger_repository_only_the_project_counts(shop, newer):
    shutil.rmtree(shop / ".git")
    outer = shop.parent / "outer"
    outer.mkdir()
    shop = Path(shutil.move(shop, outer / "shop"))
    git(outer, "init", "--quiet")
    commit(outer)
    (outer / "elsewhere.txt").write_text("not committed")
    edit(newer.parent / "tabular" / "README.md.txt", "# <<name>>\n", "# The project <<name>>\n")

    assert results(update_project(shop))["README.md"] == "updated"


def test_what_cannot_be_updated_says_why(shop, newer, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"no headrace\.toml"):
        update_project(tmp_path)
    with locks.hold(_lock(shop)), pytest.raises(RefusedError, match="by another process"):
        update_project(shop)
    whole = (shop / base.FILE).read_bytes()
    for broken in (b"", whole[:-20], b"no gzip", base.pack({})[:-1], __import__("gzip").compress(b"[1]")):
        (shop / base.FILE).write_bytes(broken)
        with pytest.raises(ConfigError, match=r"headrace-template\.gz cannot be read"):
            update_project(shop)
    (shop / base.FILE).unlink()
    with pytest.raises(ConfigError, match=r"There is no \.headrace-template\.gz"):
        update_project(shop)
    (shop / base.FILE).write_bytes(whole)
    monkeypatch.setattr(init_update, "installed_version", lambda: "0.0.1")
    with pytest.raises(ConfigError, match=r"installed is 0\.0\.1") as error:
        update_project(shop)
    assert "pip install 'headrace>=" in error.value.hint
    monkeypatch.setattr(init_update, "installed_version", lambda: NEWER)
    shutil.rmtree(shop / ".git")
    with pytest.raises(RefusedError, match="is in no git repository"):
        update_project(shop)
    monkeypatch.chdir(shop)
    for words in (["shop", "--update"], ["--update", "--kind", "tabular"], ["--update", "--no-git"], []):
        assert CliRunner().invoke(command, words, obj={}).exit_code == 2


def _lock(shop):
    (shop / ".headrace").mkdir(exist_ok=True)
    return shop / update.LOCK


def killed(shop, newer, failpoint):
    done = subprocess.run(
        [sys.executable, "-c", UPDATE, str(newer.parent)], cwd=shop, env={**os.environ, "HEADRACE_FAILPOINT": failpoint},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr


PLACES = ["update.written:project", "update.prepared:project", "update.placed:README.md", "update.placed:ci/run", "update.placed:.headrace-template.gz"]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_a_killed_update_is_not_begun_or_is_completed_by_the_next_one(shop, newer, tmp_path, place):
    edit(shop / "ci" / "run", "set -eu\n", "set -eux\n")
    commit(shop)
    edit(newer.parent / "tabular" / "README.md.txt", "# <<name>>\n", "# The project <<name>>\n")
    edit(newer / "ci_run.txt", "set -eu\n", "set -e\n")
    before, whole = content(shop), Path(shutil.copytree(shop, tmp_path / "whole", symlinks=True))
    expected = update_project(whole)
    killed(shop, newer, place)
    if place in PLACES[:2]:
        assert content(shop) == before
    done = update_project(shop)

    assert done.resumed is (place != PLACES[0])
    assert (done.conflicts, results(done)) == (1, results(expected))
    assert content(shop) == content(whole)
    assert os.access(shop / "ci" / "run", os.X_OK)
    assert [each.name for each in (shop / ".headrace").glob("update*")] == ["update.lock"]
    commit(shop)
    assert update_project(shop).files == ()


def test_what_was_edited_after_an_interruption_is_not_overwritten(shop, newer):
    edit(newer.parent / "tabular" / "README.md.txt", "# <<name>>\n", "# The project <<name>>\n")
    edit(newer / "ci_run.txt", "set -eu\n", "set -e\n")
    killed(shop, newer, "update.placed:README.md")
    edit(shop / "ci" / "run", "set -eu\n", "set -eux\n")
    before = content(shop)
    with pytest.raises(RefusedError, match="was interrupted here") as error:
        update_project(shop)

    assert error.value.findings == ("ci/run",)
    assert content(shop) == before
    subprocess.run(["sh", "-c", error.value.hint.rpartition(": ")[2]], cwd=shop, check=True, capture_output=True)
    assert results(update_project(shop))["ci/run"] == "updated"
