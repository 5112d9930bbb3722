"""Whether a version passes its gates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from headrace.testing.declared_models import find_deployment
from headrace.testing.differences import fail

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from headrace.deployment.declarations import Deployment
    from headrace.operations.deploy import DeployReport
    from headrace.testing.temporary_environment import Environment


def assert_gates(env: Environment, deployment: Deployment | str, *, version: int | None = None) -> DeployReport:
    """Deploys a version in the environment, and asserts that its gates let it pass.

    Gates run as in every environment: on the version, then beside the version in Production. Nobody approves in a test: a
    gate that asks for an approval is waived, and a version that waits for a person's review has not passed.

    Args:
        env: an environment with a version of the model.
        deployment: its declaration, or the name of its model.
        version: the number of the version; defaults to the newest one that is not archived.

    Returns:
        What the deployment did.

    Raises:
        AssertionError: a gate did not pass. The message names each with its value, its limit and its reason.
        NotFoundError: the program declares no such deployment, or there is no version.

    Example:
        In a test of the module `shop`, with `orders` as sample rows:

        >>> from headrace import testing
        >>> with testing.environment(shop, at="2025-05-01") as env:
        ...     env.load("bronze.orders", orders)
        ...     _ = env.refresh()
        ...     _ = env.train("late")
        ...     print(testing.assert_gates(env, "late").ending)
        in production
    """
    declared = find_deployment(env, deployment)
    report = env.deploy(declared.name, version=version)
    found = list({each["gate"]: each for each in _findings(report)}.values())
    missed = [each for each in found if each["result"] != "passed"]
    if report.ending not in ("in production", "on a rollout") and not missed:
        fail(
            f"version {report.version} of {declared.name!r} came to no end in Production: {report.ending}.",
            list(report.findings),
        )
    fail(
        f"{len(missed)} of {len(found)} gates of version {report.version} of {declared.name!r} did not pass:",
        [f"{each['gate']}: {each['result']}, {_figures(each)}{each['reason']}" for each in missed],
    )
    return report


def _findings(report: DeployReport) -> Iterator[Mapping[str, Any]]:
    for step in report.steps:
        if isinstance(step.output, dict):
            yield from cast("list[Mapping[str, Any]]", cast("dict[str, Any]", step.output).get("findings", []))


def _figures(finding: Mapping[str, Any]) -> str:
    """`value 0.54, limit 0.6: `."""
    value, limit = finding["value"], finding["limit"]
    said = [f"{name} {_number(each)}" for name, each in (("value", value), ("limit", limit)) if each is not None]
    return f"{', '.join(said)}: " if said else ""


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
