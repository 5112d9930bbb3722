"""A record that was emptied, cut or written anew is found out by the heads that are kept elsewhere."""

import json
import sqlite3
import subprocess
import threading
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from tests.support.servers import postgres

from headrace.access.audit import Audit, record
from headrace.core.state import State

AUTHOR = ("-c", "user.name=Shop", "-c", "user.email=shop@example.org", "-c", "commit.gpgsign=false")


@pytest.fixture
def made(headrace, tmp_path):
    """Makes a project in git whose heads are kept as `audit` declares, with three entries."""

    def make(audit):
        declared = f'[project]\nname = "mini"\nmodule = "mini"\n[env.dev]\n{audit}\n'
        (tmp_path / "headrace.toml").write_text(declared)
        (tmp_path / "mini.py").write_text("import headrace as hr\n")
        (tmp_path / ".gitignore").write_text(".headrace/\nkept*\n")
        for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "mini"]):
            subprocess.run(["git", *AUTHOR, *arguments], cwd=tmp_path, check=True)
        for name in ("a", "b", "c"):
            done = headrace.run(tmp_path, "api-key", "create", name)
            assert (done.code, "not kept" in done.stderr) == (0, False), done.stderr
        return tmp_path

    return make


def spoil(folder, *statements):
    with closing(sqlite3.connect(folder / ".headrace" / "dev" / "state.db")) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


ANCHORS = {
    "git note": "audit = {git_note = true}",
    "file": 'audit = {file = "kept/heads.jsonl"}',
    "objects": 'audit = {file = "file://FOLDER/kept"}',
}
ATTACKS = {
    "emptied": ["delete from audit"],
    "emptied, and the notes of what was kept": ["delete from audit", "drop table audit_anchors"],
    "the last entry cut off": ["delete from audit where id = (select max(id) from audit)"],
}


