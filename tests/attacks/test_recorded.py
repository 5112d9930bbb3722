"""What changes something, hands something out or asks in a higher environment is in the record first, and no credential is."""

import subprocess

import pytest
from sqlalchemy import text

from headrace.cli.main import main
from headrace.core import vault
from headrace.core.state import State

from .world import AUTHOR

TOML = """\
[project]
name = "shop"
module = "shop"

[env.dev]
[env.prod]
"""
PROGRAM = 'import headrace as hr\n\nraw = hr.Source("raw.orders", files="data/*.csv")\n'
FULL = "create trigger full before insert on audit begin select raise(abort, 'full'); end"


class Shop:
    """A released project without a model."""

    def __init__(self, headrace, folder):
        self.headrace, self.folder = headrace, folder

    def run(self, *arguments, code=0, env="prod", **variables):
        done = self.headrace.run(self.folder, *arguments, "--env", env, env=variables)
        assert done.code == code, f"{arguments}: {done.code}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def audit(self, env="prod"):
        return self.run("audit", "--json", env=env).json()

    def fill(self):
        """From now on nothing can be recorded."""
        state = State(f"sqlite:///{self.folder / '.headrace' / 'prod' / 'state.db'}")
        with state.begin() as connection:
            connection.execute(text(FULL))
        state.close()


@pytest.fixture
def shop(headrace, tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "headrace.toml").write_text(TOML)
    (folder / "shop.py").write_text(PROGRAM)
    (folder / ".gitignore").write_text(".headrace/\n*.csv\n")
    (folder / "more.csv").write_text("id\n1\n")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"], ["tag", "v1.0.0"]):
        subprocess.run(["git", *AUTHOR, *words], cwd=folder, check=True, capture_output=True)
    made = Shop(headrace, folder)
    made.run("access", "me")
    return made


def test_nothing_is_handed_out_that_cannot_be_recorded(shop):
    shop.run("api-key", "create", "first")
    shop.run("access", "grant", "eve", "admin")
    shop.fill()

    for words in (
        ["api-key", "create", "shop"],
        ["api-key", "revoke", "first"],
        ["access", "token", "eve"],
        ["access", "grant", "mallory", "admin"],
        ["table", "load", "more.csv"],
        ["up", "--once"],
        ["sql", "select 1 as one"],
    ):
        done = shop.run(*words, code=1)
        assert done.stdout == "", words
        assert "recorded" in done.stderr, words
    assert [each["name"] for each in shop.run("api-key", "list", "--json").json()] == ["first"]
    assert "mallory" not in shop.run("access", "list").stdout
    assert shop.run("table", "list", "--json").json() == []


def test_what_was_recorded_and_then_failed_says_so(shop):
    shop.run("api-key", "create", "shop")
    shop.run("api-key", "create", "shop", code=1)
    shop.run("model", "export", "late", "--to", "container", "--into", "out", code=2)

    told = [(each["action"], each["object"], each["details"].get("operation")) for each in reversed(shop.audit())]
    assert told[-5:] == [
        ("api_key.created", "shop", None),
        ("api_key.created", "shop", None),
        ("command.failed", "shop", "api-key create"),
        ("model.exported", "late", None),
        ("command.failed", "late", "model export"),
    ]


@pytest.mark.parametrize(
    "given",
    [
        "postgresql://u:s3c/r3t@host/db",
        "postgresql://u:s3c r3t@host/db",
        "AccountName=a;AccountKey=s3cr3t",
        "az://container;token=s3cr3t",
        "x password=s3cr3t",
    ],
)
def test_no_credential_comes_into_the_record(shop, given):
    shop.run("api-key", "revoke", given, code=2)
    shop.run("env", "policy", "--take-over", "--reason", given, HEADRACE_TOKEN="hr_made_up", code=3)
    shop.run("api-key", "revoke", given, HEADRACE_TOKEN="hr_made_up", code=3)
    shop.run("sql", f"select '{given}' as a", code=0)

    entries = shop.audit()
    assert [each["action"] for each in entries][:5] == [
        "sql.queried",
        "access.refused",
        "access.refused",
        "command.failed",
        "api_key.revoked",
    ]
    assert "s3c" not in str(entries)
    assert "r3t" not in str(entries)


def test_who_asked_what_in_a_higher_environment_is_recorded(shop):
    shop.run("sql", f"select 1 as one -- {'x' * 600}")
    shop.run("sql", "select 2 as two", env="dev")
    shop.run("table", "list")

    asked = [each for each in shop.audit() if each["action"] == "sql.queried"]
    assert [(each["object"], each["details"]["text"][:17], len(each["details"]["text"])) for each in asked] == [
        ("prod", "select 1 as one -", 500)
    ]
    assert "sql.queried" not in str(shop.audit(env="dev"))


def test_a_server_starts_while_nothing_can_be_recorded_and_says_so(shop):
    shop.fill()
    done = shop.run("serve", "late", code=2)  # nothing is served yet
    assert "this is not in the audit record" in done.stderr

    for name in ("state.db", "state.db-wal", "state.db-shm"):
        (shop.folder / ".headrace" / "prod" / name).unlink(missing_ok=True)
    (shop.folder / ".headrace" / "prod" / "state.db").write_bytes(b"no database" * 1000)
    done = shop.run("serve", "late", code=2)
    assert "this is not in the audit record" in done.stderr
    assert "is not a state database" in done.stderr


def test_nobody_reads_under_a_name_that_headrace_acts_by(shop, monkeypatch, capsys):
    monkeypatch.chdir(shop.folder)
    monkeypatch.setattr(vault, "_vault", type(vault._vault)())  # without the token of an earlier command
    monkeypatch.setattr("headrace.access.identity.user", lambda: "scheduler")
    for words in (
        ["table", "list"],
        ["status"],
        ["sql", "select 1"],
        ["api-key", "list"],
        ["run", "refresh", "--dry-run"],
    ):
        with pytest.raises(SystemExit) as ended:
            main([*words, "--env", "prod"])
        assert ended.value.code == 3, words
        assert "the operating system's user cannot act here" in capsys.readouterr().err
    monkeypatch.undo()
    assert [each["action"] for each in shop.audit()] == ["access.refused"] * 5
