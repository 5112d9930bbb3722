"""The integration test of a commit: every pipeline in stores of its own, what it attests, and what a commit does to it."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
from tests.cli import mini

from headrace.core import vault
from headrace.core.errors import ConfigError, NotFoundError
from headrace.environments import config
from headrace.operations.integration.commit_test import run_integration_test, run_steps
from headrace.operations.operation import At
from headrace.operations.signing import new_key
from headrace.releases import attestation_notes
from headrace.releases.attestation import verify

KEY = new_key("ci")
TOML = f"""\
[project]
name = "mini"
module = "mini"
as_of = "2024-01-25"

[env.dev]
[env.staging]
trials = 1
notify = {{webhook = "http://127.0.0.1:9/never"}}
[env.prod]
attested_by = ["ci"]

{KEY.table}
"""
SERVED = (
    'serve=hr.Serve(), monitor=hr.Monitor(window="1d"), gates=[hr.signature(), hr.approval("governance")], '
    "load_test=hr.LoadTest(requests=40, concurrency=2)"
)


def git(folder, *arguments):
    command = ["git", "-c", "user.name=A", "-c", "user.email=a@b.c", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def make(folder, *, deployment=SERVED, fit="", model=True):
    """A committed project; `fit` is a line that its function `fit` begins with. Without its model there is a source alone."""
    mini.write(folder, deployment=deployment, orders=50)
    program = (folder / "mini.py").read_text()
    if fit:
        program = program.replace("    return Mean().fit(data.X", f"    {fit}\n    return Mean().fit(data.X")
    alone = 'import headrace as hr\n\nraw = hr.Source("raw.orders", files="data/*.csv")\n'
    (folder / "mini.py").write_text(program if model else alone)
    (folder / "headrace.toml").write_text(TOML)
    (folder / ".gitignore").write_text(".headrace/\ndata/\n")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    return folder


@pytest.fixture
def signing(monkeypatch):
    monkeypatch.setenv("HEADRACE_SIGNING_KEY", KEY.private)


def results(report):
    return {step.step: step.result for step in report.steps}


def test_every_pipeline_up_to_a_server_under_load_is_attested(tmp_path, signing):
    folder = make(tmp_path / "mini")
    told = []
    report = run_integration_test(At(folder=folder), listen=told.append)

    wanted = ("declarations", "refresh", "train days", "gates days", "batch days", "endpoint days", "monitor days")
    assert results(report) == dict.fromkeys(wanted, "passed"), report.to_json()
    assert told == list(report.steps)
    assert (report.passed, report.environment, report.signed_by) == (True, "staging", "ci")
    assert report.commit == git(folder, "rev-parse", "HEAD")
    by_name = {step.step: step.summary for step in report.steps}
    assert by_name["batch days"] == "48 decisions scored"
    assert by_name["endpoint days"].startswith("40 requests, 2 at a time: p50 ")
    # nothing of it is in the environment's own stores, and nothing is left of its own
    assert not (folder / ".headrace" / "staging").exists()
    assert list((folder / ".headrace" / "tests").iterdir()) == []
    (envelope,) = attestation_notes.envelopes(folder, report.commit)
    keys = [config.load(folder).keys["ci"].public]
    attested, key = verify(envelope, keys) or pytest.fail("it is not signed")
    assert (attested.commit, attested.tree, key) == (report.commit, report.tree, "ci")
    assert attested.passed == wanted
    assert KEY.private not in json.dumps(report.to_json())


def test_what_fails_says_why_and_is_not_attested(tmp_path, signing):
    deployment = 'serve=hr.Serve(), monitor=hr.Monitor(window="1d"), gates=[hr.at_least("rmse", 0.01)]'
    folder = make(tmp_path / "mini", deployment=deployment)
    report = run_integration_test(At(folder=folder))
    assert not report.passed
    assert report.signed_by is None
    assert attestation_notes.envelopes(folder, str(report.commit)) == []
    steps = {step.step: step for step in report.steps}
    assert steps["train days"].result == "passed"
    assert steps["gates days"].result == "failed"
    assert "is not in Production" in steps["gates days"].reason
    assert "at most 0.01 is asked for" in steps["gates days"].log
    for name in ("batch days", "endpoint days"):
        assert (steps[name].result, steps[name].reason) == ("skipped", "it needs gates days, which did not pass")
    assert steps["monitor days"].reason == "it needs batch days, which did not pass"


def test_an_empty_signing_key_is_none(tmp_path, monkeypatch):
    """As CI hosts set a secret that a job does not get: of a merge request from a fork, for example."""
    monkeypatch.setenv("HEADRACE_SIGNING_KEY", "")
    folder = make(tmp_path / "mini", model=False)
    report = run_integration_test(At(folder=folder))
    assert (report.signed_by, report.passed) == (None, True)
    with pytest.raises(ConfigError):
        run_integration_test(At(folder=folder), key="ci")


@pytest.mark.parametrize("variable", ["HEADRACE_SIGNING_KEY", "ELSEWHERE"])
def test_code_that_is_tested_finds_no_signing_key(tmp_path, monkeypatch, variable):
    """Nor one that the commit calls otherwise, so that it would be nobody's secret."""
    monkeypatch.setenv(variable, KEY.private)
    look = 'import os, sys, glob; assert not any(b"ed25519-private" in open(f, "rb").read() for f in glob.glob("/proc/self/environ")), "found"; assert "HEADRACE_SIGNING_KEY" not in os.environ, "found"'
    report = run_integration_test(At(folder=make(tmp_path / "mini", deployment="", fit=look)))
    assert results(report)["train days"] == "passed", report.steps