@pytest.mark.parametrize("anchor", ANCHORS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_record_that_was_cut_is_no_whole_one(headrace, made, tmp_path, anchor, attack):
    folder = made(ANCHORS[anchor].replace("FOLDER", str(tmp_path)))
    whole = headrace.run(folder, "audit", "--verify")
    assert (whole.code, "holds the 3 heads" in whole.stderr) == (0, True), whole.stderr

    spoil(folder, *ATTACKS[attack])
    found = headrace.run(folder, "audit", "--verify")
    assert found.code == 1
    assert "entries were taken away" in found.stderr


def test_a_record_that_was_written_anew_is_another_one(headrace, made):
    folder = made(ANCHORS["git note"])
    spoil(folder, "delete from audit")
    for name in ("d", "e", "f"):  # as many entries, a whole chain
        headrace.run(folder, "api-key", "create", name)

    found = headrace.run(folder, "audit", "--verify", "--json")
    assert found.code == 1
    assert (len(found.json()["missing"]), found.json()["broken"]) == (3, None)


def test_notes_that_were_overwritten_are_still_in_their_history(headrace, made):
    folder = made(ANCHORS["git note"])
    commit = ("notes", "--ref=refs/notes/headrace-audit", "remove", "HEAD")
    subprocess.run(["git", *AUTHOR, *commit], cwd=folder, check=True, capture_output=True)
    spoil(folder, "delete from audit")

    assert headrace.run(folder, "audit", "--verify").code == 1


def test_a_head_that_somebody_kept_by_hand_is_held_against_the_record(headrace, made):
    folder = made("")
    head = headrace.run(folder, "audit", "--head")
    assert headrace.run(folder, "audit", "--head", "--json").json() == {"count": 4, "hash": head.stdout.strip()}
    checked = ("audit", "--verify", "--head", head.stdout.strip())
    assert headrace.run(folder, *checked).code == 0

    headrace.run(folder, "api-key", "create", "later")
    assert headrace.run(folder, *checked).code == 0
    spoil(folder, "delete from audit")
    assert headrace.run(folder, "audit", "--verify").code == 0  # it cannot be seen from the inside
    found = headrace.run(folder, *checked)
    assert (found.code, "was taken away. There is no entry." in found.stderr) == (1, True)


def test_an_anchor_that_is_gone_is_told(headrace, made):
    folder = made(ANCHORS["file"])
    (folder / "kept" / "heads.jsonl").unlink()

    found = headrace.run(folder, "audit", "--verify")
    assert (found.code, "has not the head" in found.stderr, "is whole" in found.stderr) == (1, True, False)


def test_an_anchor_that_cannot_be_read_is_a_warning(headrace, made):
    folder = made(ANCHORS["file"])
    (folder / "kept" / "heads.jsonl").unlink()
    (folder / "kept" / "heads.jsonl").mkdir()

    found = headrace.run(folder, "audit", "--verify")
    assert (found.code, "cannot be read" in found.stderr) == (0, True)


def test_a_server_keeps_the_head_before_it_becomes_another_program(headrace, made):
    folder = made(ANCHORS["file"])
    kept = folder / "kept" / "heads.jsonl"
    before = len(kept.read_text().splitlines())
    headrace.run(folder, "serve", "nothing")  # refused by the body: the entry was made, and kept

    heads = [json.loads(line)["hash"] for line in kept.read_text().splitlines()]
    entries = headrace.run(folder, "audit", "--json").json()
    began = next(each for each in entries if each["action"] == "server.started")
    assert (len(heads) > before, began["hash"] in heads) == (True, True)


def test_what_a_read_recorded_is_kept_elsewhere_too(headrace, made):
    folder = made(f"[env.prod]\n{ANCHORS['file']}")
    done = headrace.run(folder, "sql", "select 1", "--env", "prod")
    kept = [json.loads(line)["hash"] for line in (folder / "kept" / "heads.jsonl").read_text().splitlines()]
    assert (done.code, kept) == (0, [headrace.run(folder, "audit", "--env", "prod", "--json").json()[0]["hash"]])


def test_a_refusal_is_in_the_record_whatever_becomes_of_its_head(headrace, made):
    """HEAD asks for more than what is remembered, and who acts is not known."""
    folder = made(ANCHORS["file"])
    file = folder / "headrace.toml"
    file.write_text(file.read_text() + "code = 'commit'\n")
    subprocess.run(["git", *AUTHOR, "commit", "-qam", "stricter"], cwd=folder, check=True)

    refused = headrace.run(folder, "api-key", "create", "d", env={"HEADRACE_TOKEN": "hr_bogus"})
    assert (refused.code, "is not known here" in refused.stderr) == (3, True)
    assert "not in the audit record" not in refused.stderr
    assert headrace.run(folder, "audit", "--json").json()[0]["action"] == "access.refused"

    (folder / "kept" / "heads.jsonl").unlink()
    (folder / "kept" / "heads.jsonl").mkdir()
    done = headrace.run(folder, "api-key", "create", "e")
    assert done.code == 0
    assert "the head of the audit record was not kept by file" in done.stderr
    assert "not in the audit record" not in done.stderr


@contextmanager
def listening(status):
    """A server that keeps what is posted to it."""
    posted = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", posted
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_webhook_gets_each_head_once(headrace, made):
    with listening(204) as (url, posted):
        folder = made(f'audit = {{webhook = "{url}"}}')
        headrace.run(folder, "audit")
    hashes = [entry["hash"] for entry in headrace.run(folder, "audit", "--json").json()]

    assert [each["payload"]["count"] for each in posted] == [2, 3, 4]  # the floor is the first
    assert [each["payload"]["hash"] for each in posted] == hashes[2::-1]


def test_an_anchor_that_takes_nothing_holds_nothing_up(headrace, made):
    folder = made("")
    with listening(500) as (url, posted):
        file = folder / "headrace.toml"
        file.write_text(file.read_text() + f'audit = {{webhook = "{url}"}}\n')
        done = headrace.run(folder, "api-key", "create", "d")
        again = headrace.run(folder, "api-key", "create", "e")

    assert (done.code, again.code) == (0, 0)
    assert "was not kept by webhook" in done.stderr
    assert len(posted) == 1  # left alone for a while


def test_a_chain_does_not_break_when_many_write_it_at_once(tmp_path):
    with postgres(tmp_path / "pg") as url:
        states = [State(url) for _ in range(4)]
        audit = Audit(states[0])
        failed = []

        def write(state, who):
            try:
                for number in range(20):
                    with state.begin() as connection:
                        record(connection, who, "tried", str(number), {})
            except Exception as error:  # noqa: BLE001
                failed.append(error)

        threads = [threading.Thread(target=write, args=(state, f"w{at}")) for at, state in enumerate(states)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert failed == []
        assert (audit.head().count, audit.verify()) == (80, None)
        for each in states:
            each.close()
