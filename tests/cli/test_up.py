"""`headrace up` when it is stopped while a job runs, and what one round of it exits with."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

SLOW = "import pathlib, time; pathlib.Path('begun').touch(); time.sleep(600)"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_whatever_job_runs(tmp_path, how):
    (tmp_path / "headrace.toml").write_text('[project]\nname = "slow"\nmodule = "slow"\n\n[env.dev]\n')
    (tmp_path / "slow.py").write_text("")
    (tmp_path / "run.py").write_text(
        "import sys\n"
        "from headrace.cli.main import main\n"
        "from headrace.operations import run_process, schedule\n"
        f"run_process.command = lambda env, arguments: [sys.executable, '-c', {SLOW!r}]\n"
        "schedule.due = lambda *_, **__: [schedule.DueJob(arguments=('refresh',), reason='due')] * 2\n"
        "main(['up'])\n"
    )
    with subprocess.Popen(
        [sys.executable, "run.py"], cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=os.environ
    ) as process:
        while not (tmp_path / "begun").exists():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
        process.send_signal(how)
        said = process.communicate()[1]

    assert process.returncode == 0, said
    assert said.count("headrace run refresh") == 1


@pytest.mark.parametrize(
    ("job", "due", "code"),
    [
        ("pass", "[schedule.DueJob(arguments=('refresh',), reason='due')]", 0),
        ("pass", "[]", 0),
        ("raise SystemExit(3)", "[schedule.DueJob(arguments=('refresh',), reason='due')]", 1),
        ("import sys; sys.exit(sys.argv[1] == 'retrain')", "[schedule.DueJob(arguments=(each,), reason=each) for each in ('retrain', 'monitor')]", 1),
        ("pass", "1 / 0", 1),
    ],
)  # fmt: skip
def test_one_round_in_which_something_failed_exits_1(tmp_path, job, due, code):
    (tmp_path / "headrace.toml").write_text('[project]\nname = "slow"\nmodule = "slow"\n\n[env.dev]\n')
    (tmp_path / "slow.py").write_text("")
    (tmp_path / "run.py").write_text(
        "import sys\n"
        "from headrace.cli.main import main\n"
        "from headrace.operations import run_process, schedule\n"
        f"run_process.command = lambda env, arguments: [sys.executable, '-c', {job!r}, *arguments]\n"
        f"schedule.due = lambda *_, **__: {due}\n"
        "main(['up', '--once'])\n"
    )
    done = subprocess.run(
        [sys.executable, "run.py"], cwd=tmp_path, capture_output=True, text=True, env=os.environ, check=False
    )
    assert done.returncode == code, done.stderr
    assert ("what is due cannot be told" in done.stderr) == (due == "1 / 0")


PRINTS = """
import os, sys
print("loaded")
print("beside it", file=sys.stderr)
os.write(2, b"{\\"level\\": 1}\\r\\nlast, without an end")
"""


def test_what_jobs_print_is_logged_line_by_line(tmp_path):
    (tmp_path / "headrace.toml").write_text('[project]\nname = "slow"\nmodule = "slow"\n\n[env.dev]\n')
    (tmp_path / "slow.py").write_text("")
    (tmp_path / "run.py").write_text(
        "import sys\n"
        "from headrace.cli.main import main\n"
        "from headrace.operations import run_process, schedule\n"
        f"run_process.command = lambda env, arguments: [sys.executable, '-u', '-c', {PRINTS!r}]\n"
        "schedule.due = lambda *_, **__: [schedule.DueJob(arguments=('refresh',), reason='due')]\n"
        "main(['up', '--once', '--log-format', 'json'])\n"
    )
    done = subprocess.run(
        [sys.executable, "run.py"], cwd=tmp_path, capture_output=True, text=True, env=os.environ, check=False
    )
    records = [json.loads(line) for line in done.stderr.splitlines()]
    printed = [record["message"] for record in records if record["message"].startswith("refresh: ")]
    assert printed == [f"refresh: {line}" for line in ("loaded", "beside it", '{"level": 1}', "last, without an end")]
    assert all(record.keys() >= {"time", "level", "logger", "message", "process"} for record in records)
    assert done.stdout == ""
