import re
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest
from sqlalchemy import make_url

from headrace.core.errors import ConfigError, NotFoundError
from headrace.environments.config import load
from headrace.environments.kafka import Cluster
from headrace.environments.project_table import load_project

PROJECT = '[project]\nname = "shop"\nmodule = "shop.project"\n'


@pytest.fixture
def read(tmp_path):
    def read(text: str, *, project: str = PROJECT):
        (tmp_path / "headrace.toml").write_text(project + text)
        return load(tmp_path)

    return read


@pytest.fixture
def refused(read):
    def refused(text: str, **more: str) -> str:
        with pytest.raises(ConfigError) as error:
            read(text, **more)
        return str(error.value)

    return refused


def test_without_environments_there_are_three(read, tmp_path):
    config = read("")

    assert [(env.name, env.code, env.reads) for env in config.environments] == [
        ("dev", "any", {"prod": ("*",)}),
        ("staging", "commit", {"prod": ("*",)}),
        ("prod", "release", {}),
    ]
    assert (config.name, config.module, config.as_of, config.folder) == ("shop", "shop.project", None, tmp_path)


def test_what_an_environment_keeps_lies_in_its_root(read, tmp_path):
    prod = read('[env.dev]\n[env.prod]\nroot = "stores/prod"\n').environment("prod")

    root = tmp_path / "stores" / "prod"
    assert prod.root == root
    assert prod.lakehouse_root == str(root / "lakehouse")
    assert prod.artifacts_root == str(root / "artifacts")
    assert prod.state_url == f"sqlite:///{root / 'state.db'}"
    assert prod.tracking_url == f"sqlite:///{root / 'mlflow.db'}"


@pytest.mark.parametrize("name", ["a?b", "a%20b", "a#b", "ä b"])
def test_a_database_lies_in_its_root_whatever_the_folder_is_called(read, name):
    env = read(f"[env.dev]\nroot = '{name}'\n").environment("dev")

    assert make_url(env.state_url).database == str(env.root / "state.db")
    assert make_url(env.tracking_url).database == str(env.root / "mlflow.db")


def test_the_lowest_runs_anything_the_highest_releases_and_those_between_commits(read):
    assert [env.code for env in read("[env.a]\n[env.b]\n[env.c]\n[env.d]\n").environments] == [
        "any",
        "commit",
        "commit",
        "release",
    ]
    assert [env.code for env in read("[env.only]\n").environments] == ["any"]


def test_reading_another_environment_can_be_turned_off(read):
    assert read("[env.dev]\nreads = []\n[env.prod]\n").environment("dev").reads == {}


def test_which_tables_of_another_environment_are_read_is_a_setting(read):
    config = read(
        '[env.dev]\nreads = {prod = ["features.*", "silver.departures"], mid = ["*"]}\n[env.mid]\n[env.prod]\n'
    )

    assert list(config.environment("dev").reads.items()) == [
        ("prod", ("features.*", "silver.departures")),
        ("mid", ("*",)),
    ]


@pytest.mark.parametrize("written", ['"2014-01-01"', "2014-01-01", "2014-01-01T00:00:00", "2014-01-01T01:00:00+01:00"])
def test_the_moment_of_a_replay_is_read_in_utc(read, written):
    assert read(f"as_of = {written}\n").as_of == datetime(2014, 1, 1, tzinfo=UTC)


def test_a_project_is_found_from_a_folder_inside_it(read, tmp_path, monkeypatch):
    read("")
    (tmp_path / "shop" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "shop" / "deep")

    assert load().folder == tmp_path


def test_without_a_project_the_next_step_is_named(tmp_path):
    with pytest.raises(ConfigError, match="headrace demo"):
        load(tmp_path)


