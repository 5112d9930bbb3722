"""A project under attack: a git repository with a release, people with roles, and a model in Production of `prod`."""

import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.support.zygote import Done, Zygote

TOML = """\
[project]
name = "shop"
module = "shop"
as_of = "2024-03-01"

[env.dev]
[env.staging]
[env.prod]
"""
PROGRAM = """\
import headrace as hr

raw = hr.Source("raw.orders", files="data/*.csv", schema=hr.Schema(placed_at="timestamp_utc", known_at="timestamp_utc"))
orders = hr.Table("shop.orders", key="id", sql="select id, customer, placed_at, amount, age from raw.orders")
labels = hr.Table("shop.labels", key="id", time="known_at", sql="select id, known_at, late from raw.orders")


def fit(data, params):
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(**params).fit(data.X, data.y)


model = hr.Model(
    "late",
    fit=fit,
    task=hr.Binary(label=labels["late"]),
    spine=orders.at("placed_at"),
    features=[orders.select("amount", "age")],
    params={"C": 1.0},
    evaluate=hr.Evaluate(test="10d"),
)
delivery = hr.Deployment(
    model,
    gates=[GATES],
    serve=hr.Serve(),
    score=hr.Score(into="answers.late"),
)
"""
GATES = 'hr.signature(), hr.at_least("roc_auc", 0.5), hr.approval("governance")'
PEOPLE = {"boss": "admin", "eng": "ml_engineer", "gov": "governance", "law": "legal", "guest": "viewer"}
AUTHOR = ("-c", "user.name=Shop", "-c", "user.email=shop@example.org", "-c", "commit.gpgsign=false")


def program(gates: str = GATES) -> str:
    """The project's module with these gates."""
    return PROGRAM.replace("GATES", gates)


@dataclass
class World:
    """A copy of the prepared project, and how commands are run in it.

    Attributes:
        folder: of the project.
        variables: that every command gets: where the state database is.
        tokens: of each person, by name, in prod.
    """

    headrace: Zygote
    folder: Path
    variables: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments, by: str | None = None, env: dict[str, str] | None = None) -> Done:
        """Runs a command as a person; as the operating system's user unless said."""
        token = {"HEADRACE_TOKEN": self.tokens[by]} if by else {}
        return self.headrace.run(self.folder, *arguments, env={**self.variables, **token, **(env or {})})

    def ok(self, *arguments, code: int = 0, **how) -> Done:
        """The same, and it must end with this code."""
        done = self.run(*arguments, **how)
        assert done.code == code, f"{arguments}: {done.code}\n{done.stdout}{done.stderr}"
        return done

    def refused(self, *arguments, **how) -> Done:
        """The same, and it must be refused: exit 3, no traceback."""
        done = self.ok(*arguments, code=3, **how)
        assert "Traceback" not in done.stderr
        return done

    def git(self, *arguments) -> str:
        """Runs git in the project."""
        done = subprocess.run(["git", *AUTHOR, *arguments], cwd=self.folder, capture_output=True, text=True, check=True)
        return done.stdout

    def release(self, tag: str, *, gates: str | None = None, files: dict[str, str] | None = None) -> None:
        """Commits and tags."""
        changed = dict(files or {})
        if gates is not None:
            changed["shop.py"] = program(gates)
        for name, text in changed.items():
            (self.folder / name).write_text(text, encoding="utf-8")
        self.git("add", ".")
        self.git("commit", "-q", "-m", tag)
        self.git("tag", tag)

    def stages(self) -> dict[int, str]:
        """Version → stage in prod."""
        return {each["version"]: each["stage"] for each in self.ok("model", "list", "--env", "prod", "--json").json()}

    def audit(self) -> list[dict]:
        """The audit of prod, latest first."""
        return self.ok("audit", "--env", "prod", "--json").json()


def build(headrace: Zygote, folder: Path, variables: dict[str, str]) -> World:
    """Version 1 in Production of prod, version 2 with stage None; people with tokens."""
    (folder / "data").mkdir(parents=True)
    (folder / "headrace.toml").write_text(TOML)
    lines = ["id,customer,placed_at,known_at,amount,age,late"]
    for number in range(240):
        placed = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=6 * number)
        amount, age = (number * 37) % 101, 20 + (number * 13) % 50
        known = placed + timedelta(days=1)
        late = int(amount + (number * 7) % 40 > 70)
        lines.append(f"{number},c{number % 9},{placed.isoformat()},{known.isoformat()},{amount},{age},{late}")
    (folder / "data" / "orders.csv").write_text("\n".join(lines) + "\n")
    (folder / ".gitignore").write_text("data/\n.headrace/\n")
    world = World(headrace, folder, dict(variables))
    world.git("init", "-q", "-b", "main")
    world.release("v1.0.0", gates=GATES)
    enrol(world)
    prod = ("--env", "prod")
    world.ok("run", "refresh", *prod, by="eng")
    world.ok("run", "train", "--as-of", "2024-02-15", *prod, by="eng")
    world.ok("run", "deploy", "--as-of", "2024-02-20", *prod, by="eng", code=3)
    request = world.ok("request", "list", *prod, "--json", by="gov").json()[0]["request"]
    world.ok("request", "approve", request, *prod, by="gov")
    world.ok("run", "train", "--as-of", "2024-02-20", *prod, by="eng")
    return world


def enrol(world: World) -> None:
    """Everybody gets a role and a token in prod."""
    for name, role in PEOPLE.items():
        world.ok("access", "grant", name, role, "--env", "prod")
    for name in PEOPLE:
        world.tokens[name] = world.ok("access", "token", name, "--env", "prod").stdout.strip()
