"""`headrace init`: a project from nothing to an answer; questions; what is refused, and that nothing is left of it."""

import json
import os
import pty
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from tests.docs.test_tutorial import printed, shown
from tests.scaffold.tables import visits

COMMAND = [sys.executable, "-m", "headrace.cli"]


@pytest.fixture
def identity(tmp_path, monkeypatch):
    """git knows one person, and nothing else of this machine."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text('[user]\nname = "Ann"\nemail = "ann@example.org"\n')
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return home


@pytest.fixture
def here(tmp_path, identity):
    """An empty folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


@pytest.fixture
def init(headrace, here, identity):
    """Runs `headrace init` in the empty folder."""

    def run(*words, failpoint=None):
        home = {"HOME": str(identity), "XDG_CONFIG_HOME": ""}
        return headrace.run(here, "init", *words, env=home, failpoint=failpoint)

    return run


def git(folder, *words):
    return subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True).stdout


def console(page):
    """Each command of a page, with what it shows."""
    for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL):
        for entry in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, _, output = entry.partition("\n")
            yield line, output


def test_from_an_empty_folder_to_an_answer_by_the_commands_of_the_readme(headrace, init, here):
    assert init("shop").code == 0
    folder = here / "shop"
    shows = dict(console((folder / "README.md").read_text()))
    port = free_port()
    unit = subprocess.run(
        ["ci/run", "unit"], cwd=folder, env=with_this_python(), capture_output=True, text=True, check=False
    )
    assert unit.returncode == 0, unit.stdout + unit.stderr
    assert "4 passed" in unit.stdout
    assert "warning" not in unit.stdout

    for pipeline in ("refresh", "train", "deploy"):
        done = headrace.run(folder, "run", pipeline)
        assert done.code == 0, done.stderr
        assert re.fullmatch(shown(shows[f"headrace run {pipeline}"]), printed(done.stderr)), done.stderr

    server = subprocess.Popen(
        [*COMMAND, *shlex.split("serve late --port"), str(port)], cwd=folder, stderr=subprocess.PIPE
    )
    try:
        assert served(server)
        body = (folder / "request.json").read_bytes()
        asked = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations", body, {"content-type": "application/json"}
        )
        answer = urllib.request.urlopen(asked, timeout=60).read().decode()
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate()
    expected = json.loads(next(output for line, output in shows.items() if line.startswith("curl")))
    (mine,), (theirs,) = json.loads(answer)["predictions"], expected["predictions"]
    assert mine["probability"] == pytest.approx(theirs["probability"], abs=1e-6)
    assert git(folder, "status", "--porcelain") == ""

    score = next(each for each in shows if each.startswith("headrace run score"))
    assert headrace.run(folder, *score.split()[1:]).code == 0
    assert headrace.run(folder, "run", "monitor").code == 0
    windows = headrace.run(folder, "monitor", "show", "late", "--json").json()
    assert windows["drift"]


def served(server):
    """Whether the server says that it listens."""
    return any(b"serving on" in line for line in iter(server.stderr.readline, b""))


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def with_this_python():
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "CI": ""}


def test_a_project_is_a_repository_with_one_commit(init, here):
    done = init("shop", "--json")
    made = done.json()

    assert (done.code, made["name"], made["kind"], made["reason"]) == (0, "shop", "tabular", "")
    assert git(here / "shop", "log", "--format=%h %an <%ae> %s").strip() == (
        f"{made['commit']} Ann <ann@example.org> A new Headrace project"
    )
    assert git(here / "shop", "branch", "--show-current").strip() == "main"
    assert sorted(git(here / "shop", "ls-files").split()) == sorted(made["files"])
    assert git(here / "shop", "ls-files", "--stage", "ci/run").startswith("100755")
    assert [each.name for each in here.iterdir()] == ["shop"]


def test_of_a_file_everything_guessed_is_listed_with_what_changes_it(init, here):
    (here / "visits.csv").write_bytes(visits())
    done = init("shop", "--from", "visits.csv", "--no-git", "--ci", "none")

    assert done.code == 0
    assert re.search(r"^label +returned +.*--label COLUMN$", done.stdout, re.MULTILINE)
    assert re.search(r"^key +visit_id +.*--key COLUMN$", done.stdout, re.MULTILINE)
    assert (here / "shop" / "data" / "visits.csv").read_bytes() == visits()
    assert 'positive="yes"' in (here / "shop" / "shop" / "project.py").read_text()
    assert not (here / "shop" / ".git").exists()
    assert not (here / "shop" / ".gitlab-ci.yml").exists()