def test_an_unknown_environment_gets_a_suggestion(read):
    with pytest.raises(NotFoundError, match="did you mean 'staging'"):
        read("").environment("stagign")


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("[env.prod]\ncoed = 'any'\n", 5, "Did you mean 'code'?"),
        ("[env.prod]\ncode = 'tag'\n", 5, "Known: any, commit, release."),
        ("[env.prod]\ncode = 'relaese'\n", 5, "Did you mean 'release'?"),
        ("[env.dev]\nreads = ['pord']\n[env.prod]\n", 5, "Did you mean 'prod'?"),
        ("[env.dev]\nreads = ['dev']\n[env.prod]\n", 5, "its own"),
        ("[env.dev]\nttl = 14\n[env.prod]\n", 5, "is no time to live"),
        ("[env.dev]\nttl = '59m'\n[env.prod]\n", 5, "An hour or more"),
        ("[env.dev]\n[env.prod]\nttl = '14d'\n", 6, "the highest environment: its tables stay"),
        ("[env.dev]\nreads = {pord = ['*']}\n[env.prod]\n", 5, "Did you mean 'prod'?"),
        ("[env.dev]\nreads = {prod = 'features.*'}\n[env.prod]\n", 5, "is not a list of patterns"),
        ("[env.dev]\nreads = {prod = ['a.b; c']}\n[env.prod]\n", 5, "is not a list of patterns"),
        ("[env.dev]\nreads = {prod = ['features']}\n[env.prod]\n", 5, "'features.*'"),
        ("[env.dev]\nreads = 'prod'\n[env.prod]\n", 5, "neither a list nor a table"),
        ("[envs.prod]\n", 4, "Did you mean 'env'?"),
        ("modul = 'x'\n", 4, "Did you mean 'module'?"),
        ("as_of = 'soon'\n", 4, "2013-05-01"),
        ("as_of = 7\n", 4, "not a moment"),
        ("[env.Prod]\n", 4, "not the name of an environment"),
        ("[env.dev]\nroot = 's3://bucket'\n", 5, "lakehouse ="),
        ("[env.dev]\nroot = ''\n", 5, "not a text"),
        ("[env.dev]\nstate = 'state.db'\n", 5, "not a URL"),
        ("[env.dev]\nstorage_options = {AWS_REGION = 3}\n", 5, "neither a text nor a secret"),
        ("[env.dev]\nroot = 'x'\n[env.prod]\nroot = './x'\n", 6, "share their lakehouse"),
        ("[env.dev]\nlakehouse = 'x'\n[env.prod]\nlakehouse = 'x/y'\n", 6, "share their lakehouse"),
        ("[env.dev]\nstate = 'sqlite:///x'\n[env.prod]\nstate = 'sqlite:///x'\n", 6, "share their state"),
        ("[env]\ndev = 3\n", 5, "must be a table"),
        ("[env.dev]\nnotify = 'https://example.org'\n", 5, "not a table"),
        ("[env.dev]\nnotify = {webhok = 'https://example.org'}\n", 5, "Did you mean 'webhook'?"),
        ("[env.dev.notify]\nwebhok = 'https://example.org'\n", 5, "Did you mean 'webhook'?"),
        ("[env.dev.notify]\nwebhook = 'ftp://example.org/x'\n", 5, "https://"),
        ("[env.dev.notify]\nwebhook = 'example.org'\n", 5, "https://"),
        ("[env.dev.notify]\nwebhook = 3\n", 5, "neither a text nor a secret"),
        ("[env.dev.notify]\nsigned_with = {secret = 'A'}\n", 5, "no webhook"),
        ("[env.dev.notify]\nemail = 'team@example.org'\n", 5, "not a table"),
        ("[env.dev.notify]\nemail = {host = 'x', sender = 'a@x'}\n", 5, "no 'to'"),
        ("[env.dev.notify]\nemail = {hots = 'x', sender = 'a@x', to = ['b@x']}\n", 5, "Did you mean 'host'?"),
        ("[env.dev.notify.email]\nhost = 'x'\nsender = 'a@x'\nto = 'b@x'\n", 7, "not a list of addresses"),
        ("[env.dev.notify.email]\nhost = 'x'\nsender = 'a@x'\nto = ['b@x']\nport = 'smtp'\n", 8, "not a port"),
    ],
)
def test_what_is_wrong_is_said_with_file_line_and_a_way_out(refused, tmp_path, text, line, said):
    message = refused(text)

    assert message.startswith(f"{tmp_path / 'headrace.toml'}:{line}: ")
    assert said in message
    shown = f"{line} | {(PROJECT + text).splitlines()[line - 1]}"
    assert (shown in message) != ("notify" in text)  # who is told is private