def test_code_that_kills_its_process_fails_the_test_and_leaves_nothing(tmp_path, signing):
    folder = make(tmp_path / "mini", fit="import os; os.kill(os.getpid(), 9)")
    report = run_integration_test(At(folder=folder))
    assert not report.passed
    assert results(report) == {"declarations": "passed", "refresh": "passed", "test": "failed"}
    assert report.steps[-1].reason == "the test's process was killed (signal 9)"
    assert list((folder / ".headrace" / "tests").iterdir()) == []
    assert report.signed_by is None


@pytest.mark.parametrize("code", [0, 3])
def test_code_that_ends_its_process_has_not_been_tested(tmp_path, signing, code):
    fit = f"import os; os.write(1, b'{{\"step\": 3}}\\n[]\\nnot json\\n'); os._exit({code})"
    folder = make(tmp_path / "mini", fit=fit)
    report = run_integration_test(At(folder=folder))
    assert not report.passed
    assert report.steps[-1].reason == f"the test's process ended early, with {code}"
    assert attestation_notes.envelopes(folder, str(report.commit)) == []


class InProcess:
    """The steps in this process, in a temporary environment."""

    def __init__(self, folder, stores, patch):
        patch.setenv("HEADRACE_ENV__staging__temporary", str(stores))
        self.at = At(env="staging", folder=folder)
        self.steps = []

    def run(self):
        ended = run_steps(self.at, self.steps.append)
        assert self.steps.pop() == {"ended": len(self.steps)}
        return ended, {step["step"]: step for step in self.steps}


def test_a_commit_that_comes_in_between_changes_nothing_of_what_is_tested(tmp_path, signing):
    folder = make(tmp_path / "mini", model=False)
    first = git(folder, "rev-parse", "HEAD")
    told = []

    def commit(step):
        told.append(step.step)
        if len(told) == 1:
            (folder / "mini.py").write_text("raise RuntimeError('this is not what is tested')")
            git(folder, "commit", "-qam", "broken")

    report = run_integration_test(At(folder=folder), listen=commit)
    assert (report.passed, report.commit, report.signed_by) == (True, first, "ci"), report.to_json()
    assert attestation_notes.envelopes(folder, git(folder, "rev-parse", "HEAD")) == []
    assert len(attestation_notes.envelopes(folder, first)) == 1


def test_a_tag_is_not_what_is_tested(tmp_path, signing):
    """In an environment that runs releases, too, it is the commit that is checked out."""
    folder = make(tmp_path / "mini", model=False)
    git(folder, "tag", "v9.0.0")
    (folder / "mini.py").write_text((folder / "mini.py").read_text() + "# later\n")
    git(folder, "commit", "-qam", "later")
    report = run_integration_test(At(folder=folder, env="prod"))
    assert report.commit == git(folder, "rev-parse", "HEAD")
    assert attestation_notes.envelopes(folder, git(folder, "rev-parse", "v9.0.0")) == []


def test_a_test_goes_without_the_token_of_whoever_starts_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADRACE_TOKEN", "hr_of_another_environment")
    report = run_integration_test(At(folder=make(tmp_path / "mini", model=False)))
    assert report.passed, report.to_json()
    assert not report.uncommitted


def test_edits_that_are_in_no_commit_are_not_tested_and_told(tmp_path):
    folder = make(tmp_path / "mini", model=False)
    (folder / "mini.py").write_text("raise RuntimeError('an edit')\n")
    report = run_integration_test(At(folder=folder))
    assert (report.passed, report.uncommitted) == (True, True), report.to_json()


def test_a_killed_test_takes_its_process_with_it_and_the_next_one_its_folder(tmp_path):
    folder = make(tmp_path / "mini", fit="import time; time.sleep(600)")
    command = [sys.executable, "-P", "-m", "headrace.cli", "test", "integration"]
    for how, code in ((signal.SIGTERM, 130), (signal.SIGKILL, -9)):
        begun = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert any("refresh" in line for line in iter(begun.stdout.readline, ""))
        (child,) = psutil.Process(begun.pid).children()
        begun.send_signal(how)
        assert begun.wait(60) == code
        psutil.wait_procs([child], timeout=60)
        assert not child.is_running()
        begun.stdout.close()
    left = list((folder / ".headrace" / "tests").iterdir())
    assert len(left) == 1  # of the one that was killed
    os.utime(left[0], (0, 0))  # long ago
    (folder / "mini.py").write_text("x = 1 +")
    git(folder, "commit", "-qam", "broken")
    assert not run_integration_test(At(folder=folder)).passed
    assert list((folder / ".headrace" / "tests").iterdir()) == []


