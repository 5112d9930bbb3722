"""What a child that is the same command over again is given of the environment."""

import pytest

from headrace.core.processes import own_environment


@pytest.mark.parametrize("name", ["PYTHONPATH", "PYTHONUSERBASE", "PYTHONPYCACHEPREFIX"])
def test_nothing_in_the_environment_leads_python_elsewhere(monkeypatch, name):
    monkeypatch.setenv(name, "/elsewhere")
    assert name not in own_environment()