@pytest.mark.parametrize(
    ("project", "said"),
    [
        ("", "there is no [project] table"),
        ("[project]\nname = 'x'\n", "no 'module'"),
        ("[project]\nmodule = 'x'\n", "no 'name'"),
        ("[project]\nname = 'x'\nmodule = 'shop/project.py'\n", "dotted name"),
        ("[project]\nname = 'a b'\nmodule = 'x'\n", "letters, digits"),
        ("project = 3\n", "must be a table"),
    ],
)
def test_a_project_needs_a_name_and_a_module(refused, project, said):
    assert said in refused("", project=project)


@pytest.mark.parametrize(
    ("text", "line"), [("[env.dev\n", 4), ("[env.dev]\nroot = \n", 5), ('[env.dev]\nroot = "x', 5)]
)
def test_text_that_is_not_toml_is_shown(refused, tmp_path, text, line):
    message = refused(text)

    assert message.startswith(f"{tmp_path / 'headrace.toml'}:{line}: this is not TOML")
    assert (f"{line} | " in message) != ('"' in text)  # where a text has no end, a secret may be in it


def test_bytes_that_are_not_utf_8_are_refused(tmp_path):
    (tmp_path / "headrace.toml").write_bytes(b'[project]\nname = "\xff"\n')

    with pytest.raises(ConfigError, match="byte 18 is 0xff"):
        load(tmp_path)


def test_a_variable_overrides_the_file(read, monkeypatch, tmp_path):
    monkeypatch.setenv("HEADRACE_ENV__prod__root", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("HEADRACE_ENV__prod__storage_options__AWS_REGION", "eu-west-1")

    config = read("[env.dev]\n[env.prod]\nroot = 'here'\nstorage_options = {AWS_REGION = 'us-east-1', X = 'y'}\n")

    assert config.environment("prod").root == tmp_path / "elsewhere"
    assert config.environment("prod").storage_options == {"AWS_REGION": "eu-west-1", "X": "y"}


@pytest.mark.parametrize(
    ("key", "value"),
    [("code", "any"), ("releases", "*"), ("reads", ""), ("ttl", "1h"), ("sample", "1"), ("approvals", "")],
)
def test_no_variable_says_what_may_happen(refused, monkeypatch, key, value):
    monkeypatch.setenv(f"HEADRACE_ENV__prod__{key}", value)

    said = refused("")
    assert said.startswith(f"HEADRACE_ENV__prod__{key} is set, but {key!r} says what may happen in 'prod'")
    assert "commit it" in said


def test_roles_that_have_to_agree_are_read(read, refused):
    assert read('[env.dev]\n[env.prod]\napprovals = ["governance", "legal"]\n').environment("prod").approvals == (
        "governance",
        "legal",
    )
    assert "is not a list of roles" in refused("[env.dev]\napprovals = 'governance'\n")
    assert "is not a list of roles" in refused("[env.dev]\napprovals = ['Not a role']\n")


CREDENTIALS = [
    "state = 'postgresql://me:hush@host/db'",
    "state = 'postgresql://me:hu/hush@host/db'",
    "state = 'postgresql://host/db?password=hush'",
    "state = 'postgresql://host/db?sslmode=require&sslpassword=hush'",
    "state = 'postgresql://host/db?p%61ssword=hush'",
    "tracking = 'https://host?access_token=hush'",
    "artifacts = 'https://acc.blob.core.windows.net/c?sv=1&sig=hush'",
    "lakehouse = 'abfss://c@acc.dfs.core.windows.net/x?sig=hush'",
    "lakehouse = 's3://key:hush@bucket/x'",
    "online = 'redis://:hush@host/0'",
    "online = 'redis://host/0?password=hush'",
    "spark = 'sc://host/;use_ssl=true;token=hush'",
    "databases = {x = 'mssql+pyodbc:///?odbc_connect=UID%3Dsa%3BPWD%3Dhush'}",
    "storage_options = {AZURE_STORAGE_CONNECTION_STRING = 'AccountName=a;AccountKey=hush'}",
    "storage_options = {access_key = 'hush'}",
    "notify = {webhook = 'https://host/hook?token=hush'}",
    "kafka = {a = {'bootstrap.servers' = 'h:1', 'sasl.jaas.config' = 'x required password=\"hush\";'}}",
    "state = 'me:hush@host/db'",
    "state = ['postgresql://me:hush@host/db']",
    "tracking = 'https://u:8080/hush@h'",  # a port and a path, or a password
    "state = 'oracle://scott/hush@host'",
    "state = {secret = 'postgresql://me:hush@host/db'}",
    "state = 'postgresql://me:hush@host/db",  # and no end of the text
]


@pytest.mark.parametrize("written", CREDENTIALS)
def test_a_credential_in_the_file_is_refused_and_not_repeated(refused, written):
    said = refused(f"[env.dev]\n{written}\n")

    assert ":5: " in said
    assert "hush" not in said


@pytest.mark.parametrize(
    "written",
    [
        "state = 'postgresql+psycopg://me@host/db?sslmode=require&sslkey=/a/b.key'",
        "tracking = 'http://mlflow:5000/home'",
        "lakehouse = 'abfss://container@account.dfs.core.windows.net/x'",
        "online = 'redis://host:6379/0?timeout=1&prefix=shop'",
        "storage_options = {AWS_ACCESS_KEY_ID = 'AKIA', azure_federated_token_file = '/run/token'}",
        "state = {secret = 'STATE'}",
    ],
)
def test_what_is_no_credential_may_be_written(read, written):
    read(f"[env.dev]\n{written}\n")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("state", "postgresql://host/db?password=hush"),
        ("tracking", "https://me:hush@host"),
        ("online", "redis://host/0?password=hush"),
        ("spark", "sc://host/;token=hush"),
        ("databases__more", "postgresql://host/db?password=hush"),
        ("storage_options__AWS_SECRET_ACCESS_KEY", "hush"),
        ("kafka__events__sasl_password", "hush"),
    ],
)
def test_a_credential_of_a_variable_is_carried_by_reference(read, monkeypatch, key, value):
    monkeypatch.setenv("HEADRACE_ENV__prod__kafka__events__bootstrap_servers", "h:1")
    monkeypatch.setenv(f"HEADRACE_ENV__prod__{key}", value)

    prod = read("").environment("prod")
    assert "hush" not in str({name: vars(prod)[name] for name in vars(prod)})
    assert f"HEADRACE_ENV__prod__{key}" in str(vars(prod))
    assert "hush" not in prod.online_address


