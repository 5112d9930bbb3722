"""What an environment is, aspect by aspect, without addresses and secrets: its policy, its kinds of stores, its runtime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from headrace.core import vault
from headrace.core.errors import HeadraceError
from headrace.core.money import NANO_PER_DOLLAR
from headrace.environments.lock_file import NAME as LOCK
from headrace.environments.lock_file import pinned, same_version
from headrace.environments.secret import Secret
from headrace.operations.operation import operation
from headrace.workspace import runtime

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from headrace.environments.config import Environment
    from headrace.environments.secret import Value
    from headrace.workspace.workspace import Workspace

UNKNOWN = "?"
NONE = "none"
LIMITS = (
    *("timeout", "attempt_timeout", "attempts", "fallback", "concurrency", "requests_per_minute", "tokens_per_minute"),
    *("input_price", "output_price", "cache", "max_tokens"),
)  # of a route
SHOWN = (  # properties of librdkafka that change what happens, and hold no address, name, path or secret
    *("acks", "auto.offset.reset", "compression.type", "enable.idempotence", "isolation.level", "linger.ms"),
    *(
        "max.poll.interval.ms",
        "message.max.bytes",
        "partition.assignment.strategy",
        "sasl.mechanism",
        "sasl.mechanisms",
    ),
    *("security.protocol", "session.timeout.ms", "ssl.endpoint.identification.algorithm"),
)


@dataclass(frozen=True, kw_only=True)
class EnvironmentProfile:
    """What an environment is.

    Attributes:
        env: its name.
        aspects: name of an aspect → its value; `?` where it is not known here.
        unknown: why whole groups of aspects are not known: `lock` or `installed` → the reason.
    """

    env: str
    aspects: Mapping[str, str]
    unknown: Mapping[str, str]


@operation("env compare")
def describe(workspace: Workspace) -> EnvironmentProfile:
    """The policy in effect, the kinds of stores, the lock file of the code that runs, and the runtime of the latest run."""
    environment = workspace.environment
    locked, no_lock = _locked(workspace)
    installed, never_ran = _installed(workspace)
    return EnvironmentProfile(
        env=environment.name,
        aspects={**configuration(environment), **locked, **installed},
        unknown={**no_lock, **never_ran},
    )


def configuration(environment: Environment) -> dict[str, str]:
    """The policy, and each store, channel and route by its kind."""
    routes, budgets = environment.llm.routes, environment.llm.budgets
    return {
        "policy.code": environment.code,
        "policy.releases": environment.releases,
        "policy.reads": "; ".join(f"{env}: {', '.join(each)}" for env, each in environment.reads.items()) or NONE,
        "policy.sample": f"{environment.sample:g}",
        "policy.trials": str(environment.trials or "as declared"),
        "policy.ttl": str(environment.ttl or NONE),
        "policy.approvals": _several(environment.approvals),
        "policy.runtime": environment.runtime,
        "policy.attested_by": _several(each.name for each in environment.attested_by),
        "stores.lakehouse": _kind(environment.lakehouse_root),
        "stores.artifacts": _kind(environment.artifacts_root),
        "stores.state": _kind(environment.state),
        "stores.tracking": _kind(environment.tracking),
        "stores.online": _kind(environment.online),
        "stores.storage_options": _several(environment.options),
        "catalog": _kind(environment.catalog),
        "spark": _kind(environment.spark),
        "audit": _several(name for name, there in vars(environment.audit).items() if there),
        **{f"databases.{name}": _kind(url) for name, url in environment.databases.items()},
        **{f"notify.{name}": each.kind for name, each in environment.notify.items()},
        **{
            f"kafka.{name}.{each}": _property(each, value)
            for name, properties in environment.kafka.items()
            for each, value in properties.items()
        },
        **{f"llm.routes.{name}": f"{each.protocol} {each.model}" for name, each in routes.items()},
        **{
            f"llm.routes.{name}.{limit}": _limit(limit, getattr(each, limit))
            for name, each in routes.items()
            for limit in LIMITS
        },
        **{f"llm.budgets.{name}": _limit("price", limit) for name, limit in vars(budgets).items()},
    }


def _limit(name: str, value: float | str | None) -> str:
    """A limit of a route or a day; money is shown in dollars."""
    if value is None:
        return NONE
    return f"${cast('int', value) / NANO_PER_DOLLAR:g}" if name.endswith("price") else str(value)


def _property(name: str, value: Value) -> str:
    """A property of a Kafka client, without what is an address, a name of somebody, a path or a secret."""
    return str(value) if name in SHOWN and not isinstance(value, Secret) else "set"


def _locked(workspace: Workspace) -> tuple[dict[str, str], dict[str, str]]:
    """The lock file of the code that runs, by distribution."""
    try:
        file = workspace.code.folder / LOCK
        if not file.is_file():
            return {"lock": NONE}, {}
        locked = pinned(file.read_text(encoding="utf-8"))
    except HeadraceError as error:  # there is no release yet, for example
        return {}, {"lock": error.what}
    except ValueError as error:
        return {}, {"lock": f"{LOCK}: {error}"}
    return {"lock": "there is one", **{f"lock.{name}": version for name, version in locked.items()}}, {}


def _installed(workspace: Workspace) -> tuple[dict[str, str], dict[str, str]]:
    """Python, the platform and the distributions of the latest run."""
    found = runtime.latest(workspace.state)
    if found is None:
        return {}, {"installed": "nothing has run there yet"}
    return {
        "installed.as_locked": _as_locked(workspace, found.installed),  # no distribution has an underscore in its name
        "installed.python": found.python,
        "installed.platform": found.platform,
        **{f"installed.{name}": version for name, version in found.installed.items()},
    }, {}


def _as_locked(workspace: Workspace, installed: Mapping[str, str]) -> str:
    """Whether the latest run had the versions of the lock file of the code that runs now."""
    try:
        file = workspace.code.folder / LOCK
        if not file.is_file():
            return f"no {LOCK}"
        locked = pinned(file.read_text(encoding="utf-8"))
    except (HeadraceError, ValueError):  # the group `lock` says it
        return UNKNOWN
    other = sum(not same_version(installed.get(name, ""), version) for name, version in locked.items())
    return f"{other} of {LOCK} differ" if other else "yes"


def _several(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or NONE


def _kind(place: Value | None) -> str:
    """The kind of a store: `folder` or `file`, or the scheme of its address without a driver; never the address."""
    if place is None:
        return NONE
    address = vault.read(place.variable) if isinstance(place, Secret) else place
    if address is None:  # a secret of another machine
        return UNKNOWN
    return urlsplit(address).scheme.partition("+")[0] or "local" if "://" in address else "local"
