"""What a server of tabular models needs: `headrace[serve]`, and nothing of other extras."""

import subprocess
import sys

import pytest

OTHERS = ("aiohttp", "optuna", "confluent_kafka", "opentelemetry")


@pytest.mark.parametrize("module", OTHERS)
def test_a_server_starts_without(module):
    code = f"import sys; sys.modules[{module!r}] = None; import headrace.serving.app, headrace.serving.process"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
