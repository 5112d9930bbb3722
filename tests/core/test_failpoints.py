import os
import signal
import subprocess
import sys

import pytest

PROGRAM = """
from headrace.core.failpoints import reach
reach("step.started:a")
print("one", flush=True)
reach("step.finished:a")
print("two", flush=True)
"""


@pytest.mark.parametrize(
    ("place", "lived"),
    [
        ("step.started:a", ""),
        ("step.finished:a", "one\n"),
        ("step.finished:b", "one\ntwo\n"),
        ("", "one\ntwo\n"),
    ],
)
def test_the_process_dies_at_the_named_place_and_nowhere_else(place, lived):
    environment = {**os.environ, "HEADRACE_FAILPOINT": place}
    ran = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)
    assert ran.stdout == lived
    assert ran.returncode == (0 if lived.endswith("two\n") else -signal.SIGKILL)
