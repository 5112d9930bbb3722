"""A user's program is typed to the end: nothing is unknown to a strict type checker, and a wrong name is an error for it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "typed"


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """File → the messages of pyright, as strict as it can be."""
    settings = {
        "typeCheckingMode": "strict",
        "pythonVersion": "3.11",
    }
    folder = shutil.copytree(HERE, tmp_path_factory.mktemp("pyright") / "typed")
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--project", str(folder), "--pythonpath", sys.executable, "--outputjson"],
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == 2, done.stdout + done.stderr
    messages = {"program.py": [], "mistakes.py": []}
    for each in report["generalDiagnostics"]:
        line = each["range"]["start"]["line"] + 1
        messages[Path(each["file"]).name].append(f"{line}: {each['message']}")
    return messages


def test_nothing_in_a_program_is_unknown(found):
    assert found["program.py"] == []


@pytest.mark.parametrize(
    "message",
    [
        '"Tabel" is not a known attribute of module "headrace"',
        'Cannot access attribute "modles" for class "Session"',
        'No parameter named "keys"',
        'cannot be assigned to parameter "p95"',
    ],
)
def test_a_mistake_is_found_before_the_program_runs(found, message):
    assert message in "\n".join(found["mistakes.py"])