@pytest.mark.parametrize("key", ["root", "lakehouse", "artifacts"])
def test_a_place_that_is_shown_takes_no_credential_from_a_variable(refused, monkeypatch, key):
    monkeypatch.setenv(f"HEADRACE_ENV__prod__{key}", "s3://key:hush@bucket/x")

    said = refused("")
    assert f"HEADRACE_ENV__prod__{key}: " in said
    assert "hush" not in said


def test_two_references_to_one_state_are_one_state(refused, monkeypatch):
    monkeypatch.setenv("ONE", "postgresql://me:hush@host/db")
    monkeypatch.setenv("TWO", "postgresql://me:hush@host/db")

    said = refused("[env.dev]\nstate = {secret = 'ONE'}\n[env.prod]\nstate = {secret = 'TWO'}\n")
    assert "would share their state" in said
    assert "hush" not in said


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("HEADRACE_ENV__pord__root", "x", "Did you mean 'prod'?"),
        ("HEADRACE_ENV__prod__rot", "x", "Did you mean 'root'?"),
    ],
)
def test_a_misspelt_variable_is_refused(refused, monkeypatch, name, value, said):
    monkeypatch.setenv(name, value)

    message = refused("")
    assert name in message
    assert said in message


def test_secrets_are_read_when_used_and_never_shown(read, monkeypatch):
    env = read(
        '[env.dev]\nstate = {secret = "STATE"}\nstorage_options = {AWS_SECRET_ACCESS_KEY = {secret = "KEY"}, A = "b"}\n'
    ).environment("dev")

    with pytest.raises(ConfigError, match="export KEY="):
        _ = env.storage_options
    monkeypatch.setenv("KEY", "hush")
    monkeypatch.setenv("STATE", "postgresql://me:hush@host/db")
    assert env.storage_options == {"AWS_SECRET_ACCESS_KEY": "hush", "A": "b"}
    assert env.state_url == "postgresql://me:hush@host/db"
    assert "hush" not in repr(env)


