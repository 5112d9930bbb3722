"""Every command that changes something asks who acts, and whether they may; whoever is refused is in the audit record."""

import os
from datetime import timedelta

import pytest
from sqlalchemy import text, update

from headrace.access.audit import Audit
from headrace.access.identity import TOKENS
from headrace.access.rights import OPERATIONS
from headrace.cli.main import main
from headrace.core import vault
from headrace.core.clock import now
from headrace.core.state import State
from headrace.core.system import user
from headrace.environments import config

CHANGES = {
    "run refresh": [],
    "run publish": [],
    "run train": [],
    "run tune": [],
    "run score": [],
    "run score --version N": ["--version", "2"],
    "run stream": ["--once"],
    "run parity-check": ["--since", "2024-02-01", "--until", "2024-02-02"],
    "run backtest": ["--since", "2024-01-01", "--until", "2024-02-01"],
    "run deploy": ["--version", "2"],
    "run ingest-log": [],
    "run ingest-log PLACES": ["elsewhere"],
    "run monitor": [],
    "run retrain": [],
    "run retrain --force": ["--force"],
    "up": ["--once"],
    "serve": ["late"],
    "gateway": [],
    "feedback to-dataset": ["late", "gold.said"],
    "table load": ["data/orders.csv"],
    "table drop": ["shop.orders", "--yes"],
    "release cut": ["1.0.0"],
    "release rollback": ["v1.0.0", "--reason", "x", "--yes"],
    "apply": ["--yes"],
    "apply --remove": ["--yes", "--remove"],
    "release allow": ["v1.0.0", "--reason", "x"],
    "model import": ["late", "model.joblib"],
    "model promote": ["late"],
    "model rollback": ["late", "--reason", "x"],
    "model export": ["late", "--to", "container", "--into", "out"],
    "traffic set": ["late", "--candidate", "2=10%", "--reason", "x"],
    "traffic shadow": ["late", "2", "--reason", "x"],
    "traffic rollout": ["late", "2", "--reason", "x"],
    "traffic stop": ["late", "--reason", "x"],
    "traffic waive": ["late", "--reason", "x"],
    "traffic reconcile": [],
    "request approve": ["1"],
    "request reject": ["1", "--reason", "x"],
    "request reopen": ["1", "--reason", "x"],
    "alert ack": ["1"],
    "alert mute": ["1", "--until", "1h", "--reason", "x"],
    "alert resolve": ["1", "--reason", "x"],
    "env policy --take-over": ["--take-over", "--reason", "x"],
    "env stores --take-over": ["--take-over", "lakehouse", "--reason", "x"],
    "env expire": [],
    "env reset": ["--yes"],
    "runs acknowledge": ["0", "--reason", "x"],
    "dashboard push": [],
    "dashboard delete": ["mine"],
    "dashboard refresh": ["mine"],
    "query save": ["mine", "select 1 as one"],
    "query delete": ["mine"],
    "query alert": ["mine", "--when", "one > 0"],
    "access bootstrap": [],
    "access grant": ["guest", "admin"],
    "access revoke": ["boss", "admin"],
    "access token": ["boss"],
    "api-key create": ["shop"],
    "api-key revoke": ["shop"],
}
READS = {
    "status": [],
    "sql": ["select 1"],
    "table list": [],
    "model list": [],
    "audit": [],
    "api-key list": [],
    "run deploy --dry-run": ["--dry-run"],
    "access me": [],
}


def test_the_attacks_try_every_command_that_changes_something():
    assert set(CHANGES) == {name for name, right in OPERATIONS.items() if right.does == "changes"}


class Prod:
    """The world, without a process for each command: what is refused ends before a command's body."""

    def __init__(self, world, monkeypatch, capsys):
        self.world, self.patch, self.capsys = world, monkeypatch, capsys
        monkeypatch.chdir(world.folder)
        # were `serve` not refused, this process would become a server
        for name in ("execv", "execve", "execvp", "execvpe"):
            monkeypatch.setattr(os, name, lambda *_: pytest.fail("a server was started"))
        for name, value in world.variables.items():
            monkeypatch.setenv(name, value)
        self.state = State(config.load(world.folder).environment("prod").state_url)
        self.audit = Audit(self.state)

    def run(self, words, more, token):
        # a command begins without the token of the one before, and takes what is secret out of the variables
        self.patch.setattr(vault, "_vault", type(vault._vault)())
        for name, value in self.world.variables.items():
            self.patch.setenv(name, value)
        if token is None:
            self.patch.delenv("HEADRACE_TOKEN", raising=False)
        else:
            self.patch.setenv("HEADRACE_TOKEN", token)
        name = [word for word in words.split() if word.islower() and not word.startswith("-")]
        with pytest.raises(SystemExit) as ended:
            main([*name, *more, "--env", "prod"])
        told = self.capsys.readouterr()
        return ended.value.code, told.out + told.err

    def refuses(self, commands, token, *, who):
        """Each is refused with exit 3, and recorded."""
        before, stages = self.audit.head().count, self.world.stages()
        for words, more in commands.items():
            code, told = self.run(words, more, token)
            assert code == 3, (words, told)
            assert "Traceback" not in told
        entries = self.audit.entries()[: -before or None]
        assert {(entry.who, entry.action) for entry in entries} == {(who, "access.refused")}
        tried = [" ".join(w for w in words.split() if w.islower() and not w.startswith("-")) for words in commands]
        recorded = [str(entry.details["operation"]) for entry in reversed(entries)]
        assert [each.partition(" --")[0].partition(" PLACES")[0] for each in recorded] == tried
        assert not token or all(token not in str(vars(entry)) for entry in entries)
        assert self.audit.verify() is None
        assert self.world.stages() == stages


