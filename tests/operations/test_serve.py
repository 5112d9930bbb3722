"""`serve` as an operation: the server that this process is to become, who may start it, and what is recorded first."""

import subprocess
import sys

import pytest
from tests.operations.bare_project import BareProject

from headrace.core import vault
from headrace.core.errors import BusyError, ConfigError, NotFoundError, RefusedError
from headrace.core.locks import hold
from headrace.operations.api_keys import create_api_key
from headrace.operations.operation import At
from headrace.operations.serve import ServerOptions, serve, serve_mlflow_model

HELD = """
import sys
from pathlib import Path
from headrace.core.locks import hold
from headrace.operations.operation import At
from headrace.operations.serve import serve
server = serve(At(env="dev", folder=Path(sys.argv[1])), "late")
try:
    with hold(server.folder / "serve.lock"):
        sys.exit(0)
except BlockingIOError:
    sys.exit(7)
"""


@pytest.fixture
def shop(tmp_path):
    shop = BareProject(tmp_path / "shop")
    (shop.folder / ".headrace/dev/serving/late").mkdir(parents=True)
    return shop


def test_the_server_of_a_model_is_recorded_and_returned(shop):
    options = ServerOptions(port=9000, processes=2, access_log=True)
    server = serve(shop.at(), "late", options=options)
    root = shop.folder / ".headrace" / "dev"
    assert server.folder == root
    words = list(server.command)
    assert words[words.index("--home") + 1] == str(root / "serving" / "late")
    assert words[words.index("--port") + 1] == "9000"
    assert words[words.index("--processes") + 1] == "2"
    assert "--access-log" in words
    assert "--anonymous" not in words
    ((action, model, details),) = shop.audit()
    assert (action, model) == ("server.started", "late")
    how = {
        "host": "127.0.0.1",
        "port": 9000,
        "processes": 2,
        "access_log": True,
        "log_format": "text",
        "log_level": "info",
    }
    assert details == {"model": "late", **how}


def test_callers_need_a_key_as_soon_as_there_is_one(shop):
    create_api_key(shop.at(), "check-out")
    file = str(shop.folder / ".headrace/dev/api-keys.json")
    assert file in serve(shop.at(), "late").command
    assert file not in serve(shop.at(), "late", options=ServerOptions(anonymous=True)).command


def test_secrets_are_neither_printed_nor_part_of_the_json(shop, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=s3cr3t")
    server = serve(shop.at(), "late")
    assert "s3cr3t" in str(dict(server.secrets))
    assert "s3cr3t" not in repr(server)
    assert set(server.to_json()) == {"command", "folder"}


def test_a_model_that_is_not_there_is_told_and_recorded(shop):
    with pytest.raises(NotFoundError, match="lat'"):
        serve(shop.at(), "lat")
    assert [action for action, _, _ in shop.audit()] == ["server.started", "command.failed"]


def test_a_server_holds_its_environment_until_it_ends(shop):
    command = [sys.executable, "-c", HELD, str(shop.folder)]
    assert subprocess.run(command, check=False).returncode == 7
    with hold(shop.folder / ".headrace/dev/serve.lock"), pytest.raises(BusyError, match="is being reset"):
        serve(shop.at(), "late")


def test_who_may_not_starts_none(shop):
    tokens = shop.enrol(sue="data_scientist")
    with vault.bearing(tokens["sue"]):
        with pytest.raises(RefusedError, match="sue may not `headrace serve`"):
            serve(shop.at(), "late")
        with pytest.raises(RefusedError, match="sue may not `headrace serve`"):
            serve_mlflow_model(shop.at(), "models:/late/1")
    assert [name for action, name, _ in shop.audit() if action == "access.refused"] == ["late", "dev"]


def test_it_starts_while_the_state_database_cannot_be_read_and_says_so(shop, caplog):
    (shop.folder / ".headrace/dev/state.db").write_bytes(b"no database" * 1000)
    server = serve(shop.at(), "late")
    assert "--home" in server.command
    assert "this is not in the audit record" in caplog.text


def test_a_model_of_mlflow_is_served_in_a_project_and_recorded(shop):
    server = serve_mlflow_model(shop.at(), "models:/late/1", options=ServerOptions(host="::1"))
    assert server.command[server.command.index("--mlflow") + 1] == "models:/late/1"
    assert server.secrets["MLFLOW_TRACKING_URI"].startswith("sqlite:///")
    ((action, where, details),) = shop.audit()
    assert (action, where, details["mlflow"], details["host"]) == ("server.started", "dev", "models:/late/1", "::1")


def test_a_model_of_mlflow_is_served_without_a_project(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    server = serve_mlflow_model(At(), "model")
    assert server.command[server.command.index("--mlflow") + 1] == str(folder)
    assert server.folder == tmp_path
    assert sorted(each.name for each in tmp_path.iterdir()) == ["model"]  # nothing is made
    with pytest.raises(ConfigError):
        serve_mlflow_model(At(env="dev"), "model")