def test_a_password_from_a_variable_is_not_shown(read, monkeypatch):
    monkeypatch.setenv("HEADRACE_ENV__prod__state", "postgresql://me:hush@host/db")

    assert "hush" not in repr(read(""))


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "azure_storage_account_key", "aws_session_token"])
def test_a_secret_in_the_file_is_refused(refused, name):
    assert "does not belong in a file" in refused(f"[env.dev]\nstorage_options = {{{name} = 'hush'}}\n")


NOTIFY = """
[env.dev]
[env.prod.notify]
webhook = {secret = "HOOK"}
signed_with = {secret = "SIGN"}
email = {host = "smtp.example.org", port = 465, sender = "a@x", to = ["b@x", "c@x"], user = "me", password = {secret = "PASS"}}
"""


def test_who_is_told_is_said_by_the_environment(read):
    config = read(NOTIFY)

    assert list(config.environment("prod").channels()) == ["webhook", "email"]
    assert config.environment("dev").channels() == {}
    mail = config.environment("prod").notify["email"].settings
    assert {name: value for name, value in mail.items() if name != "password"} == {
        "host": "smtp.example.org",
        "port": 465,
        "sender": "a@x",
        "to": ["b@x", "c@x"],
        "user": "me",
    }


def test_a_secret_that_is_missing_is_the_trouble_of_its_channel(read, monkeypatch):
    channels = read(NOTIFY).environment("prod").channels()

    with pytest.raises(ConfigError, match="export HOOK="):
        channels["webhook"](None)
    monkeypatch.setenv("HOOK", "https://hooks.example.org/token")
    with pytest.raises(ConfigError, match="export SIGN="):
        channels["webhook"](None)
    with pytest.raises(ConfigError, match="export PASS="):
        channels["email"](None)


@pytest.mark.parametrize(
    "written",
    [
        "webhook = 'https://me:hush@example.org'",
        "webhook = 'https://example.org'\nsigned_with = 'hush'",
        "email = {host = 'x', sender = 'a@x', to = ['b@x'], password = 'hush'}",
    ],
)
def test_a_secret_of_a_channel_in_the_file_is_refused_and_not_repeated(refused, written):
    message = refused(f"[env.dev.notify]\n{written}\n")

    assert "does not belong in a file" in message
    assert "hush" not in message


CLUSTER = (
    '[env.dev]\n[env.dev.kafka.events]\nbootstrap.servers = "one:9092"\nsasl.password = {secret = "WORD"}\nacks = 1\n'
)


def test_a_kafka_cluster_has_the_properties_of_its_clients(read, monkeypatch):
    env = read(CLUSTER).environment("dev")
    assert "WORD" not in repr(env)
    with pytest.raises(ConfigError, match=r"kafka\.events\.sasl\.password is the secret 'WORD'"):
        env.cluster(None)
    monkeypatch.setenv("WORD", "x")
    expected = {"bootstrap.servers": "one:9092", "sasl.password": "x", "acks": "1"}
    assert env.cluster(None) == env.cluster("events") == Cluster(name="events", properties=expected)


def test_a_variable_gives_a_property_of_a_cluster(read, monkeypatch):
    monkeypatch.setenv("HEADRACE_ENV__dev__kafka__events__bootstrap_servers", "two:9092")
    monkeypatch.setenv("HEADRACE_ENV__dev__kafka__other__bootstrap_servers", "three:9092")
    monkeypatch.setenv("WORD", "x")
    env = read(CLUSTER).environment("dev")
    assert env.cluster("events").properties["bootstrap.servers"] == "two:9092"
    assert env.cluster("other").properties == {"bootstrap.servers": "three:9092"}
    with pytest.raises(NotFoundError, match="there is 'events', 'other'"):
        env.cluster(None)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('[env.dev.kafka.events]\nacks = "all"\n', "cluster 'events' has no 'bootstrap.servers'"),
        ('[env.dev.kafka.events]\nbootstrap.servers = ["a"]\n', "is neither a text nor a secret"),
        ('[env.dev]\nkafka = "localhost:9092"\n', "must be a table"),
        ('[env.dev.kafka]\nevents = "localhost:9092"\n', "must be a table"),
    ],
)
def test_a_cluster_that_cannot_be_is_refused(refused, written, said):
    assert said in refused(written)


