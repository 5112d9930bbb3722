"""`headrace up` when it is stopped while a job runs."""

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
        "from headrace.cli import up\n"
        "from headrace.cli.main import main\n"
        "from headrace.workspace import upkeep\n"
        f"up._command = lambda env, arguments: [sys.executable, '-c', {SLOW!r}]\n"
        "upkeep.due = lambda *_, **__: [upkeep.Due(arguments=('refresh',), why='due')] * 2\n"
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