@pytest.mark.parametrize(
    ("program", "reason"),
    [("import nothing_of_this_name", "nothing_of_this_name"), ("x = 1 +", "syntax"), ("raise SystemExit(0)", "")],
)
def test_a_program_that_cannot_be_imported_is_a_failed_step(tmp_path, monkeypatch, program, reason):
    folder = make(tmp_path / "mini")
    (folder / "mini.py").write_text(program)
    git(folder, "commit", "-qam", "broken")
    ended, steps = InProcess(folder, folder / ".headrace" / "tests" / "x" / "stores", monkeypatch).run()
    assert not ended
    assert list(steps) == ["declarations"]
    assert reason in f"{steps['declarations']['reason']} {steps['declarations']['log']}"


def test_a_temporary_environment_has_the_policy_and_none_of_the_stores(tmp_path, monkeypatch):
    folder = make(tmp_path / "mini")
    before = config.load(folder).environment("staging")
    assert (list(before.notify), before.temporary) == (["webhook"], False)
    monkeypatch.setenv("HEADRACE_ENV__staging__temporary", str(folder / ".headrace" / "tests" / "x" / "stores"))
    monkeypatch.setenv("HEADRACE_ENV__staging__state", "postgresql://127.0.0.1:9/never")
    monkeypatch.setenv("HEADRACE_ENV__staging__lakehouse", "s3://never")
    there = config.load(folder).environment("staging")
    assert (there.temporary, there.policy, dict(there.notify)) == (True, before.policy, {})
    for place in (there.root, there.lakehouse_root, there.state_url, there.tracking_url, there.online_address):
        assert str(folder / ".headrace" / "tests" / "x" / "stores") in str(place)
    assert not config.load(folder).environment("prod").temporary


@pytest.mark.parametrize(
    "place", [".headrace/prod", "/tmp/elsewhere", ".headrace/tests", ".headrace/tests/../prod", "link"]
)
def test_a_folder_that_may_be_an_environments_is_none_of_a_test(tmp_path, monkeypatch, place):
    folder = make(tmp_path / "mini")
    (folder / ".headrace" / "prod").mkdir(parents=True)
    (folder / ".headrace" / "tests").mkdir()
    (folder / ".headrace" / "tests" / "link").symlink_to(folder / ".headrace" / "prod")
    place = ".headrace/tests/link" if place == "link" else place
    monkeypatch.setenv("HEADRACE_ENV__prod__temporary", str(folder / place))
    with pytest.raises(ConfigError, match="is no folder below"):
        config.load(folder)


def test_only_a_test_says_which_commit_runs(tmp_path, monkeypatch):
    folder = make(tmp_path / "mini")
    monkeypatch.setenv("HEADRACE_ENV__prod__commit", "HEAD")
    with pytest.raises(ConfigError, match="'prod' is no temporary environment"):
        config.load(folder)


def test_no_file_says_that_an_environment_is_temporary(tmp_path):
    folder = make(tmp_path / "mini")
    (folder / "headrace.toml").write_text(TOML.replace("trials = 1", 'temporary = "/tmp/x"'))
    with pytest.raises(ConfigError, match="unknown key 'temporary'"):
        config.load(folder)


def test_steps_run_in_no_environment_of_its_own(tmp_path):
    with pytest.raises(ConfigError, match="staging is no temporary environment"):
        run_steps(At(env="staging", folder=make(tmp_path / "mini")), lambda _: None)


def test_a_key_that_is_not_that_of_the_project_is_told_before_anything_runs(tmp_path, monkeypatch):
    folder = make(tmp_path / "mini")
    monkeypatch.setenv("HEADRACE_SIGNING_KEY", new_key("ci").private)
    with pytest.raises(ConfigError, match="is not that of"):
        run_integration_test(At(folder=folder), listen=lambda _: pytest.fail("a step ran"))
    monkeypatch.setenv("HEADRACE_SIGNING_KEY", "rubbish")
    with pytest.raises(ConfigError, match="holds no private key") as error:
        run_integration_test(At(folder=folder), key="ci")
    assert "rubbish" not in str(error.value)
    with pytest.raises(NotFoundError, match="cj"):
        run_integration_test(At(folder=folder), key="cj")
    monkeypatch.delenv("HEADRACE_SIGNING_KEY")
    monkeypatch.setattr(vault, "_vault", type(vault._vault)())
    with pytest.raises(ConfigError, match="no such environment variable is set"):
        run_integration_test(At(folder=folder), key="ci")


def test_the_working_tree_is_not_attested(tmp_path, signing):
    with pytest.raises(ConfigError, match="which nobody can attest"):
        run_integration_test(At(env="dev", folder=make(tmp_path / "mini")), key="ci")


def test_two_at_once_do_not_meet(tmp_path, signing):
    folder = make(tmp_path / "mini", model=False)
    reports = []
    threads = [
        threading.Thread(target=lambda: reports.append(run_integration_test(At(folder=folder)))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [report.passed for report in reports] == [True, True], [report.to_json() for report in reports]
    assert len(attestation_notes.envelopes(folder, str(reports[0].commit))) == 2
    assert list(Path(folder, ".headrace", "tests").iterdir()) == []
