"""A healthy project, a folder without one, and checks that do not end."""

import json
import subprocess
import sys
import threading

from headrace.core import shutdown
from headrace.operations.doctor import CheckFinding
from headrace.operations.doctor.limits import Check, run


def test_of_a_healthy_project_every_check_is_silent(project):
    project.git("init", "-q")
    project.git("add", "-A")
    project.git("commit", "-qm", "x")
    found = project.examine()

    assert {name: finding for name, finding in found.items() if finding.result != "ok"} == {}
    assert all(finding.way == "" for finding in found.values())
    assert {
        "python",
        "libraries",
        "git",
        "extras",
        "locked versions",
        "lakehouse folder",
        "disk",
        "policy",
        "project",
    } <= set(found)


def test_outside_of_a_project_the_installation_is_checked(headrace, tmp_path):
    done = headrace.run(tmp_path, "doctor")
    listed = headrace.run(tmp_path, "doctor", "--json").json()

    assert done.code == 0, done.stderr
    assert "headrace init NAME" in done.stdout
    assert [each["check"] for each in listed] == ["python", "libraries", "mlflow version", "git", "project"]
    assert listed[-1]["result"] == "warning"


def test_a_project_that_is_malformed_is_no_missing_one(headrace, project):
    (project.folder / "headrace.toml").write_text("[project]\nname = 1\n")
    done = headrace.run(project.folder, "doctor")

    assert done.code == 2
    assert "headrace.toml" in done.stderr


def test_a_check_that_does_not_end_is_a_finding_and_others_go_on():
    release = threading.Event()
    stdout = sys.stdout

    def hangs():
        sys.stdout = sys.stderr
        release.wait()
        return ()

    checks = [
        Check("slow", hangs, "look there"),
        Check("quick", lambda: [CheckFinding(check="quick", result="ok", found="x")]),
    ]
    try:
        slow, quick = run(checks, seconds=0.2)
        assert sys.stdout is stdout
    finally:
        release.set()
        sys.stdout = stdout
    shutdown.ABANDONED.clear()

    assert (slow.check, slow.result, slow.found, slow.way) == ("slow", "failed", "did not end within 0 s", "look there")
    assert quick.found == "x"


def test_a_module_whose_import_does_not_end_does_not_hold_the_command(project):
    (project.folder / "mini.py").write_text("import threading\nthreading.Event().wait()\n")
    program = (
        "from headrace.operations.doctor import examine; from headrace.cli.main import main\n"
        "import sys; sys.modules['headrace.operations.doctor.examine'].SECONDS = 5.0; main(['doctor', '--json'])"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=project.folder, capture_output=True, text=True, check=False, timeout=120)

    assert done.returncode == 1, done.stderr
    found = {each["check"]: each for each in json.loads(done.stdout)}
    assert found["project"]["found"] == "did not end within 5 s"
    assert found["runs"]["result"] == "ok"
