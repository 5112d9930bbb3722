"""What a user's own tests need: temporary environments, assertions, and an endpoint of language models.

`environment` opens a temporary environment of a project, over sample rows and with its clock set to a moment; `assert_…` check
what must hold of its features, models and gates. `llm_endpoint.Endpoint` is a real server on this machine that speaks the
protocols of language models, answers with a function of the test's own, and can misbehave in every way in which a real endpoint
does (`faults`). Nothing of it is imported by a running deployment.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.testing.gates import assert_gates
    from headrace.testing.leak import assert_no_leak
    from headrace.testing.point_in_time import assert_point_in_time
    from headrace.testing.skew import assert_no_skew
    from headrace.testing.temporary_environment import Environment, environment

HOMES = {  # a server of `llm_endpoint` is a process of its own, and starts without them
    "Environment": "headrace.testing.temporary_environment",
    "assert_gates": "headrace.testing.gates",
    "assert_no_leak": "headrace.testing.leak",
    "assert_no_skew": "headrace.testing.skew",
    "assert_point_in_time": "headrace.testing.point_in_time",
    "environment": "headrace.testing.temporary_environment",
}

__all__ = [
    "Environment",
    "assert_gates",
    "assert_no_leak",
    "assert_no_skew",
    "assert_point_in_time",
    "environment",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in HOMES:
            raise AttributeError(f"module 'headrace.testing' has no attribute {name!r}; it has {', '.join(__all__)}")
        return getattr(import_module(HOMES[name]), name)
