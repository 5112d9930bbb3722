"""`headrace demo llm` on a part of its documents, killed where a test wants it, and what it leaves, without times."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import time
from contextlib import closing

from deltalake import DeltaTable

from headrace.cli.demo import EXAMPLES, give_ports
from headrace.core import processes
from headrace.demo.children import free_port
from headrace.demo.project_folder import lay_out

ARGUMENTS = ("demo", "llm", "--real", "0", "--questions", "40", "--json")
ROUTES = ("smollm2", "small", "large", "judge", "reflect", "assistant", "assistant_on_device")
OF_AN_ATTEMPT = {"run.started", "server.started", "access_token.created"}  # each attempt starts anew, and says so
ALL = "rows = [found[each] for each in sorted(found)]"
SOME = """import json
    from pathlib import Path
    files = [Path(__file__).with_name(name) for name in ("evaluation.jsonl", "first.jsonl", "replay.jsonl")]
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    right = {key for line in lines for key in line.get("relevant", ())}
    texts = [line["reference"][:60] for line in lines]
    rows = [
        found[each]
        for place, each in enumerate(sorted(found))
        if place % 20 == 0 or each in right or any(text in found[each]["docstring"] for text in texts)
    ]"""


def lay_out_some(parent):
    """The project of the demo with the documents that answer its questions and one in twenty of the others."""

    def change(made):
        file = made / "assistant" / "documents.py"
        text = file.read_text()
        assert ALL in text
        file.write_text(text.replace(ALL, SOME))
        give_ports(made, {name: free_port() for name in ROUTES})

    lay_out(EXAMPLES / "assistant", parent / "assistant", fresh=False, change=change)
    return parent / "assistant"


def start(parent, log):
    """The demo as a process that leads a group of its own."""
    command = processes.module("headrace.cli", *ARGUMENTS)
    with log.open("wb") as to:
        return subprocess.Popen(
            command, cwd=parent, stdout=subprocess.DEVNULL, stderr=to, start_new_session=True, env=os.environ
        )


def kill_when(parent, reached, *, group, log):
    """Starts the demo, kills it with or without its children as soon as `reached`, and waits until it is gone."""
    process = start(parent, log)
    try:
        until = time.monotonic() + 300
        while not reached():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.005)
    finally:
        if process.poll() is None:
            (os.killpg if group else os.kill)(process.pid, signal.SIGKILL)
            process.wait()


def answers(folder, part):
    """How many answers of a part were noted."""
    file = folder / ".headrace" / "conversation.jsonl"
    return file.read_text().count(f'"name": "{part}-') if file.exists() else 0


def ended(folder):
    """The parts that came to their end."""
    file = folder / ".headrace" / "tour.json"
    return json.loads(file.read_text())["parts"] if file.exists() else []


def ledger(folder, query):
    with closing(sqlite3.connect(folder / ".headrace" / "prod" / "state.db")) as connection:
        return connection.execute(query).fetchall()


def won(folder):
    """Whether the experiment has ended, which the demo notes a moment later."""
    return ledger(folder, "select 1 from audit where action = 'rollout.done'") and "contest" not in ended(folder)


def places(folder):
    """Where each step of each run can die once it has done its work and before that is noted, in the order of an undisturbed demo."""
    runs = ledger(folder, "select id, job from job_runs order by started")
    steps = ledger(folder, "select run_id, name from job_steps where status = 'done' order by seq")
    found = []
    for run, job in runs:
        found += [f"run.opened:{job}", *(f"step.executed:{name}" for of, name in steps if of == run)]
        found.append(f"run.closing:{job}")
    return found


def table(folder, name):
    return DeltaTable(str(folder.joinpath(".headrace", "prod", "lakehouse", *name.split(".")))).to_pyarrow_table()


def document(text):
    """What `--json` prints, without times, sizes and chance."""
    found = json.loads(text)
    del found["seconds"], found["peak_rss_mb"], found["feedback"]["lag_seconds"]
    assert found["rollout"].pop("p_value") < 1e-9  # who gets which version is drawn anew in each project
    return found


def left(folder):
    """What a demo leaves, without times, ids and what belongs to an attempt."""
    logged = table(folder, "inference.assistant").select(["client_request_id", "inputs"]).to_pylist()
    said = table(folder, "metrics.feedback").to_pylist()
    counts = "select action, object, who, count(*) from audit group by 1, 2, 3"
    return {
        "answers": sorted((row["client_request_id"], row["inputs"]) for row in logged),
        "feedback": len(said),
        "versions": ledger(
            folder, "select model, version, stage, artifact_hash, metrics from model_versions order by 1, 2"
        ),
        "unfinished runs": ledger(folder, "select job, status from job_runs where status <> 'done'"),
        "audit": sorted(row for row in ledger(folder, counts) if row[0] not in OF_AN_ATTEMPT),
        "parts": ended(folder),
        "releases": subprocess.run(
            ["git", "log", "--format=%s %D"], cwd=folder, capture_output=True, text=True, check=True
        ).stdout,
    }


def listening(folder):
    """The ports of the project that somebody listens at."""
    ports = json.loads((folder / "ports.json").read_text())
    return {name for name, port in ports.items() if _answers(port)}


def _answers(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
