"""The table of rights: the roles that each operation requires, by the words of its command.

`headrace.operations.operation` checks every operation against this table before it begins. An operation whose right
depends on what it finds checks again with `roles`. An operation that is not in the table does not run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from headrace.core import vault

VARIABLE = vault.TOKEN
ADMIN, ENGINEER = "admin", "ml_engineer"
DATA_ENGINEER, SCIENTIST = "data_engineer", "data_scientist"
SERVICE = "service"  # a scheduler, a server
ENROLLER = "enroller"  # grants roles and makes tokens, nothing else
ROLES = (
    ADMIN,
    ENGINEER,
    DATA_ENGINEER,
    SCIENTIST,
    SERVICE,
    ENROLLER,
)  # known here; others are names that gates ask for


@dataclass(frozen=True, kw_only=True)
class Right:
    """What an operation takes.

    Attributes:
        does: `reads`: whoever is known may; `changes`: it takes a role; `local`: it changes no environment, and
            nobody is asked who acts.
        roles: one of these is needed to change something.
        lowest: or one of these, in the lowest environment.
        any_role: any role but `enroller` is enough.
        signs: and the operation itself asks for the one that its object names.
        entry: what the audit record calls it: written before it is done, and it is not done when that cannot be written. What
            reads is recorded above the lowest environment only. None where the operation writes its entries itself, with what it
            changes, or nothing is recorded.
        unread: it goes on when the state database cannot be read; whoever is refused there is refused all the same.
        anew: it takes away what is there: the state database need not be the one that the stores belong to.
    """

    does: Literal["reads", "changes", "local"]
    roles: tuple[str, ...] = ()
    lowest: tuple[str, ...] = ()
    any_role: bool = False
    signs: bool = False
    entry: str | None = None
    unread: bool = False
    anew: bool = False

    def named(self, *, lowest: bool) -> tuple[str, ...]:
        """The roles of which it takes one, in an environment that is the lowest one or not."""
        return self.roles + (self.lowest if lowest else ())

    def held_by(self, held: frozenset[str], *, lowest: bool) -> bool:
        """Whether somebody with these roles may, in an environment that is the lowest one or not."""
        if self.does != "changes":
            return True
        if self.any_role:
            return bool(held - {ENROLLER})
        return not held.isdisjoint(self.named(lowest=lowest))


LOCAL, READS = Right(does="local"), Right(does="reads")
SIGNS = Right(does="changes", any_role=True, signs=True)
KEEPS = Right(does="changes", any_role=True)  # what everybody may read, for whoever holds a role


def _changes(
    *roles: str,
    lowest: tuple[str, ...] = (),
    entry: str | None = None,
    unread: bool = False,
    anew: bool = False,
) -> Right:
    return Right(does="changes", roles=roles, lowest=lowest, entry=entry, unread=unread, anew=anew)


# "run retrain": the command. "run retrain --force": with this option it takes this right, too. "run score --version N":
# with this option as a number. "run ingest-log PLACES": with this argument. A dry run reads.
OPERATIONS = {
    "init": LOCAL,
    "demo": LOCAL,
    "demo llm": LOCAL,
    "ci report": LOCAL,  # posts to a merge request, with a token of its host
    "console": LOCAL,  # each page is what its operation is
    "doctor": LOCAL,  # tells who acts as a finding
    "run refresh": _changes(ENGINEER, ADMIN, DATA_ENGINEER, SERVICE, lowest=(SCIENTIST,)),
    "run publish": _changes(ENGINEER, ADMIN, DATA_ENGINEER, SERVICE),
    "run train": _changes(ENGINEER, ADMIN, lowest=(SCIENTIST,)),
    "run tune": _changes(ENGINEER, ADMIN, lowest=(SCIENTIST,)),
    "run score": _changes(ENGINEER, ADMIN, DATA_ENGINEER, SERVICE, lowest=(SCIENTIST,)),
    "run score --version N": _changes(ENGINEER, ADMIN, lowest=(SCIENTIST,)),
    "run stream": _changes(ENGINEER, ADMIN, SERVICE, entry="stream.started"),
    "run parity-check": _changes(ENGINEER, ADMIN, lowest=(SCIENTIST,)),
    "run backtest": _changes(ENGINEER, ADMIN, lowest=(SCIENTIST,)),
    "run deploy": _changes(ENGINEER, ADMIN),
    "run ingest-log": _changes(ENGINEER, ADMIN, SERVICE),
    "run ingest-log PLACES": _changes(ENGINEER, ADMIN),
    "run monitor": _changes(ENGINEER, ADMIN, SERVICE, lowest=(SCIENTIST,)),
    "run retrain": _changes(ENGINEER, ADMIN, SERVICE),  # its guards, its gates and its approvers decide
    "run retrain --force": _changes(ENGINEER, ADMIN),
    "up": _changes(ENGINEER, ADMIN, SERVICE, entry="scheduler.started"),
    "serve": _changes(ENGINEER, ADMIN, SERVICE, entry="server.started", unread=True),
    "gateway": _changes(ENGINEER, ADMIN, SERVICE, entry="gateway.started", unread=True),
    "llm cost": READS,
    "llm budgets": READS,
    "llm estimate": READS,
    "llm routes": READS,
    "status": READS,
    "table list": READS,
    "table show": READS,
    "table profile": Right(does="reads", entry="table.profiled"),
    "table drift": Right(does="reads", entry="table.compared"),
    "table history": READS,
    "table load": _changes(ENGINEER, ADMIN, DATA_ENGINEER, entry="table.loaded"),
    "table drop": _changes(ENGINEER, ADMIN, DATA_ENGINEER),
    "feature list": READS,
    "feature show": READS,
    "feature search": READS,
    "model list": READS,
    "model show": READS,
    "model card": READS,
    "model search": READS,
    "model history": READS,
    "model predict": Right(does="reads", entry="model.predicted"),
    "model compare": READS,
    "model comparisons": READS,
    "model import": _changes(ENGINEER, ADMIN, lowest=(SCIENTIST,), entry="model.imported"),
    "model promote": _changes(ENGINEER, ADMIN, entry="model.promoted"),
    "model rollback": _changes(ENGINEER, ADMIN),
    "model export": _changes(ENGINEER, ADMIN, entry="model.exported"),
    "traffic show": READS,
    "traffic history": READS,
    "traffic set": _changes(ENGINEER, ADMIN),
    "traffic shadow": _changes(ENGINEER, ADMIN),
    "traffic rollout": _changes(ENGINEER, ADMIN),
    "traffic stop": _changes(ENGINEER, ADMIN),
    "traffic waive": Right(
        does="changes", roles=(ENGINEER, ADMIN), any_role=True, signs=True
    ),  # those of the rollout's request where it took one, else these
    "traffic reconcile": _changes(ENGINEER, ADMIN, SERVICE, entry="rollouts.reconciled"),
    "request list": READS,
    "request show": READS,
    "request approve": SIGNS,
    "request reject": SIGNS,
    "request reopen": Right(
        does="changes", roles=(ENGINEER, ADMIN), any_role=True, signs=True
    ),  # or a role that it asks for
    "feedback list": Right(does="reads", entry="feedback.read"),
    "feedback summary": READS,
    "trace list": Right(does="reads", entry="answer.read"),
    "trace show": Right(does="reads", entry="answer.read"),
    "feedback to-dataset": _changes(
        ENGINEER, ADMIN, DATA_ENGINEER, lowest=(SCIENTIST,), entry="feedback.dataset_written"
    ),
    "test integration": READS,  # in stores of its own; who has the signing key may sign
    "release keygen": LOCAL,
    "release fetch": READS,  # of the repository on this machine
    "release list": READS,
    "release verify": READS,
    "release bundle": READS,
    "release cut": _changes(ENGINEER, ADMIN),
    "release allow": _changes(ADMIN),
    "release rollback": _changes(ENGINEER, ADMIN),
    "plan": READS,
    "apply": _changes(ENGINEER, ADMIN),
    "apply --remove": _changes(ADMIN),
    "monitor show": READS,
    "monitor kpis": READS,
    "monitor report": READS,
    "alert list": READS,
    "alert show": READS,
    "alert ack": _changes(ENGINEER, ADMIN, lowest=(SCIENTIST,)),
    "alert mute": _changes(ENGINEER, ADMIN, lowest=(SCIENTIST,)),
    "alert resolve": _changes(ENGINEER, ADMIN, lowest=(SCIENTIST,)),
    "env policy": READS,
    "env policy --take-over": _changes(ADMIN),
    "env compare": READS,
    "env expire": _changes(ENGINEER, ADMIN, DATA_ENGINEER),
    "env stores": READS,
    "env stores --take-over": _changes(ADMIN),
    "env reset": _changes(ADMIN, entry="environment.reset", unread=True, anew=True),
    "sql": Right(does="reads", entry="sql.queried"),
    "query list": READS,
    "query show": READS,
    "query save": KEEPS,  # with rules on it, to replace it takes the right of "query alert"
    "query delete": KEEPS,  # so does this
    "query alert": _changes(
        ENGINEER, ADMIN, lowest=(SCIENTIST,)
    ),  # as "alert resolve": without its rule an alert is closed
    "dashboard list": READS,
    "dashboard show": READS,
    "dashboard export": Right(does="reads", entry="dashboard.exported"),
    "dashboard pull": READS,  # into the working tree
    "dashboard push": KEEPS,
    "dashboard delete": KEEPS,
    "dashboard refresh": Right(does="changes", any_role=True, entry="dashboard.refreshed"),
    "schedule list": READS,
    "runs list": READS,
    "runs show": READS,
    "runs logs": READS,
    "runs acknowledge": _changes(ENGINEER, ADMIN, DATA_ENGINEER),
    "audit": READS,
    "access me": READS,
    "access list": READS,
    "access bootstrap": _changes(ADMIN),  # which the only one here is, before anybody was granted anything
    "access grant": _changes(ADMIN, ENROLLER),
    "access revoke": _changes(ADMIN),
    "access token": _changes(ADMIN, ENROLLER),
    "api-key create": _changes(ENGINEER, ADMIN, entry="api_key.created"),
    "api-key list": READS,
    "api-key revoke": _changes(ENGINEER, ADMIN, entry="api_key.revoked"),
}


def roles(operation: str, *, lowest: bool = False) -> tuple[str, ...]:
    """The roles of which an operation takes one, in every environment or, more, in the lowest one."""
    return OPERATIONS[operation].named(lowest=lowest)