def test_in_a_repository_no_other_one_is_made(init, here):
    git(here, "init", "--quiet")
    made = init("shop", "--json").json()

    assert (made["commit"], made["reason"]) == ("", "the folder is in a repository already")
    assert not (here / "shop" / ".git").exists()
    assert git(here, "status", "--porcelain").strip() == "?? shop/"


def test_where_git_knows_nobody_the_files_are_there_and_the_fix_works(init, here, identity):
    (identity / ".gitconfig").unlink()
    done = init("shop")

    assert done.code == 0
    assert "Not committed: git does not know user.name and user.email" in done.stderr
    assert len(git(here / "shop", "status", "--porcelain").splitlines()) > 15
    (fix,) = re.findall(r"^  (cd shop && .*)$", done.stderr, re.MULTILINE)
    subprocess.run(["sh", "-c", fix], cwd=here, check=True, capture_output=True)
    assert git(here / "shop", "log", "--format=%an %s").strip() == "Your Name A new Headrace project"


def converse(folder, *words, answers):
    """What `headrace init` says on a terminal to somebody who types these lines; its exit code."""
    master, slave = pty.openpty()
    process = subprocess.Popen([*COMMAND, "init", *words], cwd=folder, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    told, left = "", list(answers)
    while part := _read(master):
        told += part
        if told.rstrip(" ").endswith(":") and left:
            os.write(master, f"{left.pop(0)}\n".encode())
            told += "\n"
    os.close(master)
    return told, process.wait(), left


def _read(terminal):
    try:
        return os.read(terminal, 65536).decode(errors="replace")
    except OSError:  # what Linux says at the end
        return ""


def test_on_a_terminal_five_questions_are_asked_and_enter_takes_what_was_guessed(here):
    (here / "visits.csv").write_bytes(visits())
    told, code, left = converse(here, "shop", answers=["visits.csv", "order", "", "-", "gitlab"])
    written = (here / "shop" / ".headrace-template.toml").read_text()

    assert (code, left) == (0, [])
    assert told.count("(Enter:") == 5
    assert "Key, the column that tells rows apart (Enter: visit_id" in told
    assert 'label = "order"' in written
    assert 'time = ""' in written
    assert 'ci = ["gitlab"]' in written


def test_of_an_assistant_the_columns_of_a_table_are_asked_and_nothing_of_a_folder(here):
    (here / "faq.csv").write_text("id,topic,answer\n" + "".join(f"{n},t{n},It is {n} of them.\n" for n in range(4)))
    told, code, left = converse(here, "helper", "--kind", "assistant", answers=["faq.csv", "", "topic", "none"])
    written = (here / "helper" / ".headrace-template.toml").read_text()

    assert (code, left, told.count("(Enter:")) == (0, [], 4)
    assert "Text, the column to answer from (Enter: answer" in told
    assert 'key = "topic"' in written
    (here / "pages").mkdir()
    for number in range(3):
        (here / "pages" / f"{number}.md").write_text(f"# Page {number}\n\nIt is so.\n")
    told, code, left = converse(here, "pager", "--kind", "assistant", answers=["pages", "none"])
    assert (code, left, told.count("(Enter:")) == (0, [], 2)
    assert (here / "pager" / "data" / "documents" / "2.md").read_text() == "# Page 2\n\nIt is so.\n"
    assert "python -m pager.offline &" in told


def test_options_answer_their_questions_beforehand(here):
    told, code, left = converse(here, "shop", "--label", "late", "--no-git", answers=[""])

    assert (code, left, told.count("(Enter:")) == (2, [], 1)
    assert "column 'late' is of a file, and there is none" in told
    told, code, _ = converse(here, "shop", "--yes", answers=[])
    assert (code, told.count("(Enter:")) == (0, 0)


BAD = {
    "a name": (["my-shop"], "'my-shop' is no name of a project"),
    "a module": (["numpy"], "is the name of a module that is installed here"),
    "a kind": (["shop", "--kind", "tabluar"], "did you mean 'tabular'"),
    "another kind": (["shop", "--kind", "chat"], "no kind of project 'chat': there is 'assistant', 'tabular'"),
    "an option of another kind": (
        ["shop", "--kind", "assistant", "--label", "x"],
        "--label is nothing of a project of",
    ),
    "no folder": (["shop", "--kind", "assistant", "--from", "absent"], "absent is no CSV file and no folder"),
    "documents in latin1": (["shop", "--kind", "assistant", "--from", "latin1.csv"], "iconv -f latin1"),
    "no documents": (["shop", "--kind", "assistant", "--from", "full"], "has 0 documents with a text"),
    "a folder of rows": (["shop", "--from", "full.csv"], "full.csv cannot be read: Is a directory"),
    "ci": (["shop", "--ci", "githup"], "did you mean 'github'"),
    "no file": (["shop", "--from", "absent.csv"], "absent.csv cannot be read: No such file"),
    "no CSV": (["shop", "--from", "rows.parquet"], "rows.parquet is no CSV file"),
    "an empty file": (["shop", "--from", "empty.csv"], "empty.csv is empty"),
    "latin1": (["shop", "--from", "latin1.csv"], "iconv -f latin1"),
    "a column": (["shop", "--from", "visits.csv", "--label", "returnd"], "did you mean 'returned'"),
    "a label": (["shop", "--from", "visits.csv", "--label", "comment"], "each of its 120 values is another one"),
    "a label of no file": (["shop", "--label", "x"], "is of a file, and there is none"),
    "full": (["full"], "is not empty: it has 'mine.txt'"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_made_says_why_and_writes_nothing(init, here, case):
    words, reason = BAD[case]
    (here / "visits.csv").write_bytes(visits())
    (here / "empty.csv").touch()
    (here / "latin1.csv").write_bytes(b"a,b\n" + "é,2\n".encode("latin-1") * 60)
    (here / "full").mkdir()
    (here / "full" / "mine.txt").touch()
    (here / "full.csv").mkdir()
    before = sorted(here.rglob("*"))
    done = init(*words)

    assert (done.code, done.stdout) == (2, "")
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(here.rglob("*")) == before


def test_without_git_a_project_is_made_on_request_only(here, tmp_path):
    empty = tmp_path / "bin"
    empty.mkdir()
    env = {**os.environ, "PATH": str(empty)}
    refused = subprocess.run([*COMMAND, "init", "shop"], cwd=here, env=env, capture_output=True, text=True, check=False)
    assert (refused.returncode, list(here.iterdir())) == (2, [])
    assert "headrace init NAME --no-git" in refused.stderr
    made = subprocess.run(
        [*COMMAND, "init", "shop", "--no-git"], cwd=here, env=env, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr


@pytest.mark.parametrize("place", ["init.written:project", "init.committed:project"])
def test_a_killed_init_leaves_no_project_and_the_next_one_makes_it(init, here, place):
    killed = init("shop", failpoint=place)

    assert killed.signal == signal.SIGKILL
    assert not (here / "shop").exists()
    assert init("shop").code == 0
    assert [each.name for each in here.iterdir()] == ["shop"]


def test_an_interrupted_init_leaves_nothing(here, tmp_path):
    """git takes its time; Ctrl-C comes to both of them, as from a terminal."""
    waiting = tmp_path / "bin" / "git"
    waiting.parent.mkdir()
    began = tmp_path / "began"
    waiting.write_text(
        f'#!/bin/sh\ncase "$*" in *"init --quiet"*) touch {began}; exec sleep 60;; esac\nexec {shutil.which("git")} "$@"\n'
    )
    waiting.chmod(0o755)
    env = {**os.environ, "PATH": f"{waiting.parent}:{os.environ['PATH']}"}
    process = subprocess.Popen(
        [*COMMAND, "init", "shop"], cwd=here, env=env, stderr=subprocess.PIPE, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not began.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    told = process.communicate(timeout=60)[1].decode()

    assert (process.returncode, list(here.iterdir())) == (130, [])
    assert "Traceback" not in told
