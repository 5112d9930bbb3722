"""What a version of the code would change in an environment: the declarations that differ, the risks, and the work that follows."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from headrace.core.errors import HeadraceError, NotFoundError, RefusedError
from headrace.core.ownership import only_reading
from headrace.deployment.declarations import Deployment
from headrace.environments import code
from headrace.features.declarations import FeatureTable
from headrace.features.plan import FeaturePlan
from headrace.lakehouse import graph
from headrace.lakehouse.declarations import ArrivalTable, Source, Table
from headrace.operations import policies
from headrace.operations.declared_state import declared_state
from headrace.operations.deployment_pattern import comes_up, pattern_of
from headrace.operations.operation import operation
from headrace.operations.promote import Candidate, candidate_below
from headrace.operations.record import Record
from headrace.pipelines.model_inputs import tables
from headrace.releases import applied
from headrace.serving.manifest import FILE, PACKAGE, read_manifest, version_folder
from headrace.training.declarations import Model
from headrace.workspace.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Literal

    from headrace.core.ids import Json
    from headrace.operations.declared_state import Declared
    from headrace.operations.operation import At
    from headrace.releases.applied import AppliedCode
    from headrace.workspace.workspace import Workspace

    Change = Literal["added", "changed", "removed"]
    Level = Literal["breaks", "costs", "widens", "removes"]

TOLD = ("description", "owner")  # attributes that change nothing that runs
DATA = ("source", "table", "feature table", "vector index")
READING = (
    "schema",
    "nulls",
    "separator",
    "decimal",
    "encoding",
    "quote",
    "skip",
    "read",
)  # of a source, what its rows are
BUILDING = ("sql", "key", "time", "schema")  # of a table, what its rows are
TRAINING = ("fit", "params", "spine", "features", "task", "tune", "evaluate", "predict", "uses", "prompts")
SERVING = ("serve", "feedback", "load_test", "traces")
PROMOTION = ("gates", "rollout")
SHOWN = 120  # characters of a value


@dataclass(frozen=True, kw_only=True)
class PlannedChange(Record):
    """One object whose declaration differs from what was applied.

    Attributes:
        object: its kind and name: `table silver.orders`.
        change: `added`, `changed` or `removed`.
        attributes: what differs, a line each: `look_back: 2d → 7d`.
    """

    object: str
    change: Change
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PlannedRisk(Record):
    """Something to look at before it is applied.

    Attributes:
        object: what it is about.
        level: `breaks` something that is in use, `costs` much work, `widens` what is permitted, or `removes` something.
        reason: why, in words.
    """

    object: str
    level: Level
    reason: str


@dataclass(frozen=True, kw_only=True)
class PlannedAction(Record):
    """One piece of work that `headrace apply` would do, in its order.

    Attributes:
        action: `refresh`, `publish`, `train late`, `promote late`, `deploy late`, `declare late`, `monitor late`, `drop silver.x`, `retire late`.
        reason: why it is needed.
    """

    action: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class PlanReport(Record):
    """What a version of the code would change in an environment.

    Attributes:
        env: the environment.
        code: which code: a release, a commit or the working tree.
        release: its tag; None where it is none.
        commit: git's id of its commit; None outside git.
        before: which code was applied last; None before the first time.
        changes: declarations that differ.
        risks: what to look at.
        actions: what would be done, in order; empty where nothing has to.
        drift: in what the environment differs from what was applied, a line each.
        not_promoted: models whose version would have to come up from a lower environment, and cannot: why, a line each.
        removals: objects that are no longer declared and are still there; `headrace apply --remove` takes them away.
    """

    env: str
    code: str
    release: str | None
    commit: str | None
    before: str | None
    changes: tuple[PlannedChange, ...]
    risks: tuple[PlannedRisk, ...]
    actions: tuple[PlannedAction, ...]
    drift: tuple[str, ...]
    not_promoted: tuple[str, ...]
    removals: tuple[str, ...]


def applying(at: At) -> At:
    """The same place with the release that would be applied: the highest that may run, where only releases may.

    Raises:
        ConfigError: there is no project.
        RefusedError: no release may run.
    """
    with only_reading(), open_workspace(at.env, folder=at.folder) as workspace:
        settled = replace(at, env=workspace.configured.name, folder=workspace.config.folder)
        if at.release is not None or workspace.environment.code != "release":
            return settled
        release = code.newest_release(workspace.config, workspace.environment, unproven=workspace.unproven)
        last = applied.current(workspace.state)
        if last is not None and last.release is not None and code.version(release) < code.version(last.release):
            name = workspace.configured.name
            raise RefusedError(
                f"{last.release} is what {name} has, and the highest release that may run is {release}: an older one is not "
                "applied by itself.",
                hint=f"headrace release verify {last.release} says why it may not run; headrace release rollback {release} --reason … "
                "goes back.",
            )
    return replace(settled, release=release)


@operation("plan")
def plan_release(workspace: Workspace, *, remove: bool = False) -> PlanReport:
    """Compares what the code declares with what was applied to the environment, and with what is there.

    Args:
        workspace: the environment, with the code that would be applied: `applying` finds it.
        remove: whether what is no longer declared is taken away.

    Raises:
        ConfigError, DeclarationError, UserCodeError: the program cannot be loaded.
    """
    last = applied.current(workspace.state)
    declared = declared_state(workspace.project, workspace.environment.policy)
    before = cast("Declared", last.declared) if last else {}
    changes = tuple(compare(before, declared))
    removals = tuple(_removals(workspace, declared))
    names = [each.name for each in workspace.project.all(Deployment) if comes_up(workspace, each.name)]
    below = {name: candidate_below(workspace, name) for name in names}
    return PlanReport(
        env=workspace.environment.name,
        code=str(workspace.code),
        release=workspace.code.release,
        commit=workspace.code.commit,
        before=None if last is None else last.release or (last.commit or last.tree)[:8],
        changes=changes,
        risks=tuple(_risks(workspace, before, declared, changes, removals if remove else ())),
        actions=tuple(_actions(workspace, changes, removals if remove else (), below, first=last is None)),
        drift=tuple(_drift(workspace, last)) if last is not None else (),
        not_promoted=tuple(_not_promoted(workspace, changes, below)),
        removals=removals,
    )


def compare(before: Declared, after: Declared) -> Iterator[PlannedChange]:
    """The objects that differ, in the order of the program; those that are gone come last."""
    for name, attributes in after.items():
        if name not in before:
            yield PlannedChange(object=name, change="added")
        elif lines := [
            f"{key}: {_shown(before[name].get(key))} → {_shown(attributes.get(key))}"
            for key in dict.fromkeys((*attributes, *before[name]))
            if before[name].get(key) != attributes.get(key)
        ]:
            yield PlannedChange(object=name, change="changed", attributes=tuple(lines))
    for name in before:
        if name not in after:
            yield PlannedChange(object=name, change="removed")


def _shown(value: Json) -> str:
    text = (
        "none"
        if value in (None, [], "")
        else value
        if isinstance(value, str)
        else json.dumps(value, ensure_ascii=False)
    )
    line = " ".join(str(text).split())
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…"


def _kind(name: str) -> tuple[str, str]:
    kind, _, rest = name.rpartition(" ")
    return kind, rest


def _keys(change: PlannedChange) -> set[str]:
    return {line.partition(":")[0] for line in change.attributes}


def _actions(
    workspace: Workspace,
    changes: tuple[PlannedChange, ...],
    removals: tuple[str, ...],
    below: Mapping[str, Candidate],
    *,
    first: bool,
) -> Iterator[PlannedAction]:
    """The work that follows from the changes: only what they concern."""
    data = [each for each in changes if _kind(each.object)[0] in DATA and _matters(each)]
    if data or first:
        yield PlannedAction(action="refresh", reason=_because(data) or "it was never applied")
    online = {each.name for each in workspace.project.all(FeatureTable) if each.online}
    if published := [each for each in data if _kind(each.object)[1] in online]:
        yield PlannedAction(action="publish", reason=_because(published))
    models = {_kind(each.object)[1]: each for each in changes if _kind(each.object)[0] == "model" and _matters(each)}
    deployments = {
        _kind(each.object)[1]: each for each in changes if _kind(each.object)[0] == "deployment" and _matters(each)
    }
    deployed = {each.name for each in workspace.project.all(Deployment)}
    redefined = _redefined(workspace, changes)
    for model in workspace.project.all(Model):
        changed = models.get(model.name)
        inputs = [name for name in tables(model) if name in redefined]
        yield from _of_model(
            workspace, model, changed, inputs, deployments.get(model.name), deployed, below.get(model.name)
        )
    for name in sorted(removals, key=lambda each: not each.startswith("model ")):  # versions first, then what they cite
        kind, what = _kind(name)
        yield PlannedAction(
            action=f"{'retire' if kind == 'model' else 'drop'} {what}", reason="it is no longer declared"
        )


def _redefined(workspace: Workspace, changes: tuple[PlannedChange, ...]) -> set[str]:
    """The tables whose values mean something else than before: they changed, or are made of one that did."""
    sources = workspace.project.all(Source)
    declared = (*sources, *(source.arrivals for source in sources), *workspace.project.all(Table))
    known = {each.name for each in declared}
    found = {
        _kind(change.object)[1]
        for change in changes
        if change.change == "changed"
        and _kind(change.object)[0] in DATA
        and _keys(change) & {*READING, *BUILDING, "look_back"}
    }
    while more := {each.name for each in declared if each.name not in found and set(graph.inputs(each, known)) & found}:
        found |= more
    return found


def _of_model(
    workspace: Workspace,
    model: Model,
    changed: PlannedChange | None,
    inputs: list[str],
    deployment: PlannedChange | None,
    deployed: set[str],
    below: Candidate | None,
) -> Iterator[PlannedAction]:
    name = model.name
    trains = model.fit is not None or model.predict is not None
    missing = name not in workspace.registry.models()
    retrained = changed is not None and _retrains(changed)
    reason = (
        _because([changed])
        if changed is not None and retrained
        else f"its inputs changed: {', '.join(inputs)}"
        if inputs
        else "it has no version here"
        if missing
        else ""
    )
    if trains and below is not None:
        always = pattern_of(workspace, name) == "models"  # a hybrid is retrained here: what is below need not be better
        if (reason or always) and not below.refused and not below.known:
            why = f"{below.name} is in Production there" + (f", and {reason}" if reason else "")
            yield PlannedAction(action=f"promote {name}", reason=why)
            yield PlannedAction(action=f"deploy {name}", reason="a version comes up")
            return
    elif trains and reason:
        yield PlannedAction(action=f"train {name}", reason=reason)
        if name in deployed:
            yield PlannedAction(action=f"deploy {name}", reason="a version is made")
        return
    if deployment is None or missing:
        return
    keys = _keys(deployment)
    if deployment.change == "added" or keys & set(SERVING):
        yield PlannedAction(action=f"deploy {name}", reason=_because([deployment]))
    elif keys & set(PROMOTION):
        yield PlannedAction(action=f"declare {name}", reason=_because([deployment]))
    if "monitor" in keys:
        yield PlannedAction(action=f"monitor {name}", reason=_because([deployment]))


def _retrains(changed: PlannedChange) -> bool:
    """Whether a change of a model asks for another version."""
    return changed.change == "added" or bool(_keys(changed) & set(TRAINING))


def _not_promoted(
    workspace: Workspace, changes: tuple[PlannedChange, ...], below: Mapping[str, Candidate]
) -> Iterator[str]:
    changed = {each.object for each in changes if each.change == "changed" and _retrains(each)}
    for name, found in below.items():
        if found.known and f"model {name}" in changed:
            yield f"model {name} changed, and {found.name}, which is here already, is what is in Production there"
        elif found.refused and (pattern_of(workspace, name) == "models" or name not in workspace.registry.models()):
            yield f"no version of {name} comes up from {found.name}: {found.refused}"


def _matters(change: PlannedChange) -> bool:
    """Whether something that runs changes, and not a description alone."""
    return change.change == "added" or bool(_keys(change) - set(TOLD))


def _because(changes: list[PlannedChange]) -> str:
    return ", ".join(f"{each.object} {each.change}" for each in changes[:3]) + (
        f" and {len(changes) - 3} more" if len(changes) > 3 else ""
    )


def _risks(
    workspace: Workspace,
    before: Declared,
    after: Declared,
    changes: tuple[PlannedChange, ...],
    removals: tuple[str, ...],
) -> Iterator[PlannedRisk]:
    yield from _broken(workspace)
    for change in changes:
        kind, name = _kind(change.object)
        keys = _keys(change)
        if change.change == "changed" and kind in ("table", "feature table") and keys & set(BUILDING):
            rows = _rows(workspace, name)
            if rows is not None:
                yield PlannedRisk(
                    object=change.object,
                    level="costs",
                    reason=f"all of its {rows:,} rows are built anew{_took(workspace, name)}",
                )
        if change.change == "changed" and kind in ("deployment", ""):
            yield from _widened(change.object, before[change.object], after[change.object], keys)
        if change.change == "removed" and kind in (*DATA, "model"):
            yield PlannedRisk(
                object=change.object,
                level="removes",
                reason="it is no longer declared, and stays as it is without --remove",
            )
    for name in removals:
        yield PlannedRisk(object=name, level="removes", reason="it is taken away for good")


def _broken(workspace: Workspace) -> Iterator[PlannedRisk]:
    """Columns that a version in Production looks up, and that the tables would no longer have."""
    tables = {each.name: each for each in (*workspace.project.all(Table), *workspace.project.all(Source))}
    for model in workspace.registry.models():
        version = workspace.registry.current(model, "Production")
        plan = _served_plan(workspace, model)
        if version is None or plan is None:
            continue
        used = {lookup.table: {column for column, _ in lookup.columns} for lookup in plan.lookups}
        used.setdefault(plan.spine, set()).update(plan.spine_columns)
        for name, columns in used.items():
            declared = tables.get(name)
            if declared is None:
                if not workspace.lakehouse.exists(name) or workspace.lakehouse.exists(name, own=True):
                    continue  # an arrivals table, or one that is there and stays
                continue
            there = _columns(declared, tables)
            if there is not None and (gone := sorted(columns - there)):
                yield PlannedRisk(
                    object=f"model {model}",
                    level="breaks",
                    reason=f"version {version.version} in Production uses {', '.join(f'{name}.{each}' for each in gone)}, "
                    "which would be gone",
                )


def _columns(declared: Table | Source | None, tables: Mapping[str, Table | Source]) -> set[str] | None:
    """The columns that a table's SELECT gives, also by `*` of other tables; None where its text does not tell.

    Args:
        declared: the table.
        tables: those of the program, by name.
    """
    if declared is None or isinstance(declared, Source | ArrivalTable) or declared.sql is None:
        return None
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    text = declared.sql if isinstance(declared.sql, str) else declared.sql.text
    try:
        query = sqlglot.parse_one(text, dialect="duckdb")
    except SqlglotError:
        return None
    names = cast("list[str]", getattr(query, "named_selects", []))
    if not names or "" in names:
        return None
    if "*" not in names:
        return set(names)
    if len(list(query.find_all(exp.Select))) > 1 or any(any(star.args.values()) for star in query.find_all(exp.Star)):
        return None  # a query inside gives columns of its own; a star with EXCLUDE, REPLACE or RENAME gives others
    read = {f"{each.db}.{each.name}" for each in query.find_all(exp.Table)} - {declared.name}
    below = [_columns(tables.get(name), tables) for name in read]
    if any(each is None for each in below):
        return None
    return (set(names) - {"*"}).union(*(each for each in below if each is not None))


def _served_plan(workspace: Workspace, model: str) -> FeaturePlan | None:
    file = workspace.home(model) / FILE
    try:
        package = version_folder(file, read_manifest(file)) / PACKAGE
        told: Any = json.loads((package / "spec.json").read_text(encoding="utf-8"))
        return FeaturePlan.from_json(told["plan"])
    except (OSError, ValueError, KeyError, HeadraceError):
        return None


def _rows(workspace: Workspace, name: str) -> int | None:
    try:
        return workspace.lakehouse.snapshot(name).rows() if workspace.lakehouse.exists(name, own=True) else None
    except NotFoundError:
        return None


def _took(workspace: Workspace, name: str) -> str:
    """How long the last build of a table took, in words."""
    for run in workspace.ledger.runs("refresh", limit=20):
        for step in workspace.ledger.steps(run.id):
            if step.name == f"build {name}" and step.status == "done" and step.ended and step.started:
                return f"; the last time that took {(step.ended - step.started).total_seconds():.1f} s"
    return ""


def _widened(name: str, before: Mapping[str, Any], after: Mapping[str, Any], keys: set[str]) -> Iterator[PlannedRisk]:
    """What asks for less than before, or lets more people in."""
    if "gates" in keys:
        now = [json.dumps(each, sort_keys=True) for each in after.get("gates") or []]
        kinds = [each.get("kind") for each in after.get("gates") or [] if isinstance(each, dict)]
        for gate in before.get("gates") or []:
            if json.dumps(gate, sort_keys=True) not in now:
                kind = gate.get("kind") if isinstance(gate, dict) else str(gate)
                what = "asks otherwise" if kind in kinds else "is gone"
                yield PlannedRisk(object=name, level="widens", reason=f"the gate {_shown(gate)} {what}")
    for key in ("approvals", "attested_by"):
        if key in keys and (gone := [each for each in before.get(key) or [] if each not in (after.get(key) or [])]):
            yield PlannedRisk(object=name, level="widens", reason=f"{key}: {', '.join(gone)} is no longer asked")
    if "runtime" in keys and before.get("runtime") == "locked":
        yield PlannedRisk(object=name, level="widens", reason="runtime: the locked versions are no longer asked")
    if "reads" in keys and (
        more := [each for each in after.get("reads") or [] if each not in (before.get("reads") or [])]
    ):
        yield PlannedRisk(object=name, level="widens", reason=f"tables of {', '.join(more)} can be read")
    served, was = after.get("serve") or {}, before.get("serve") or {}
    if "serve" in keys and isinstance(served, dict) and isinstance(was, dict):
        if origins := [each for each in served.get("cors") or [] if each not in (was.get("cors") or [])]:
            yield PlannedRisk(object=name, level="widens", reason=f"pages of {', '.join(origins)} can read answers")
        if shown := [each for each in was.get("redact") or [] if each not in (served.get("redact") or [])]:
            yield PlannedRisk(object=name, level="widens", reason=f"{', '.join(shown)} is written into the log")


def _removals(workspace: Workspace, declared: Declared) -> Iterator[str]:
    """Own tables and models that were applied once, are there, and are no longer declared."""
    known = {name for each in applied.history(workspace.state, limit=200) for name in each.declared}
    for name in sorted(known - declared.keys()):
        kind, what = _kind(name)
        if kind in ("source", "table", "feature table") and workspace.lakehouse.exists(what, own=True):
            if not any(_kind(other)[1] == what for other in declared if _kind(other)[0] in DATA):
                yield name
        elif (
            kind == "model"
            and what in workspace.registry.models()
            and any(version.stage in ("Staging", "Production") for version in workspace.registry.versions(what))
        ):
            yield name


def _drift(workspace: Workspace, last: AppliedCode) -> Iterator[str]:
    """In what the environment differs from the code that was applied to it, whatever changed it."""
    for name in last.declared:
        kind, what = _kind(name)
        if kind in ("source", "table", "feature table") and not workspace.lakehouse.exists(what):
            yield f"{what} was applied and is not there: headrace run refresh"
    for model in workspace.registry.models():
        version = workspace.registry.current(model, "Production")
        if version is None or not workspace.home(model).is_dir():
            continue
        served = _served(workspace, model)
        if served != version.version:
            yield f"servers of {model} are told version {served or 'none'}, and {version.version} is in Production"
    if workspace.code.tree == last.tree:
        for deployment in workspace.project.all(Deployment):
            in_force = workspace.registry.policies.current(deployment.name)
            if in_force.number and in_force.hash != policies.hash_of(workspace, deployment):
                yield f"the gates of {deployment.name} in force are others than applied, since {in_force.code}"
    yield from (*workspace.ruling.changed, *workspace.ruling.looser)


def _served(workspace: Workspace, model: str) -> int | None:
    try:
        return read_manifest(workspace.home(model) / FILE).primary.version
    except (OSError, HeadraceError):
        return None
