"""Traces, received as a collector receives them: a small server that speaks OTLP over HTTP."""

import gzip
import http.client
import http.server
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from tests.serving.conftest import manifest, serving
from tests.serving.listening import until
from tests.serving.test_api_keys import made, project  # noqa: F401  # a fixture
from tests.serving.test_caller import TRACE
from tests.serving.test_drain import SLOWLY
from tests.serving.test_drain import body as slow
from tests.serving.test_server import ROW

from headrace.core.errors import ConfigError
from headrace.serving import tracing

BODY = {"instances": [list(ROW.values())]}
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "50"}  # milliseconds until spans are sent


class Collector(http.server.ThreadingHTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), Receiver)
        self.requests = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def spans(self):
        return [
            span
            for _, _, sent in self.requests
            for resource in sent.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        read = self.rfile.read(int(self.headers["content-length"]))
        read = gzip.decompress(read) if self.headers["content-encoding"] == "gzip" else read
        sent = ExportTraceServiceRequest.FromString(read)
        self.server.requests.append((self.path, dict(self.headers), sent))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def collector():
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def values(attributes):
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


def test_a_request_is_a_span_below_its_callers_and_the_models_call_one_below_it(home, project, collector):  # noqa: F811
    token = made(project, "check-out")
    env = {**SOON, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_EXPORTER_OTLP_HEADERS": "x-key=s3cret"}
    env |= {"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=live"}
    with serving(home, arguments=("--traces", "--api-keys", project.file), env=env) as server:
        headers = {"traceparent": TRACE, "tracestate": "a=1", "authorization": f"Bearer {token}"}
        before = time.time_ns()
        _, _, told = server.ask("/invocations?secret=1", BODY, headers=headers)
        after = time.time_ns()
        until(lambda: len(collector.spans()) == 2)
        assert b"s3cret" not in Path(f"/proc/{server.process.pid}/environ").read_bytes()
        assert "s3cret" not in server.end()[1]
    span, call = sorted(collector.spans(), key=lambda each: each.kind, reverse=True)
    _, trace, parent, _ = TRACE.split("-")
    assert (span.trace_id.hex(), span.parent_span_id.hex(), span.trace_state) == (trace, parent, "a=1")
    assert (span.name, span.kind, call.kind) == ("POST /invocations", Span.SPAN_KIND_SERVER, Span.SPAN_KIND_INTERNAL)
    assert before <= span.start_time_unix_nano <= call.start_time_unix_nano + 10**6
    assert call.start_time_unix_nano <= call.end_time_unix_nano <= span.end_time_unix_nano <= after + 10**7
    assert (call.trace_id, call.parent_span_id, call.name) == (span.trace_id, span.span_id, "predict late")
    assert values(span.attributes) == {
        "http.request.method": "POST",
        "http.route": "/invocations",
        "url.scheme": "http",
        "url.path": "/invocations",
        "http.request.body.size": len(json.dumps(BODY)),
        "http.response.status_code": 200,
        "http.response.body.size": int(told["content-length"]),
        "headrace.model.name": "late",
        "headrace.model.version": "1",
        "headrace.request.id": told["x-headrace-request"],
        "headrace.api_key.name": "check-out",
    }
    assert values(call.attributes) == {
        "headrace.model.name": "late",
        "headrace.model.version": "1",
        "headrace.model.tier": "native",
        "headrace.model.rows": 1,
    }
    path, sent, request = collector.requests[0]
    assert (path, sent["x-key"]) == ("/v1/traces", "s3cret")
    who = values(request.resource_spans[0].resource.attributes)
    assert (who["service.name"], who["deployment.environment.name"]) == ("headrace-serving", "live")


def test_a_version_may_declare_them_refusals_are_spans_and_nothing_else_is(home, collector):
    manifest(home, traces=True)
    env = {**SOON, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector.url}/here", "OTEL_SERVICE_NAME": "rides"}
    with serving(home, env=env) as server:
        assert server.ask("/v2/models/late/infer", {})[0] == 400
        assert server.ask("/predict")[0] == 405
        assert server.ask("/metrics")[0] == 200
        assert server.ask("/nowhere", {})[0] == 404
        assert server.ask("/invocations", BODY, headers={"traceparent": TRACE[:-2] + "00"})[0] == 200  # not sampled
        manifest(home, traces=False)
        server.until(lambda: server.counted("model_reloads") == 1)
        assert server.ask("/invocations", BODY)[0] == 200
        assert server.end()[0] == 0
    assert {path for path, *_ in collector.requests} == {"/here"}
    assert values(collector.requests[0][2].resource_spans[0].resource.attributes)["service.name"] == "rides"
    found = [(span.name, values(span.attributes)["http.response.status_code"]) for span in collector.spans()]
    assert found == [("POST /v2/models/{model}/infer", 400), ("GET /predict", 405)]
    assert {span.status.code for span in collector.spans()} == {Status.STATUS_CODE_UNSET}


def test_a_call_in_a_thread_is_a_span_and_what_times_out_is_an_error(home, collector):
    manifest(home, timeout="1s")
    env = {**SOON, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    with serving(home, program=SLOWLY, arguments=("--traces",), env=env) as server:
        assert server.ask("/invocations", slow(0.3))[0] == 200
        assert server.ask("/invocations", slow(3.0))[0] == 503
        until(lambda: len(collector.spans()) == 4)
    whole = {values(each.attributes)["http.response.status_code"]: each for each in collector.spans() if each.kind == 2}
    calls = {each.parent_span_id: each for each in collector.spans() if each.kind == 1}
    call = calls[whole[200].span_id]
    assert 0.3e9 <= call.end_time_unix_nano - call.start_time_unix_nano < 1e9
    assert whole[503].status.code == Status.STATUS_CODE_ERROR
    assert values(whole[503].attributes)["error.type"] == "503"
    assert whole[503].span_id in calls


@contextmanager
def silent():
    """Takes connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def nobody():
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    yield url


@pytest.mark.parametrize("where", [silent, nobody])
def test_a_collector_that_is_away_slows_no_prediction_and_not_the_end(home, where):
    with (
        where() as url,
        serving(
            home,
            arguments=("--traces",),
            env={**SOON, "OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_MAX_QUEUE_SIZE": "512"},
        ) as server,
    ):
        took = []
        for _ in range(700):
            began = time.monotonic()
            assert server.ask("/invocations", BODY)[0] == 200
            took.append(time.monotonic() - began)
        assert sorted(took)[650] < 0.2
        began = time.monotonic()
        code, said = server.end()
        assert time.monotonic() - began < 4
    assert code == 0
    assert "nothing is lost" in said
    assert "Traceback" not in said
    assert said.count("traces are not all taken") == 1


def test_without_the_extra_or_with_another_protocol_it_is_said_at_the_start(home):
    program = (
        "import sys, runpy; sys.modules['opentelemetry.exporter.otlp.proto.http'] = None; "
        "sys.argv[0] = 'headrace.serving'; runpy.run_module('headrace.serving', run_name='__main__')"
    )
    given = ["--home", str(home), "--port", "1", "--traces", "--processes", "2"]
    done = subprocess.run([sys.executable, "-c", program, *given], capture_output=True, text=True, check=False)
    assert (done.returncode, "pip install 'headrace[otel]'" in done.stderr) == (2, True)
    assert "Traceback" not in done.stderr
    env = {**os.environ, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    command = [sys.executable, "-m", "headrace.serving", *given]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert (done.returncode, "OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc'" in done.stderr) == (2, True)


def test_where_they_are_off_nothing_is_imported(home):
    program = (
        "import atexit, sys, runpy; sys.argv[0] = 'headrace.serving'; "
        "atexit.register(lambda: print('otel', [n for n in sys.modules if n.startswith('opentelemetry')], file=sys.stderr)); "
        "runpy.run_module('headrace.serving', run_name='__main__')"
    )
    with serving(home, program=("-c", program)) as server:
        assert server.ask("/invocations", BODY)[0] == 200
        assert "otel []" in server.end()[1]


LOOKING = """\
import os
from pathlib import Path

import mlflow


class Looking(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        seen = [str(dict(os.environ)), Path("/proc/self/environ").read_bytes().decode()]
        return [float(sum("s3cret" in each for each in seen))] * len(model_input)


mlflow.models.set_model(Looking())
"""


def test_the_command_hands_the_variables_to_servers_and_no_model_sees_the_headers(tmp_path, collector):
    (tmp_path / "looking.py").write_text(LOOKING)
    saved = (
        "import mlflow; from mlflow.models import ModelSignature; from mlflow.types import Schema, ColSpec; "
        "mlflow.pyfunc.save_model('m', python_model='looking.py', pip_requirements=[], "
        "signature=ModelSignature(Schema([ColSpec('double', 'a')]), Schema([ColSpec('double')])))"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", saved], cwd=tmp_path, check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    given = ["--mlflow", "m", "--port", str(port), "--processes", "2", "--traces", "--access-log"]
    env = {
        **os.environ,
        **SOON,
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": "x-key=s3cret",
    }
    command = [sys.executable, "-m", "headrace.cli", "serve", *given]
    with subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            until(lambda: asked(connection, "GET", "/ready") == (200, None), 60)
            status, answer = asked(connection, "POST", "/invocations", b'{"instances": [[1.0]]}')
            assert (status, answer) == (200, {"predictions": [0.0]})
            until(collector.spans)
        finally:
            connection.close()
            process.terminate()
            out = process.communicate(timeout=60)[0]
    assert collector.requests[0][1]["x-key"] == "s3cret"
    assert "/invocations" in {json.loads(line)["path"] for line in out.splitlines()}


def asked(connection, method, path, body=None):
    try:
        connection.request(method, path, body, {"content-type": "application/json"})
        answer = connection.getresponse()
        read = answer.read()
    except OSError:
        connection.close()
        time.sleep(0.05)
        return None
    return answer.status, json.loads(read) if method == "POST" else None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization: Bearer hunter2"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "hunter2"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector-hunter2:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://hunter2"),
    ],
)
def test_a_variable_that_is_wrong_is_named_and_not_repeated(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=name) as told:
        tracing.check()
    assert "hunter2" not in f"{told.value} {told.value.hint}"


@pytest.mark.parametrize("value", ["authorization=Bearer%20a", "a=b, c=d", "", "x-key=abc==,", "a="])
def test_headers_as_opentelemetry_takes_them(monkeypatch, value):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", value)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    tracing.check()


def test_what_the_sdk_says_holds_no_secret(monkeypatch, caplog):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hunter2")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "https://x.example/hunter3")
    record = logging.LogRecord(
        "a",
        logging.WARNING,
        "",
        0,
        "no %s: https://x.example/v1?key=hunter4 authorization=hunter2 https://x.example/hunter3",
        ("way",),
        None,
    )
    tracing._Telling().emit(record)
    said = caplog.text
    assert "no way" in said
    assert "hunter" not in said