@pytest.mark.parametrize("key", ["sasl.password", "ssl.key.password", "ssl.key.pem", "sasl.oauthbearer.client.secret"])
def test_a_secret_of_a_cluster_in_the_file_is_refused_and_not_repeated(refused, key):
    said = refused(f'[env.dev.kafka.events]\nbootstrap.servers = "a:1"\n{key} = "hunter2"\n')
    assert "does not belong in a file" in said
    assert "hunter2" not in said


def test_the_path_of_a_token_file_is_no_secret(read):
    option = "azure_federated_token_file"

    env = read(f"[env.dev]\nstorage_options = {{{option} = '/run/token'}}\n").environment("dev")

    assert env.storage_options == {option: "/run/token"}


def test_an_object_store_stays_a_url(read):
    env = read("[env.dev]\nlakehouse = 's3://bucket/dev'\nartifacts = 's3://bucket/models'\n").environment("dev")

    assert (env.lakehouse_root, env.artifacts_root) == ("s3://bucket/dev", "s3://bucket/models")
    assert env.artifacts_declared
    assert not read("[env.dev]\nlakehouse = 's3://bucket/dev'\n").environment("dev").artifacts_declared


def test_a_commit_says_its_own_module(tmp_path):
    (tmp_path / "headrace.toml").write_text(PROJECT)

    assert load_project(tmp_path).module == "shop.project"
    with pytest.raises(ConfigError, match=r"There is no headrace\.toml"):
        load_project(tmp_path / "nowhere")


def test_a_configuration_is_read_in_milliseconds(read):
    def seconds() -> float:
        started = time.perf_counter()
        load(folder)
        return time.perf_counter() - started

    folder = read("[env.dev]\n[env.staging]\n[env.prod]\n").folder

    assert min(seconds() for _ in range(20)) < 0.005


def test_nothing_heavy_is_imported():
    check = """
import sys
import headrace.environments.code, headrace.environments.config, headrace.environments.project
heavy = {"numpy", "pandas", "pyarrow", "duckdb", "deltalake", "mlflow", "sqlalchemy", "sqlglot"}
print(*heavy & set(sys.modules))
"""
    assert subprocess.run([sys.executable, "-c", check], check=True, capture_output=True, text=True).stdout == "\n"


def test_databases_and_spark_are_by_environment_and_never_shown(read, monkeypatch):
    monkeypatch.setenv("WAREHOUSE", "postgresql+psycopg://eva:hush@host/x")
    monkeypatch.setenv("HEADRACE_ENV__prod__databases__more", "sqlite:///more.db")
    config = read(
        '[env.dev]\n[env.prod]\ndatabases = {warehouse = {secret = "WAREHOUSE"}}\nspark = "sc://host:15002"\n'
    )
    prod = config.environment("prod")

    assert prod.database_url("warehouse") == "postgresql+psycopg://eva:hush@host/x"
    assert set(prod.databases) == {"warehouse", "more"}
    assert prod.spark_url == "sc://host:15002"
    assert "host" not in repr(prod)
    with pytest.raises(ConfigError, match="has no Spark"):
        _ = config.environment("dev").spark_url


@pytest.mark.parametrize(
    "line",
    [
        "databases = {x = 'postgresql+psycopg://eva:hush@host/x'}",
        "spark = 'sc://host/;token=hush'",
        "spark = 'sc://host/;use_ssl=true;token=hush'",
    ],
)
def test_a_password_of_a_database_or_of_spark_does_not_belong_in_the_file(refused, line):
    assert "does not belong in a file" in refused(f"[env.dev]\n{line}\n")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("state", "u:hunt er2@h"),
        ("state", "hunter2"),
        ("spark", "sc:h/;tok=hunter2"),
        ("root", "x://u:hunt'er2@b/x"),
        ("root", "x://hunter2/x"),
        ("lakehouse", "s3://k:hunt'er2@b/x"),
        ("notify", "https://example.org/hunter2"),
        ("audit", "hunter2"),
        ("kafka", "hunter2"),
        ("kafka__hunter", "hunter2"),
        ("storage_options", "hunter2"),
        ("databases", "hunter2"),
    ],
)
def test_the_value_of_a_variable_is_never_repeated(read, monkeypatch, key, value):
    monkeypatch.setenv(f"HEADRACE_ENV__dev__{key}", value)
    try:
        said = repr(read("[env.dev]\n"))
    except ConfigError as error:
        said = str(error)
        assert f"HEADRACE_ENV__dev__{key}" in said
    assert "er2" not in said


