"""The parity of environments: what differs, what may, what is not known, and that no address or secret is shown."""

import json
import subprocess
import threading
from importlib.metadata import distributions

import pytest
from packaging.utils import canonicalize_name
from tests.operations.bare_project import BareProject

from headrace.core.errors import ConfigError, NotFoundError
from headrace.operations.environment_comparison import compare_environments
from headrace.operations.refresh import refresh
from headrace.workspace import runtime

HEAD = '[project]\nname = "shop"\nmodule = "shop"\n\n'
TOML = HEAD + "[env.dev]\nsample = 0.5\n[env.staging]\n[env.prod]\n"
PROGRAM = 'raw = hr.Source("raw.orders", files="*.csv")'
NAMES = {"toml": "headrace.toml", "lock": "requirements.lock", "gitignore": ".gitignore"}
LOCK = "numpy==2.1.0 --hash=sha256:00\npandas==2.2.3\n"


def git(shop, *arguments):
    command = ["git", "-c", "user.name=A", "-c", "user.email=a@b.c", *arguments]
    subprocess.run(command, cwd=shop.folder, check=True, capture_output=True)


def commit(shop, *, tag=None, **files):
    for name, text in files.items():
        (shop.folder / NAMES[name]).write_text(text)
    git(shop, "add", "-A")
    git(shop, "commit", "-q", "-m", "x")
    if tag:
        git(shop, "tag", tag)


@pytest.fixture
def shop(tmp_path):
    """A project of three environments that was released, and that ran in each."""
    shop = BareProject(tmp_path / "shop", program=PROGRAM)
    (shop.folder / "rows.csv").write_text("a\n1\n")
    git(shop, "init", "-q")
    commit(shop, tag="v1.0.0", toml=TOML, lock=LOCK, gitignore=".headrace/\n")
    for env in ("dev", "staging", "prod"):
        refresh(shop.at(env))
    return shop


def differ(shop, *names):
    found = compare_environments(*names, at=shop.at())
    return {each.aspect: (each.one, each.other) for each in found.aspects if each.parity == "undeclared"}


def test_environments_that_run_the_same_differ_only_where_they_always_may(shop):
    found = compare_environments(at=shop.at())
    assert (found.one, found.other, found.passed, found.notes) == ("staging", "prod", True, ())
    aspects = {each.aspect: each for each in found.aspects}
    assert (aspects["policy.code"].one, aspects["policy.code"].other) == ("commit", "release")
    assert (aspects["policy.code"].parity, aspects["policy.reads"].parity) == ("declared", "declared")
    assert aspects["lock.numpy"].one == "2.1.0"
    assert aspects["installed.python"].one == runtime.current().python
    assert aspects["installed.numpy"].parity == "same"
    assert compare_environments("dev", "prod", at=shop.at()).passed


def test_what_differs_is_undeclared_until_the_project_allows_it(shop, headrace):
    toml = TOML.replace(
        "[env.staging]\n", "[env.staging]\n[env.staging.notify.night]\nkind = 'webhook'\nurl = 'https://h.example'\n"
    )
    toml = toml.replace("[env.prod]\n", "[env.prod]\napprovals = ['governance']\n")
    commit(shop, toml=toml, lock=LOCK.replace("2.1.0", "2.2.0"))  # staging runs it, and prod does not yet
    undeclared = {
        "lock.numpy": ("2.2.0", "2.1.0"),
        "notify.night": ("webhook", "none"),
        "stores.online": ("redis", "local"),
    }
    env = {"HEADRACE_ENV__staging__online": "redis://h.example:6379/3"}
    failed = headrace.run(shop.folder, "env", "compare", "staging", "prod", env=env)
    assert failed.code == 1
    for name, (one, other) in undeclared.items():
        assert [line.split() for line in failed.stdout.splitlines() if name in line] == [
            [name, one, other, "undeclared"]
        ]
    assert "h.example" not in failed.stdout + failed.stderr
    assert '[parity] allowed = ["lock.numpy", "notify.night"' in failed.stderr

    commit(shop, toml=toml + '[parity]\nallowed = ["lock.*", "notify.night", "stores.online"]\n')
    passed = headrace.run(shop.folder, "env", "compare", "--json", env=env)
    assert passed.code == 0
    shown = passed.json()
    assert shown["passed"]
    assert {each["aspect"] for each in shown["aspects"] if each["parity"] == "declared"} >= set(undeclared)


