"""The serving folder of an environment's servers, and how the servers are started."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from headrace.core import vault
from headrace.core.errors import DeclarationError, NotFoundError
from headrace.core.events import publish
from headrace.core.processes import module
from headrace.environments.secret import Secret
from headrace.serving import llm_gateway

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from headrace.core.ids import Json
    from headrace.core.state import State
    from headrace.environments.config import Environment

TROUBLE = "trouble"  # as serving.follow writes it
STILL = 60.0  # seconds: a server that is in trouble says so every five


def api_keys_file(environment: Environment) -> Path:
    """The API keys of programs that call the servers of an environment."""
    return environment.root / "api-keys.json"


def lock_file(environment: Environment) -> Path:
    """Held, shared, by the servers of an environment that were started on this machine."""
    return environment.root / "serve.lock"


def command(
    environment: Environment | None, what: Path | str, *, port: int, arguments: Sequence[str] = ()
) -> list[str]:
    """A server in a process of its own, with nothing imported that who starts it needed.

    Once an API key was made, also while it runs, callers need one.

    Args:
        environment: where it is served; None outside of a project.
        what: a folder with `serving.json`, or the URI of a model that MLflow keeps.
        port: to listen at.
        arguments: more words of its command line.
    """
    keys = None if environment is None or "--anonymous" in arguments else api_keys_file(environment)
    callers = [] if keys is None else ["--api-keys", str(keys), "--open-without-keys"]
    model = ["--mlflow", what] if isinstance(what, str) else ["--home", str(what)]
    return module("headrace.serving", *model, "--port", str(port), *callers, *arguments)


def secrets(environment: Environment | None) -> dict[str, str]:
    """What a server must have beside its command: the address of the online store, where that is a secret; what says where
    traces go, of which headers may be one; routes to language models with their keys, and where budgets are counted.
    """
    known = vault.starting("OTEL_")
    if environment is None:
        return known
    if environment.llm.routes:
        known |= _language_models(environment)
    if not isinstance(environment.online, Secret):
        return known
    value = vault.read(environment.online.variable)
    return known if value is None else {**known, environment.online.variable: value}


def _language_models(environment: Environment) -> dict[str, str]:
    keys = [route.key.variable for route in environment.llm.routes.values() if route.key is not None]
    values = {name: value for name in keys if (value := vault.read(name)) is not None}
    return {**values, llm_gateway.HANDED: llm_gateway.handed(environment.llm, environment.state_url)}


def reaching(environment: Environment | None) -> dict[str, str]:
    """What a process that downloads a model of MLflow's reads: where runs are, and what reaches artifacts.

    An environment's own `storage_options` come before what the shell says, as they do in every command.
    """
    known = vault.credentials()
    if environment is None:
        return known
    from headrace.tracking.artifact_store import variables

    options = variables(environment.storage_options) if "://" in environment.artifacts_root else {}
    kept = {name: value for name, value in known.items() if name not in options}
    given = {name: value for name, value in options.items() if value is not None}
    return {**kept, **given, "MLFLOW_TRACKING_URI": environment.tracking_url}


@dataclass(frozen=True, kw_only=True)
class ServerTrouble:
    """What a server that runs says is wrong with it.

    Attributes:
        file: in which it says so.
        what: `not_followed`: it does not serve what `serving.json` says; `log_dropped`: its log does not take what it should;
            `slow`: answers take longer than declared.
    """

    file: Path
    what: str
    since: datetime
    reason: str


def troubles(home: Path) -> list[ServerTrouble]:
    """What the servers of a model say of themselves."""
    found: list[ServerTrouble] = []
    for path in sorted((home / TROUBLE).glob("*.json")):
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            if time.time() - path.stat().st_mtime < STILL:
                since = datetime.fromisoformat(told["at"])
                found.append(ServerTrouble(file=path, what=str(told["what"]), since=since, reason=str(told["reason"])))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # gone meanwhile, or half of another release's
    return found


def alarm(state: State, model: str, home: Path) -> None:
    """Tells everybody who wants to be told what is wrong with a server, once for each time."""
    for trouble in troubles(home):
        told = trouble.file.with_suffix(".told")
        if told.exists() and told.read_text(encoding="utf-8") == trouble.since.isoformat():
            continue
        with state.begin() as connection:
            what: dict[str, Json] = {"model": model, "reason": trouble.reason, "since": trouble.since.isoformat()}
            publish(connection, f"serving.{trouble.what}", model, what)
        told.write_text(trouble.since.isoformat(), encoding="utf-8")


def home(environment: Environment, model: str | None, *, declared: Callable[[], Sequence[str]]) -> Path:
    """The folder of a model's copies; of the only model when none is named.

    A model that was never deployed has none yet: its server waits for it.

    Args:
        environment: where it is served.
        model: its name.
        declared: names of the models that the project deploys; asked only when there is no such folder.

    Raises:
        NotFoundError: there is no such model here; or none is named, and there is not exactly one.
    """
    parent = environment.root / "serving"
    known = sorted(each.name for each in parent.iterdir() if each.is_dir()) if parent.is_dir() else []
    if model is None and len(known) == 1:
        return parent / known[0]
    if model is not None and model in known:
        return parent / model
    known = sorted({*known, *declared()})
    if model is None and len(known) == 1:
        return parent / known[0]
    if model is not None and model in known:
        return parent / model
    if model is None and known:
        raise DeclarationError(
            f"{len(known)} models can be served in {environment.name}: which one?",
            hint=f"headrace serve {known[0]}, or {', '.join(known[1:])}",
        )
    raise NotFoundError(
        f"model to serve in {environment.name}," if model is None else "model to serve",
        model or "any",
        known,
        hint="A model that has an hr.Deployment can be served.",
    )