@pytest.mark.parametrize(
    "written",
    [
        "state = {secret = 'X', value = 'hunter2'}",
        "state = {secret = 'X', value = ['hunter2']}\nroot = ''",
        "state = [{value = 'hunter2'}]",
        "approvals = [{value = 'hunter2'}]",
        "reads = [{value = 'hunter2'}]",
        "notify = 'https://example.org/hunter2'",
        "notify = {webhook = 'example.org/hunter2'}",
        "notify = {webhok = 'https://example.org/hunter2'}",
        "notify = {email = 'hunter2@example.org'}",
        "notify.email = {host = 'x', sender = 'a@x', to = 'hunter2@x'}",
        "audit = {webhook = 'ftp://example.org/hunter2'}",
        "audit = 'https://example.org/hunter2'",
        "kafka = {a = {b = [{value = 'hunter2'}]}}",
        "state = 'hunter2",
        "state = hunter2'",
        'state = "x" hunter2',
        "[env.dev.audit]\nwebhok = 'https://example.org/hunter2'",
    ],
)
def test_what_is_refused_in_the_file_is_not_repeated_where_it_may_be_private(refused, written):
    said = refused(f"[env.dev]\n{written}\n")

    assert "headrace.toml:" in said
    assert "hunter2" not in said


def test_a_table_that_is_refused_is_said_by_its_keys(refused):
    said = refused("[env.dev]\nstate = {secret = 'X', value = 'hush'}\n")
    assert "state: a table of 'secret', 'value' is neither a text nor a secret" in said


@pytest.mark.parametrize(("named", "shown"), [("STATE_URL", True), ("hunter2", False), ("hunt er2", False)])
def test_a_reference_that_leads_nowhere_is_shown_only_if_it_looks_like_a_variable(read, named, shown):
    with pytest.raises(ConfigError, match=r"\[env\.dev\] state is .*variable") as error:
        _ = read(f"[env.dev]\nstate = {{secret = '{named}'}}\n").environment("dev").state_url
    assert (named in str(error.value)) is shown


def test_a_catalog_is_that_of_the_project_unless_an_environment_says_otherwise(read, tmp_path, monkeypatch):
    text = '[env.a]\n[env.b]\ncatalog = false\n[env.c]\ncatalog = "s3://bucket/c"\n'
    monkeypatch.setenv("HEADRACE_ENV__a__catalog", "elsewhere")
    config = read(text, project=f'{PROJECT}catalog = "../shared"\n')

    assert [(each.catalog, each.publishes_catalog) for each in config.environments] == [
        (str(tmp_path / "elsewhere"), True),
        (str(tmp_path.parent / "shared"), False),
        ("s3://bucket/c", True),
    ]
    monkeypatch.setenv("HEADRACE_ENV__a__catalog", "false")
    assert not read(text, project=f'{PROJECT}catalog = "../shared"\n').environments[0].publishes_catalog
    monkeypatch.delenv("HEADRACE_ENV__a__catalog")
    assert read(text, project=f'{PROJECT}catalog = "../shared"\n').environments[0].catalog == str(
        tmp_path.parent / "shared"
    )
    assert read("").environments[0].catalog is None


@pytest.mark.parametrize(
    ("project", "env", "message"),
    [
        ("catalog = 7\n", "", r"headrace\.toml:4: catalog: 7 is not a text"),
        ('catalog = ""\n', "", r"catalog: '' is not a text"),
        ('catalog = "s3://key:s3cr3t@host/catalog"\n', "", "an address with a password in it"),
        ("", "catalog = true\n", "catalog: True is not a text|catalog: true is not a text"),
        ("", 'catalog = "s3://key:s3cr3t@host/catalog"\n', "a password does not belong in a file"),
    ],
)
def test_what_is_no_catalog_is_refused(refused, project, env, message):
    told = refused(f"[env.dev]\n{env}", project=f"{PROJECT}{project}")

    assert re.search(message, told)
    assert "s3cr3t" not in told
