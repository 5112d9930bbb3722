"""The loop with artifacts on a real S3: trained, registered, deployed and scored; its keys are nobody's but Headrace's."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress

import pytest
from tests.cli import mini
from tests.support.s3 import KEY, SECRET

TOML = """\
[project]
name = "mini"
module = "mini"
as_of = "2024-03-01"

[env.dev]
artifacts = "s3://loop/dev"

[env.dev.storage_options]
AWS_ENDPOINT_URL = "{url}"
AWS_REGION = "us-east-1"
AWS_ALLOW_HTTP = "true"
AWS_ACCESS_KEY_ID = {{secret = "STORE_KEY"}}
AWS_SECRET_ACCESS_KEY = {{secret = "STORE_SECRET"}}

[env.live]
"""
FIT = """\
def fit(data, params):
    import os
    import sys

    seen = [name for name, value in os.environ.items() if "{secret}" in value or "{key}" in value]
    session = getattr(sys.modules.get("boto3"), "DEFAULT_SESSION", None)
    if seen or session is not None:
        raise RuntimeError(f"seen: {{seen}} {{session}}")
    return Mean().fit(data.X, data.y)
"""


def answers(server, port):
    """Whether a server comes to answer before it ends."""
    until = time.monotonic() + 120
    while server.poll() is None and time.monotonic() < until:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5) as answer:
            return answer.status == 200
        time.sleep(0.2)
    return False


@pytest.fixture
def project(s3, tmp_path):
    if "loop" not in [each["Name"] for each in s3.client.list_buckets()["Buckets"]]:
        s3.client.create_bucket(Bucket="loop")
    folder = mini.write(tmp_path / "project")
    (folder / "headrace.toml").write_text(TOML.format(url=s3.url))
    program = (folder / "mini.py").read_text()
    plain = "def fit(data, params):\n    return Mean().fit(data.X, data.y)\n"
    assert plain in program
    (folder / "mini.py").write_text(program.replace(plain, FIT.format(secret=SECRET, key=KEY)))
    (tmp_path / "scratch").mkdir()
    return folder


def test_the_loop_with_artifacts_on_s3(headrace, s3, project, tmp_path, monkeypatch):
    import mlflow

    scratch = tmp_path / "scratch"
    env = {"STORE_KEY": KEY, "STORE_SECRET": SECRET, "TMPDIR": str(scratch)}
    for command in (("run", "refresh"), ("run", "train"), ("run", "deploy"), ("run", "score")):
        done = headrace.run(project, *command, env=env)
        assert done.code == 0, done.stderr
        assert SECRET not in done.stdout + done.stderr
        # a forked command ends without what Python does at its end, and the next one takes its spill folder away
        assert [each.name for each in scratch.iterdir() if not each.name.startswith("headrace-spill-")] == [], command
    kept = s3.names("loop")
    assert any(name.startswith("dev/days/models/") and name.endswith("/MLmodel") for name in kept), kept
    assert not (project / ".headrace" / "dev" / "artifacts").exists()

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-W", "ignore", "-m", "headrace.cli", "serve", "--mlflow", "models:/days/1"]
    server = subprocess.Popen([*command, "--port", str(port)], cwd=project, env={**os.environ, **env})
    try:
        assert answers(server, port)
        assert len([each for each in scratch.iterdir() if each.name.startswith("headrace-model-")]) == 1
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    finally:
        server.kill()
        server.wait()
    assert [each.name for each in scratch.iterdir() if each.name.startswith("headrace-model-")] == []

    given = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "MLFLOW_S3_ENDPOINT_URL": s3.url}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{project}/.headrace/dev/mlflow.db")
    source = client.get_logged_model(client.get_model_version("days", "1").source.removeprefix("models:/"))
    assert source.artifact_location.startswith("s3://loop/dev/days/")
    copy = mlflow.artifacts.download_artifacts(artifact_uri=source.artifact_location, dst_path=str(tmp_path / "copy"))
    assert mlflow.pyfunc.load_model(copy).metadata.signature is not None


def test_keys_that_are_wrong_are_told_before_a_version_is_there(headrace, s3, project, tmp_path):
    env = {"STORE_KEY": KEY, "STORE_SECRET": "a-wrong-one"}
    assert headrace.run(project, "run", "refresh", env=env).code == 0
    done = headrace.run(project, "run", "train", env=env)

    assert done.code == 1
    assert "artifacts at s3://loop/dev cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr
    assert "a-wrong-one" not in done.stdout + done.stderr
