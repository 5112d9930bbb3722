"""Back-test: the quality that retraining at the beginning of each month would have reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core.errors import ConfigError
from headrace.operations.job import announce, as_of_text, moment, one_model, open_job, report
from headrace.operations.operation import operation
from headrace.pipelines import backtest as pipeline

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.core.ids import Json
    from headrace.operations.job import Announcer, Listener, RunReport
    from headrace.workspace.workspace import Workspace


@operation("run backtest", of="name")
def backtest(
    workspace: Workspace,
    name: str | None = None,
    *,
    since: datetime,
    until: datetime,
    as_of: datetime | None = None,
    listen: Listener | None = None,
    begin: Announcer | None = None,
) -> RunReport:
    """Retrains for each month between two moments, with the parameters of the version in Production or the newest one.

    Args:
        workspace: the environment.
        name: the model; may be left out when there is only one.
        since: beginning of the first month.
        until: the first moment that is left out.
        as_of: labels known by then judge; default: the project's, or the present.
        listen: called with each step that ends.
        begin: called once before the first step.
    """
    if since >= until:
        raise ConfigError(f"--since {since:%Y-%m-%dT%H:%M} is not before --until {until:%Y-%m-%dT%H:%M}.")
    model = one_model(workspace.project, name)
    _ = model.fitting  # a model that can only be imported is not trained for each month
    registry = workspace.registry
    version = registry.current(model.name, "Production") or registry.versions(model.name)[-1]
    asked: dict[str, Json] = {
        "as_of": as_of_text(workspace, as_of),
        "since": since.isoformat(),
        "until": until.isoformat(),
        "params": dict(version.params),
    }
    announce(workspace, begin)
    with open_job(workspace, f"backtest {model.name}", asked, listen) as run:
        pipeline.backtest(
            workspace.project,
            workspace.lakehouse,
            run,
            model,
            version.params,
            since=since,
            until=until,
            as_of=moment(run),
        )
    return report(workspace, run)
