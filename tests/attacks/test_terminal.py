"""What somebody else wrote steers no terminal: it is escaped at the one exit of the command line."""

import io
import json
import logging
import os
import pty
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.access.audit import record
from headrace.access.identity import Access
from headrace.cli import output
from headrace.core import logs
from headrace.core.state import State
from headrace.core.text import visible
from headrace.serving import model_reloader

CLI = Path(output.__file__).parent
SERVING = Path(model_reloader.__file__).parent
TOML = '[project]\nname = "mini"\nmodule = "mini"\n[env.dev]\n'
EVIL = "\x1b[2K\x1b[1A\r\x07\x08\x7f\x9b31m\u202e\u2066\u200f\u061c\u200b\ufeff\u2028\u2029\x85\x0b\U000e0041"
UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def hidden(text):
    return [each for each in text if unicodedata.category(each) in UNSEEN and each not in "\n\t"]


@pytest.fixture
def project(tmp_path):
    """A project whose audit record tells what an attacker wrote."""
    (tmp_path / "headrace.toml").write_text(TOML)
    (tmp_path / "mini.py").write_text("import headrace as hr\n")
    state = State(f"sqlite:///{tmp_path}/.headrace/dev/state.db")
    Access(state)
    with state.begin() as connection:
        record(connection, f"eve{EVIL}", f"approved{EVIL}", f"late/1{EVIL}", {f"reason{EVIL}": f"fine{EVIL}\nby  boss"})
    state.close()
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ["audit"],
        ["audit", "--json"],
        ["audit", "--verify"],
        ["sql", f"select '{EVIL}' as \"a{EVIL}\", 1 as b"],
        ["sql", f"select '{EVIL}' as \"a{EVIL}\"", "--json"],
        ["sql", f"select {EVIL}"],
        ["table", "show", f"bronze.{EVIL}"],
        ["model", "show", EVIL],
        ["runs", "show", EVIL],
        [EVIL],
        ["audit", f"--{EVIL}"],
        ["audit", "--limit", EVIL],
        ["audit", "--env", EVIL],
        ["api-key", "create", EVIL],
        ["access", "grant", EVIL, "admin"],
        ["run", "deploy", "--model", EVIL],
        ["run", "score", "--since", EVIL],
        ["table", "load", f"missing{EVIL}.csv"],
        ["model", "rollback", "late", "--reason", "\udcff\ud800"],
    ],
    ids=str,
)
def test_no_answer_and_no_error_steers_the_terminal(headrace, project, arguments):
    done = headrace.run(project, *arguments)

    assert hidden(done.stdout + done.stderr) == []
    assert "Traceback" not in done.stderr
    assert done.stdout + done.stderr


def test_json_is_escaped_and_still_says_the_same(headrace, project):
    done = headrace.run(project, "audit", "--json")

    assert done.json()[-1]["who"] == f"eve{EVIL}"


@given(st.text(st.characters(codec=None)))
def test_nothing_hidden_is_left_and_json_keeps_its_meaning(text):
    assert hidden(visible(text)) == []
    document = json.dumps({text: [text]}, ensure_ascii=False)
    written = "".join(map(output._in_json, document))
    assert hidden(written) == []
    assert json.loads(written) == {text: [text]}


def test_a_second_line_of_a_value_is_no_fact_of_its_own(capsys):
    output.facts({"reason": "fine\nrole    admin", "role": "viewer"})

    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("role")] == ["role    viewer"]


def test_our_own_styling_survives_and_a_forged_one_does_not(project):
    said = "from headrace.cli import output as o; o.put(o.bold('ours')); o.wrong('\\x1b[1mtheirs\\x1b[0m\\x00'); o.put('\\x00' * 3 + '1mforged')"
    master, slave = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", said], cwd=project, stdout=slave, stderr=slave):
        os.close(slave)
        told = b""
        while True:
            try:
                part = os.read(master, 1000)
            except OSError:
                break
            if not part:
                break
            told += part
    os.close(master)

    assert b"\x1b[1mours\x1b[0m" in told
    assert b"\\x1b[1mtheirs\\x1b[0m" in told
    assert re.findall(rb"\x1b\[\d+m", told) == [b"\x1b[1m", b"\x1b[0m", b"\x1b[31m", b"\x1b[0m"]


def test_a_server_has_one_exit():
    calls = re.compile(r"\bprint\(|std(out|err)\.write|print_exc|file=sys\.std")
    guilty = [
        str(path.relative_to(SERVING)) for path in sorted(SERVING.rglob("*.py")) if calls.search(path.read_text())
    ]

    assert guilty == []


def test_what_a_server_logs_steers_no_terminal():
    stream = io.StringIO()
    logs.configure(stream=stream)
    try:
        model_reloader.LOG.warning("not followed: %s", EVIL)
    finally:
        logging.getLogger(logs.ROOT).handlers.clear()
        logging.getLogger(logs.ROOT).propagate = True

    assert " WARNING not followed: " in stream.getvalue()
    assert hidden(stream.getvalue()) == []


def test_there_is_one_exit():
    calls = re.compile(r"\bclick\.(secho|echo|prompt|confirm|style|pause)\b|\bprint\(|std(out|err)\.write|\.show\(\)")
    guilty = [path.name for path in sorted(CLI.glob("*.py")) if calls.search(path.read_text())]

    assert guilty == ["output.py"]
