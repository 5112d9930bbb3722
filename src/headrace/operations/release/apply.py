"""Brings an environment to what a version of the code declares: the work of the plan, step by step, and the note that it is done."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from headrace.core.errors import ConfigError, HeadraceError, RefusedError
from headrace.core.text import counted
from headrace.deployment.retirement import retire
from headrace.jobs.step_output import StepOutput
from headrace.operations import policies, release_history
from headrace.operations.declared_state import declared_state
from headrace.operations.deploy import deploy
from headrace.operations.drop_table import citing, take_away
from headrace.operations.in_use import alone
from headrace.operations.job import RunReport, announce, begin_job, open_job, steps
from headrace.operations.monitor import monitor
from headrace.operations.operation import operation
from headrace.operations.promote import promote_model
from headrace.operations.publish import publish
from headrace.operations.refresh import refresh
from headrace.operations.release.plan import plan_release
from headrace.operations.sync import bring_along
from headrace.operations.train import train
from headrace.releases import applied

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from headrace.core.ids import Json
    from headrace.jobs.run import Run
    from headrace.operations.job import Announcer, Listener
    from headrace.operations.release.plan import PlanReport
    from headrace.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class ApplyReport(RunReport):
    """What was applied.

    Attributes:
        code: which code the environment has now.
        release: its tag; None where it is none.
        before: which code it had; None before the first time.
        actions: what was done, in order; empty where the environment was what the code says.
        findings: of versions that did not come into Production, a line each: the code is applied all the same, and the version
            that was in Production stays there.
        waits: requests that wait for an approval, a line each.
    """

    code: str
    release: str | None
    before: str | None
    actions: tuple[str, ...]
    findings: tuple[str, ...]
    waits: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class AppliedAction(StepOutput):
    """What one piece of work did.

    Attributes:
        action: as planned.
        what: on a line.
        finding: what a person has to look at; empty where there is nothing.
        waits: the request that waits; empty where none does.
        version: the number of the version that was trained or came up; None where none was.
    """

    action: str
    what: str
    finding: str = ""
    waits: str = ""
    version: int | None = None

    def summary(self) -> str:
        """The line."""
        return self.what

    def remarks(self) -> Sequence[str]:
        """What a person has to look at."""
        return tuple(each for each in (self.finding, self.waits) if each)


@dataclass(frozen=True, kw_only=True)
class PlannedWork(StepOutput):
    """The work of a plan, as it was when the run began: a run that is taken over does the rest of it.

    Attributes:
        actions: in order.
        before: which code the environment had.
    """

    actions: Sequence[str]
    before: str | None

    def summary(self) -> str:
        """How much."""
        return counted(len(self.actions), "action")


@operation("apply", publishes_catalog=True)
def apply_release(
    workspace: Workspace,
    *,
    remove: bool = False,
    reason: str = "",
    confirm: Callable[[PlanReport], None] | None = None,
    listen: Listener | None = None,
    begin: Announcer | None = None,
) -> ApplyReport:
    """Does what the plan says: idempotent, resumed where it was cut off, one at a time.

    A finished action is not done again by the command that resumes. Where nothing has to be done, nothing is done. From then on
    the environment runs this code where nobody names another.

    Args:
        workspace: the environment, with the code that is applied: `headrace.operations.release.plan.applying` finds it.
        remove: whether tables and models that are no longer declared are taken away.
        reason: why, of a rollback.
        confirm: called with the plan before anything is done; it raises to prevent that. None: nobody is asked.
        listen: called with each action that ends.
        begin: called once before the first action.

    Raises:
        BusyError: somebody else applies.
        RefusedError: this code may not run here.
        HeadraceError: an action failed; the same command continues with it.
    """
    release_history.check(workspace)
    plan = plan_release(workspace, remove=remove)
    if reason:  # a rollback: versions of models stay where they are
        kept = tuple(each for each in plan.actions if not _makes_version(each.action))
        plan = replace(plan, actions=kept, not_promoted=())
    if confirm is not None:
        confirm(plan)
    announce(workspace, begin, steps=len(plan.actions))
    params: dict[str, Json] = {"tree": workspace.code.tree, "release": workspace.code.release, "remove": remove}
    if reason:  # a run that was cut off is not taken over by an apply of the same release, which does more
        params["rollback"] = True
    with open_job(workspace, "apply", params, listen) as run:
        work = _work(run, plan)
        done: list[AppliedAction] = []
        for action in work.actions:
            if not _removes(action):
                done.append(_do(workspace, run, action, done))
        _note(workspace, reason=reason)
    runs = [run.id]
    if removed := [action for action in work.actions if _removes(action)]:
        # nothing else works meanwhile: it could write what is taken away
        with (
            alone(workspace, "take away what is no longer declared"),
            begin_job(workspace, "remove", params, listen) as run,
        ):
            done += [_do(workspace, run, action, done) for action in removed]
        runs.append(run.id)
    return ApplyReport(
        run=runs[0],
        env=workspace.environment.name,
        steps=tuple(step for each in runs for step in steps(workspace, each)),
        code=str(workspace.code),
        release=workspace.code.release,
        before=work.before,
        actions=tuple(work.actions),
        findings=(*(each.finding for each in done if each.finding), *plan.not_promoted),
        waits=tuple(each.waits for each in done if each.waits),
    )


@operation("release rollback", reads=True)
def rollback_target(workspace: Workspace) -> str:
    """The release that was applied before the current one: where `release rollback` goes when none is named.

    Raises:
        RefusedError: there is none.
    """
    now = applied.current(workspace.state)
    for each in applied.history(workspace.state, limit=200):
        if now is not None and each.release is not None and each.tree != now.tree:
            return each.release
    raise RefusedError(
        f"no other release was applied to {workspace.configured.name}, so there is none to go back to.",
        hint="headrace release list shows the releases; headrace apply --release TAG applies one.",
    )


@operation("release rollback", publishes_catalog=True)
def roll_back_release(
    workspace: Workspace,
    *,
    reason: str,
    confirm: Callable[[PlanReport], None] | None = None,
    listen: Listener | None = None,
    begin: Announcer | None = None,
) -> ApplyReport:
    """Takes the code of an environment back to an earlier release. Versions of models stay where they are.

    Args:
        workspace: the environment, with the release to go back to.
        reason: why; it stays in the audit record.
        confirm: called with the plan before anything is done; it raises to prevent that. None: nobody is asked.
        listen: called with each action that ends.
        begin: called once before the first action.

    Raises:
        ConfigError: there is no reason, or this code is applied already.
    """
    if not reason.strip():
        raise ConfigError("there is no reason.", hint="headrace release rollback --reason '…'")
    now = applied.current(workspace.state)
    if now is not None and now.tree == workspace.code.tree:
        raise ConfigError(f"{workspace.code} is what {workspace.environment.name} has.", hint="headrace release list")
    return apply_release(workspace, reason=reason.strip(), confirm=confirm, listen=listen, begin=begin)


def _makes_version(action: str) -> bool:
    return action.startswith(("train ", "promote ", "deploy "))


def _trains(action: str) -> bool:
    return action.startswith(("train ", "promote "))


def _removes(action: str) -> bool:
    return action.startswith(("retire ", "drop "))


def _work(run: Run, plan: PlanReport) -> PlannedWork:
    """The plan of the moment when the run began."""

    def do(_: object) -> PlannedWork:
        return PlannedWork(actions=[each.action for each in plan.actions], before=plan.before)

    return run.step("plan", {"run": run.id}, do, output=PlannedWork).output


def _do(workspace: Workspace, run: Run, action: str, before: Sequence[AppliedAction]) -> AppliedAction:
    made = {each.action.partition(" ")[2]: each.version for each in before if _trains(each.action)}

    def do(_: object) -> AppliedAction:
        return _action(workspace, action, made)

    return run.step(action, {"run": run.id}, do, output=AppliedAction).output


def _action(workspace: Workspace, action: str, made: Mapping[str, int | None]) -> AppliedAction:
    verb, _, name = action.partition(" ")
    match verb:
        case "refresh":
            done = refresh(workspace)
            return AppliedAction(action=action, what=f"{counted(len(done.steps), 'step')} in run {done.run}")
        case "publish":
            return AppliedAction(action=action, what=f"run {publish(workspace).run}")
        case "train":
            version = train(workspace, name).version
            return AppliedAction(action=action, what=f"version {version}", version=version)
        case "promote":
            return _promote(workspace, action, name)
        case "deploy":
            return _deploy(workspace, action, name, made)
        case "declare":
            declared = policies.declare_for(workspace, name, by=workspace.access.me().name)
            return AppliedAction(action=action, what=f"gates in force: {len(declared.gates) if declared else 0}")
        case "monitor":
            return AppliedAction(action=action, what=f"{counted(len(monitor(workspace, name).steps), 'step')}")
        case "drop":
            return _drop(workspace, action, name)
        case "retire":
            return _retire(workspace, action, name)
        case _:
            raise HeadraceError(f"{action!r} is no action.")


def _promote(workspace: Workspace, action: str, name: str) -> AppliedAction:
    """Brings the version up that is in Production below. One that is here already is not deployed anew, but goes on."""
    done = promote_model(workspace, name)
    if done.known and workspace.registry.get(name, done.version).stage in ("Production", "Archived"):
        return AppliedAction(action=action, what=f"{done.source} is version {done.version} here already")
    return AppliedAction(action=action, what=f"version {done.version}, from {done.source}", version=done.version)


def _deploy(workspace: Workspace, action: str, name: str, made: Mapping[str, int | None]) -> AppliedAction:
    """Deploys the version that was made here, which need not be the newest one.

    Where none was made, the one in Production gets the serving of this code, or the newest one is deployed.
    """
    current = workspace.registry.current(name, "Production")
    version = made.get(name) or (current.version if current is not None and name in made else None)
    known = workspace.registry.versions(name) if name in workspace.registry.models() else []
    if version is None and (name in made or all(each.stage == "Archived" for each in known)):
        return AppliedAction(action=action, what="nothing", finding=f"{name} has no version that could be deployed")
    done = deploy(workspace, name, version=version)
    what = f"version {done.version}: {done.ending}"
    if done.ending in ("in production", "on a rollout"):
        return AppliedAction(action=action, what=what)
    if done.ending == "waits for approval":
        waits = f"request {done.request} of {name} waits for {', '.join(done.missing)}"
        return AppliedAction(action=action, what=what, waits=waits)
    return AppliedAction(action=action, what=what, finding=f"{name} {what}: {'; '.join(done.findings[:3])}")


def _drop(workspace: Workspace, action: str, name: str) -> AppliedAction:
    """Takes a table away, unless a version that is in use was made from it."""
    used = [
        f"{model}/{number}" for model, number, stage in citing(workspace, name) if stage in ("Staging", "Production")
    ]
    if used:
        finding = f"{name} stays: {', '.join(used)} was made from it"
        return AppliedAction(action=action, what="nothing was taken away", finding=finding)
    if not workspace.lakehouse.exists(name, own=True):  # a run that was cut off took it away
        return AppliedAction(action=action, what="it is gone")
    return AppliedAction(action=action, what=f"took away {', '.join(take_away(workspace, name))}")


def _retire(workspace: Workspace, action: str, name: str) -> AppliedAction:
    changes = retire(workspace.registry, name, reason="no longer declared", identity=workspace.access.me())
    bring_along(workspace)
    archived = ", ".join(f"{name}/{change.version}" for change in changes)
    return AppliedAction(action=action, what=f"archived {archived}" if archived else "nothing was in use")


def _note(workspace: Workspace, *, reason: str) -> None:
    """Keeps what is applied now, once for each change."""
    code, last = workspace.code, applied.current(workspace.state)
    declared = declared_state(workspace.project, workspace.environment.policy)
    same = last is not None and (last.tree, last.release, last.commit) == (code.tree, code.release, code.commit)
    if same and last is not None and last.declared == declared:
        return
    applied.keep(
        workspace.state,
        release=code.release,
        commit=code.commit,
        tree=code.tree,
        declared=declared,
        reason=reason,
        by=workspace.access.me().name,
        environment=workspace.environment.name,
    )
