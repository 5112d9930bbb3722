"""How an environment stands: what needs a person, how fresh tables are, what ran last, which models there are."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from headrace.core.clock import now
from headrace.core.text import percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.jobs.records import RunRecord
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.lakehouse.snapshot import Snapshot
    from headrace.registry.records import RolloutState
    from headrace.workspace.workspace import Workspace

LATEST = 200  # runs looked at for the last one of each job
RECENT = timedelta(days=1)

Row = dict[str, object]


def overview(workspace: Workspace) -> dict[str, list[Row]]:
    """Needs, what was set right lately, tables, jobs and models of an environment, as rows.

    Code that cannot be loaded is one of the needs; everything else is told all the same.
    """
    workspace.ledger.sweep()
    last = {run.job: run for run in reversed(workspace.ledger.runs(limit=LATEST))}
    return {
        "needs_a_person": [
            *_policy(workspace),
            *_broken(workspace),
            *_requests(workspace),
            *_approved(workspace),
            *_stopped(workspace),
            *_held(workspace),
            *_alerts(workspace),
            *_serving(workspace),
            *_skewed(workspace),
            *_channels(workspace),
            *_dead_streams(workspace),
            *_needs(list(last.values()), workspace.environment.name),
        ],
        "lately": _repairs(workspace),
        "traffic": _traffic(workspace),
        "tables": [_table(workspace.lakehouse, name.name) for name in workspace.lakehouse.names()],
        "jobs": [
            {
                "job": run.job,
                "status": run.status,
                "started": run.started,
                "ago": ago((now() - run.started).total_seconds()),
                "code": run.code,
            }
            for run in last.values()
        ],
        "streams": _streams(workspace),
        "models": [
            {
                "model": version.model,
                "version": version.version,
                "stage": version.stage,
                "created": version.created,
                "metrics": version.metrics,
            }
            for version in workspace.registry.versions()
        ],
    }


def _policy(workspace: Workspace) -> list[Row]:
    """What is committed and differs from the floor: nothing may run, or the floor holds."""
    env, ruling = workspace.environment.name, workspace.ruling
    return [
        {
            "what": f"what may run in {env} was changed in the committed headrace.toml",
            "since": now(),
            "reason": line,
            "next": f"headrace env policy --env {env}",
        }
        for line in (*ruling.changed, *ruling.looser)
    ]


def _broken(workspace: Workspace) -> list[Row]:
    """A program that cannot be loaded: nothing can run. An environment whose code is not there yet is not broken."""
    from headrace.core.errors import HeadraceError

    try:
        code = workspace.code
    except HeadraceError:
        return []
    try:
        _ = workspace.project.declarations
    except HeadraceError as error:
        said = [error.what, *error.findings[-1:]]
        env = workspace.environment.name
        return [
            {
                "what": f"the project cannot be loaded, from {code}",
                "since": now(),
                "reason": "; ".join(said),
                "next": f"mend it, and see with: headrace run refresh --dry-run --env {env}",
            }
        ]
    return []


def _requests(workspace: Workspace) -> list[Row]:
    env = workspace.environment.name
    return [
        {
            "what": f"{request.model} version {request.version} asks for {request.to}",
            "since": request.at,
            "reason": f"{request.by} asks; it takes the approval of {', '.join(request.missing)}",
            "next": f"headrace request show {request.id} --env {env}",
        }
        for request in workspace.registry.requests.list(status="open")
        if request.missing
    ]


def _alerts(workspace: Workspace) -> list[Row]:
    env = workspace.environment.name
    return [
        {
            "what": f"{alert.model} version {alert.version}: {alert.rule}",
            "since": alert.window,
            "reason": f"owner {alert.owner or 'nobody'}, seen by nobody yet",
            "next": f"headrace alert show {alert.id} --env {env}",
        }
        for alert in workspace.alerts.list(status="open")
    ]


def _approved(workspace: Workspace) -> list[Row]:
    """Approved for Production, and neither there nor on the way: the move was refused, or its process died."""
    env, found = workspace.environment.name, list[Row]()
    for request in workspace.registry.requests.list(status="approved"):
        decision = workspace.registry.requests.decision(request.id)
        if decision is None or not decision.approved or decision.spent is not None or decision.expires <= now():
            continue
        if workspace.registry.rollouts.of(decision) is not None:  # told by itself
            continue
        move = f"headrace run deploy --model {request.model} --version {request.version} --env {env}"
        found.append(
            {
                "what": f"{request.model} version {request.version} is approved for {request.to} and not there",
                "since": decision.at,
                "reason": f"approved by {', '.join(decision.by)}; the decision expires at {decision.expires:%Y-%m-%d %H:%M} UTC",
                "next": move,
            }
        )
    return found


def _stopped(workspace: Workspace) -> list[Row]:
    """Rollouts that a rule stopped, of versions that nobody has decided on since."""
    env, found, seen = workspace.environment.name, list[Row](), set[str]()
    for rollout in workspace.registry.rollouts.list():
        if rollout.model in seen:
            continue
        seen.add(rollout.model)
        version = workspace.registry.get(rollout.model, rollout.version)
        champion = workspace.registry.current(rollout.model, "Production")
        decision = workspace.registry.requests.decided(rollout.decision)
        against = champion.version if champion else None
        if rollout.status != "stopped" or version.stage in ("Production", "Archived") or decision.against != against:
            continue
        found.append(
            {
                "what": f"the rollout of {rollout.model} version {rollout.version} was stopped at {percent(rollout.share)}",
                "since": rollout.ended,
                "reason": f"{rollout.reason}; version {against} answers everything",
                "next": f"headrace traffic history {rollout.model} --env {env}",
            }
        )
    return found


def _held(workspace: Workspace) -> list[Row]:
    """Rollouts that wait because a rule cannot be judged: a person waives it, or finds out why."""
    env = workspace.environment.name
    return [
        {
            "what": f"the rollout of {rollout.model} version {rollout.version} is held at {percent(rollout.share)}",
            "since": rollout.checked,
            "reason": "; ".join(rollout.held.values()),
            "next": f"headrace traffic show {rollout.model} --env {env}",
        }
        for rollout in workspace.registry.rollouts.open()
        if rollout.held
    ]


def _traffic(workspace: Workspace) -> list[Row]:
    """Who answers beside the version in Production, and what a rollout waits for."""
    found: list[Row] = []
    for model in workspace.registry.models():
        split, rollout = workspace.registry.traffic.current(model), workspace.registry.rollouts.running(model)
        for role, shares in (("candidate", split.candidates), ("shadow", split.shadows)):
            for share in shares:
                on_rollout = rollout is not None and rollout.version == share.version
                waits = _outlook(workspace, rollout) if rollout and on_rollout else split.reason
                found.append(
                    {"model": model, "version": share.version, "role": role, "share": share.weight, "reason": waits}
                )
    return found


def _outlook(workspace: Workspace, rollout: RolloutState) -> str:
    from headrace.deployment.rollouts import outlook  # with what judges a rollout, which takes half a second to import

    return outlook(workspace.registry, workspace.lakehouse, rollout, now())


def _serving(workspace: Workspace) -> list[Row]:
    """Versions that servers would not load, or not as they should: in Production, or with a share beside it."""
    from headrace.core.errors import DataError
    from headrace.operations.serving import troubles
    from headrace.serving.manifest import FILE, read_manifest, version_folder

    env, found = workspace.environment.name, list[Row]()
    for model in workspace.registry.models():
        split, file = workspace.registry.traffic.current(model), workspace.home(model) / FILE
        if split.primary is None:
            continue
        for trouble in troubles(workspace.home(model)):
            if trouble.what == "log_dropped":
                what, again = f"a server of {model} cannot log what it answers", f"headrace run monitor --env {env}"
            elif trouble.what == "slow":
                what, again = (
                    f"a server of {model} is slower than declared",
                    f"headrace traffic show {model} --env {env}",
                )
            else:
                what = f"a server of {model} goes on with what it had before"
                again = f"headrace run deploy --model {model} --version {split.primary} --env {env}"
            found.append({"what": what, "since": trouble.since, "reason": trouble.reason, "next": again})
        asked = [(split.primary, "primary"), *((each.version, "candidate") for each in split.candidates)]
        for number, role in (*asked, *((each.version, "shadow") for each in split.shadows)):
            try:
                manifest = read_manifest(file)
                served = next((each for each in manifest.versions if (each.version, each.role) == (number, role)), None)
                named = ", ".join(f"version {each.version} as {each.role}" for each in manifest.versions)
                reason = "" if served else f"serving.json names {named}"
                if served is not None:
                    version_folder(file, manifest, served)
            except DataError as error:
                reason = error.what
            if reason:
                version = workspace.registry.get(model, number)
                again = f"headrace run deploy --model {model} --version {number} --env {env}"
                where = "is in Production" if role == "primary" else "has a share of the traffic"
                what = f"{version.name} {where} and cannot be served"
                found.append({"what": what, "since": version.created, "reason": reason, "next": again})
    return found


def _skewed(workspace: Workspace) -> list[Row]:
    """Versions in Production that were last seen to be given other features than they were trained on."""
    from headrace.monitoring import skew

    env, found = workspace.environment.name, list[Row]()
    for model in workspace.registry.models():
        version = workspace.registry.current(model, "Production")
        last = None if version is None else skew.last(workspace.lakehouse, model, version.version)
        if version is None or last is None or not last.skewed:
            continue
        worst = last.skewed[0]
        found.append(
            {
                "what": f"{version.name} is served other features than its tables hold: {worst.name}",
                "since": last.since,
                "reason": f"{worst.skewed} of {worst.rows} answers, as {worst.example}; {len(last.skewed)} features in all",
                "next": f"headrace run publish --env {env}; headrace run monitor --model {model} --env {env}",
            }
        )
    return found


def _channels(workspace: Workspace) -> list[Row]:
    """Those who are to be told of what happens, and could not be; servers of another machine are told there."""
    from headrace.core.events import is_projection
    from headrace.operations.sync import serving_here

    here = ("mlflow", serving_here(workspace))
    return [
        {
            "what": f"{channel} could not be told of what happens",
            "since": now(),
            "reason": f"{error.rstrip('.')}; nothing is lost, it is tried again",
            "next": f"headrace up --once --env {workspace.environment.name}",
        }
        for channel, error in workspace.outbox.stuck().items()
        if channel in here or not is_projection(channel)
    ]


def _streams(workspace: Workspace) -> list[Row]:
    """What the workers of streams told last."""
    from headrace.inference.streaming.worker_status import told

    return [
        {
            "model": each["model"],
            "source": each["source"],
            "worker": f"{each['host']}:{each['pid']}",
            "status": "died" if each["gone"] else "waits" if each["held"] else "works",
            "version": each["version"] or None,
            "messages": each["messages"],
            "dead_letters": each["dead_letters"],
            "lag": sum(each["lag"].values()),
            "delay_s": each["delay_s"],
            "at": datetime.fromisoformat(each["at"]),
        }
        for each in told(workspace.environment.root)
    ]


def _dead_streams(workspace: Workspace) -> list[Row]:
    """Streams whose last worker ended without a word, and of which nobody took over."""
    rows = _streams(workspace)
    alive = {row["model"] for row in rows if row["status"] != "died"}
    dead = {row["model"]: row for row in rows if row["model"] not in alive}
    return [
        {
            "what": f"the stream of {model} has no worker",
            "since": row["at"],
            "reason": f"its last one, {row['worker']}, died; messages wait, and none is lost",
            "next": f"headrace run stream --model {model} --env {workspace.environment.name}",
        }
        for model, row in dead.items()
    ]


def _repairs(workspace: Workspace) -> list[Row]:
    """What was changed by hand lately, and set right: somebody may want to know why."""
    found: list[Row] = []
    for entry in workspace.audit.entries(limit=LATEST):
        if now() - entry.at > RECENT:
            continue
        told = entry.details
        if entry.action == "alias.repaired":
            what = f"MLflow's alias {told['alias']!r} of {entry.object} was moved by hand to {told['found']}, and set back to {told['set_to']}"
        elif entry.action == "serving.repaired":
            what = f"serving.json of {entry.object} was changed by hand, and written again"
        else:
            continue
        found.append({"what": what, "at": entry.at})
    return found


def _needs(runs: Sequence[RunRecord], env: str) -> list[Row]:
    return [
        {
            "what": f"{run.job} {run.status}",
            "since": run.ended or run.started,
            "reason": (run.error or "its process died").splitlines()[0],
            "next": f"headrace runs logs {run.id} --env {env}",
        }
        for run in runs
        if run.status in ("failed", "interrupted") and run.acknowledged_by is None
    ]


def _table(lakehouse: Lakehouse, name: str) -> Row:
    from headrace.lakehouse import log

    snapshot = lakehouse.snapshot(name)
    entry = log.entry(snapshot.place, snapshot.data_version)
    changed = entry.at if entry else None
    return {
        "table": name,
        "env": snapshot.env,
        "rows": snapshot.rows(),
        "changed": changed,
        "ago": ago((now() - changed).total_seconds()) if changed else None,
        "newest": _newest(lakehouse, snapshot),
    }


def _newest(lakehouse: Lakehouse, snapshot: Snapshot) -> object:
    """The latest moment that its rows tell of, where the table has a time."""
    from headrace.lakehouse.identifiers import column, quoted

    time = snapshot.properties.get("headrace.time")
    if time is None or time not in snapshot.schema.names:
        return None
    with lakehouse.connect({snapshot.name: snapshot.version}) as connection:
        found = connection.sql(f"select max({column(time)}) as newest from {quoted(snapshot.name)}")
        return found.to_arrow_table().column("newest")[0].as_py()


def ago(seconds: float) -> str:
    """A stretch of time in its largest unit: `40 s`, `5 min`, `3 h`, `12 d`."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