@pytest.fixture
def prod(world, monkeypatch, capsys):
    made = Prod(world, monkeypatch, capsys)
    yield made
    made.state.close()


def test_nobody_acts_by_a_token_that_is_made_up_expired_or_revoked(prod):
    world = prod.world
    expired, revoked = (
        world.ok("access", "token", name, "--env", "prod", by="boss").stdout.strip() for name in ("eng", "law")
    )
    world.ok("access", "revoke", "law", "--tokens", "--env", "prod", by="boss")
    with prod.state.begin() as connection:
        connection.execute(update(TOKENS).where(TOKENS.c.name == "eng").values(expires=now() - timedelta(minutes=1)))

    every = CHANGES | READS
    prod.refuses(every, "hr_made_up", who="unknown")
    prod.refuses(every, "", who="unknown")
    prod.refuses(every, expired, who="eng")
    prod.refuses(every, revoked, who="law")


def test_a_role_that_gives_no_right_gives_none(prod):
    # without a rollout there is nothing to waive, and whose role it takes is its request's: tests/deployment/test_holds.py
    # queries and dashboards are saved by whoever holds any role: tests/operations/test_saved_queries.py, test_dashboards.py
    kept = {name for name in CHANGES if name.startswith(("query ", "dashboard "))} - {"query alert"}
    elsewhere = {"traffic waive", *kept}
    prod.refuses(
        {name: more for name, more in CHANGES.items() if name not in elsewhere}, prod.world.tokens["guest"], who="guest"
    )


def test_a_user_of_the_machine_without_a_role_only_reads(prod):
    world, me = prod.world, user()
    for role in ("ml_engineer", "admin"):
        world.ok("access", "revoke", me, role, "--env", "prod", by="boss")

    prod.refuses(CHANGES, None, who=me)
    for words, more in READS.items():
        name = [word for word in words.split() if not word.startswith("-")]
        world.ok(*name, *more, "--env", "prod")


def test_nobody_does_what_another_role_is_for(prod):
    world = prod.world
    people = {"engine": "data_engineer", "cron": "service", "lab": "data_scientist"}
    for name, role in people.items():
        world.ok("access", "grant", name, role, "--env", "prod", by="boss")
        token = world.ok("access", "token", name, "--env", "prod", by="boss").stdout.strip()
        mine = {
            words: more
            for words, more in CHANGES.items()
            if not OPERATIONS[words].any_role and role not in OPERATIONS[words].roles
        }
        assert {
            "run deploy",
            "model rollback",
            "model export",
            "api-key create",
            "access revoke",
            "query alert",
        } <= set(mine)
        prod.refuses(mine, token, who=name)


def test_an_attempt_that_an_operation_refuses_is_recorded_too(prod):
    code, _ = prod.run("request approve", ["1"], prod.world.tokens["eng"])

    assert code == 3
    assert (prod.audit.entries()[0].action, prod.audit.entries()[0].object) == ("access.refused", "1")


FULL = {  # no entry can be written
    "sqlite": ["create trigger full before insert on audit begin select raise(abort, 'full'); end"],
    "postgresql": [
        "create function is_full() returns trigger language plpgsql as $$ begin raise exception 'full'; end $$",
        "create trigger is_full before insert on audit for each row execute function is_full()",
    ],
}


def test_a_refusal_stays_one_where_it_cannot_be_recorded(prod):
    with prod.state.begin() as connection:
        for statement in FULL[prod.state.engine.dialect.name]:
            connection.execute(text(statement))
    code, told = prod.run("model rollback", ["late", "--reason", "x"], "hr_made_up")

    assert code == 3
    assert "this refusal is not in the audit record" in told
    assert "Traceback" not in told


def test_whoever_changes_something_is_in_the_record(prod):
    world = prod.world
    (world.folder / "more.csv").write_text("id\n1\n")
    for arguments in (
        ["api-key", "create", "shop"],
        ["api-key", "revoke", "shop"],
        ["model", "export", "late", "--to", "container", "--into", "out"],
        ["table", "load", "more.csv"],
        ["run", "refresh"],
    ):
        world.ok(*arguments, "--env", "prod", by="eng")

    entries = prod.audit.entries(limit=5)
    assert {entry.who for entry in entries} == {"eng"}
    assert [(entry.action, entry.object) for entry in reversed(entries)] == [
        ("api_key.created", "shop"),
        ("api_key.revoked", "shop"),
        ("model.exported", "late"),
        ("table.loaded", "more.csv"),
        ("run.started", "refresh"),
    ]