def test_the_runtime_is_what_importlib_finds():
    found = {}
    for each in distributions():
        found.setdefault(canonicalize_name(each.metadata["Name"]), each.version)
    assert runtime.current().installed == found


def test_runs_at_the_same_time_store_one_runtime(shop):
    with shop.open() as one, shop.open() as other:
        threads = [threading.Thread(target=runtime.remember, args=(each.state,)) for each in (one, other) * 4]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = runtime.latest(one.state)
        with one.state.read() as connection:
            assert len(connection.execute(runtime.RUNTIMES.select()).all()) == 1
    assert found is not None
    assert found.installed == runtime.current().installed


def test_an_approval_that_only_prod_asks_for_has_to_be_declared(shop):
    commit(shop, tag="v1.1.0", toml=TOML.replace("[env.prod]\n", "[env.prod]\napprovals = ['governance']\n"))
    assert differ(shop) == {"policy.approvals": ("none", "governance")}


def test_another_runtime_is_a_difference(shop):
    with shop.open("prod") as workspace, workspace.state.begin() as connection:
        there = runtime.current()
        installed = {**there.installed, "numpy": "1.0", "extra-one": "3"}
        values = {**vars(there), "host": "elsewhere", "python": "3.9.1", "installed": installed}
        connection.execute(runtime.RUNTIMES.insert().values(**values))
    assert differ(shop) == {
        "installed.extra-one": ("none", "3"),
        "installed.numpy": (runtime.current().installed["numpy"], "1.0"),
        "installed.python": (runtime.current().python, "3.9.1"),
    }


def test_what_cannot_be_known_here_is_said_and_is_no_difference(tmp_path):
    shop = BareProject(tmp_path / "shop", program=PROGRAM)
    secret = "[env.prod]\nstate = {secret = 'NOT_HERE'}\n"
    (shop.folder / "headrace.toml").write_text(TOML.replace("[env.prod]\n", secret))
    found = compare_environments("dev", "prod", at=shop.at())
    assert found.passed
    assert {each.aspect for each in found.aspects if each.parity == "unknown"} == {"lock", "stores.state"}
    assert "dev: installed is not known here: nothing has run there yet" in found.notes
    assert [note for note in found.notes if note.startswith("prod: lock") and "NOT_HERE" in note]


def test_names_that_are_none_and_patterns_that_are_none_are_refused(shop):
    with pytest.raises(NotFoundError, match="did you mean 'staging'"):
        compare_environments("stagign", at=shop.at())
    with pytest.raises(ConfigError, match="compared with itself"):
        compare_environments("prod", "prod", at=shop.at())
    for written in ("allowed = 'stores.state'", "allowed = [1]", "allowed = ['']"):
        (shop.folder / "headrace.toml").write_text(f"{TOML}[parity]\n{written}\n")
        with pytest.raises(ConfigError, match="is not a list of patterns"):
            compare_environments(at=shop.at())
    (shop.folder / "headrace.toml").write_text(f"{TOML}[parity]\nallow = []\n")
    with pytest.raises(ConfigError, match="Did you mean 'allowed'"):
        compare_environments(at=shop.at())


LIMITED = """
[env.{env}.kafka.main]
"bootstrap.servers" = "{env}.example:9092"
"sasl.username" = "user-of-{env}"
"sasl.password" = {{secret = "PASSWORD"}}
acks = "{acks}"
[env.{env}.llm.budgets]
day = {day}
[env.{env}.llm.routes.small]
protocol = "openai"
url = "https://{env}.example/v1"
model = "small"
requests_per_minute = {rate}
input_price = 0.5
"""


def test_limits_of_language_models_and_of_clusters_are_compared_and_no_address_is_shown(shop):
    staging = LIMITED.format(env="staging", acks="1", day=5, rate=60)
    prod = LIMITED.format(env="prod", acks="all", day=20, rate=600)
    commit(shop, toml=TOML + staging + prod)
    assert differ(shop) == {
        "kafka.main.acks": ("1", "all"),
        "llm.budgets.day": ("$5", "$20"),
        "llm.routes.small.requests_per_minute": ("60", "600"),
    }
    shown = json.dumps(compare_environments(at=shop.at()).to_json())
    assert "$0.5" in shown
    assert [word for word in (".example", "user-of", "PASSWORD") if word in shown] == []
