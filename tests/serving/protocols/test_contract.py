"""What every serving protocol keeps to: those that every server has, and one from outside."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.serving.conftest import manifest, samples, serving
from tests.serving.test_server import _second, logged
from tests.serving.test_traffic import divide

from headrace.core.errors import ConfigError, DeclarationError
from headrace.serving.declarations import Serve
from headrace.serving.protocols.base import ServingProtocol
from headrace.serving.protocols.from_outside import load_protocol
from headrace.serving.protocols.known import PROTOCOLS
from headrace.serving.protocols.mlflow import MLFLOW
from headrace.serving.protocols.native import NATIVE
from headrace.serving.protocols.openai import OPENAI
from headrace.serving.protocols.v2 import V2
from headrace.serving.routes import RouteTable

from .rowwise import ROWS, THIEF

MODULE = "rowwise"
ENV = {"PYTHONPATH": str(Path(__file__).parent)}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A protocol in this suite.

    Attributes:
        path: at which it predicts.
        pattern: of that path, as metrics have it.
        error: the name of its refusals' schema.
        logged: what the inference log calls the path.
        protocol: itself.
        values: reads the probabilities of an answer, one a row.
    """

    path: str
    pattern: str
    error: str
    logged: str
    protocol: ServingProtocol
    values: Callable[[Any], list[float]]


def tensors(columns, rows):
    return {
        "inputs": [
            {"name": name, "shape": [len(rows)], "datatype": "BYTES" if rows and type(rows[0][place]) is str else "FP64",
             "data": [row[place] for row in rows]}
            for place, name in enumerate(columns)
        ]
    }  # fmt: skip


def of_predictions(answer):
    return [each["probability"] for each in answer["predictions"]]


def of_tensors(answer):
    (output,) = answer["outputs"]
    assert output["shape"] == [len(output["data"])]
    return output["data"]


def of_events(text):
    return [json.loads(event.removeprefix("data: "))[0] for event in text.split("\n\n") if event]


CASES = {
    "mlflow": Case(
        path="/invocations",
        pattern="/invocations",
        error="Error",
        logged="/invocations",
        protocol=MLFLOW,
        values=of_predictions,
    ),
    "predict": Case(
        path="/predict", pattern="/predict", error="Error", logged="/predict", protocol=NATIVE, values=of_predictions
    ),
    "v2": Case(
        path="/v2/models/late/infer",
        pattern="/v2/models/{model}/infer",
        error="ErrorV2",
        logged="/v2/infer",
        protocol=V2,
        values=of_tensors,
    ),
    "rows": Case(
        path="/rows/late",
        pattern="/rows/{model}",
        error="RowsError",
        logged="/rows/{model}",
        protocol=ROWS,
        values=of_events,
    ),
}


def body(name, columns, rows, start=0):
    """A request for rows; where it says keys, they are numbers from `start` on."""
    if name == "mlflow":
        return {"dataframe_split": {"columns": columns, "data": rows}}
    if name == "predict":
        keyed = [
            {"ride": place, "requested_at": "2024-02-20T00:00:00+00:00"} for place in range(start, start + len(rows))
        ]
        return {"rows": [{**dict(zip(columns, row, strict=True)), **key} for row, key in zip(rows, keyed, strict=True)]}
    return tensors(columns, rows) if name == "v2" else rows


def copied(bikes, root):
    """What a server starts from, with the protocol from outside."""
    shutil.copytree(bikes / ".headrace" / "dev" / "serving", root / "serving")
    for file in (bikes / ".headrace" / "dev").glob("online.db*"):
        shutil.copy(file, root)
    manifest(root / "serving" / "late", protocols=[f"{MODULE}:ROWS"], max_rows=50)
    return root / "serving" / "late"


@pytest.fixture(scope="module")
def server(bikes, tmp_path_factory):
    home = copied(bikes, tmp_path_factory.mktemp("contract") / "dev")
    with serving(home, env=ENV) as running:
        running.home = home
        yield running


@pytest.fixture(scope="module")
def divided(bikes, tmp_path_factory):
    """Two versions that answer alike, each for half of the entities."""
    home = copied(bikes, tmp_path_factory.mktemp("divided") / "dev")
    _second(home)
    divide(home, (2, "candidate", 0.5))
    with serving(home, env=ENV) as running:
        running.home = home
        yield running


@pytest.fixture(params=sorted(CASES))
def name(request):
    return request.param


def test_every_known_protocol_is_here():
    """That of OpenAI is none for a model of numbers: tests/serving/test_openai.py holds it to the same."""
    assert {each.name for each in PROTOCOLS} - {"openai"} | {"rows"} == set(CASES)
    assert {each.protocol for each in CASES.values()} == {*PROTOCOLS, ROWS} - {OPENAI}


def distinct(home):
    """Columns, and rows with their probabilities, of which no two are the same."""
    columns, rows, outputs = samples(home)
    found = {output[0]: row for row, output in zip(rows, outputs, strict=True)}
    assert len(found) >= 3
    return columns, list(found.values()), list(found)


def refused(server, name, answer, status, expected):
    """A refusal, in the shape that the document says, in JSON."""
    assert status == expected, answer
    schema = server.ask("/openapi.json")[1]["components"]["schemas"][CASES[name].error]
    jsonschema.validate(answer, schema)


def test_rows_are_answered_counted_logged_and_told_of(server, name):
    case, (columns, rows, _) = CASES[name], distinct(server.home)
    count = 'headrace_http_requests_total{model="late",path="%s",method="POST",status="200"}' % case.pattern  # noqa: UP031
    status, answer, headers = server.ask(case.path, body(name, columns, rows[:3]))
    assert (status, headers["x-headrace-version"]) == (200, "1"), answer
    assert any(line.startswith(count) for line in server.ask("/metrics")[1].splitlines())
    server.until(lambda: headers["x-headrace-request"] in {each["id"]: each for each in logged(server.home)})
    (record,) = [each for each in logged(server.home) if each["id"] == headers["x-headrace-request"]]
    assert (record["path"], len(record["answers"])) == (case.logged, 3)


@pytest.mark.parametrize("count", [1, 2, 50])
def test_each_row_has_its_answer_in_the_order_of_the_rows(server, name, count):
    columns, rows, values = distinct(server.home)
    places = [place % len(rows) for place in range(count)]
    for order in (places, places[::-1]):
        status, answer, _ = server.ask(CASES[name].path, body(name, columns, [rows[place] for place in order]))
        assert status == 200, answer
        assert CASES[name].values(answer) == [values[place] for place in order]


def test_an_answer_says_what_it_is_and_of_which_request(server, name):
    case, (columns, rows, _) = CASES[name], distinct(server.home)
    asked = body(name, columns, rows[:2])
    ours, again = (server.ask(case.path, asked)[2] for _ in range(2))
    theirs = server.ask(case.path, asked, headers={"x-request-id": "caller-7"})[2]
    for headers in (ours, again, theirs):
        assert headers["content-type"] == case.protocol.kind
        assert ("content-length" in headers) != (headers.get("transfer-encoding") == "chunked")
    assert ours["x-request-id"] == ours["x-headrace-request"] != again["x-headrace-request"]
    assert theirs["x-request-id"] == "caller-7" != theirs["x-headrace-request"]
    document = server.ask("/openapi.json")[1]["paths"][case.path]["post"]
    assert case.protocol.kind in document["responses"]["200"]["content"]
    assert tuple(document["requestBody"]["content"]) == case.protocol.consumes


@pytest.mark.parametrize("kind", [None, "application/json; charset=utf-8", "Application/JSON"])
def test_a_body_that_is_json_or_says_nothing_is_read(server, name, kind):
    columns, rows, values = distinct(server.home)
    status, answer, _ = server.ask(CASES[name].path, body(name, columns, rows[:2]), headers={"content-type": kind})
    assert status == 200, answer
    assert CASES[name].values(answer) == values[:2]


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/xml", "application/x-www-form-urlencoded", "application/json; charset=latin-1", ""],
)
def test_a_body_of_another_content_type_is_refused(server, name, kind):
    columns, rows, _ = distinct(server.home)
    asked = body(name, columns, rows[:2])
    status, answer, headers = server.ask(CASES[name].path, asked, headers={"content-type": kind})
    refused(server, name, answer, status, 415)
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize("empty", [b"", b" ", b"\n\n", b"null", None])
def test_an_empty_body_and_one_without_rows_are_refused(server, name, empty):
    columns, _, _ = distinct(server.home)
    status, answer, headers = server.ask(CASES[name].path, body(name, columns, []) if empty is None else empty)
    refused(server, name, answer, status, 400)
    assert headers["content-type"] == "application/json"


def test_an_entity_is_answered_by_one_version_whoever_asks_again(server, divided, name):
    case, (columns, rows, values) = CASES[name], distinct(server.home)

    def version(place):
        asked = body(name, columns, rows[:1], start=place)
        status, answer, headers = divided.ask(case.path, asked, headers={"x-headrace-entity": str(place)})
        assert status == 200, answer
        assert case.values(answer) == values[:1]
        return headers["x-headrace-version"]

    versions = [version(place) for place in range(24)]
    assert set(versions) == {"1", "2"}
    assert versions == [version(place) for place in range(24)]


@pytest.mark.parametrize("wrong", [b"", b"{", b"[[", b'"text"', b"\xff", b"7", b"{}"])
def test_a_malformed_body_is_refused_in_the_shape_that_the_document_says(server, name, wrong):
    status, answer, _ = server.ask(CASES[name].path, wrong)
    assert status == 400
    schema = server.ask("/openapi.json")[1]["components"]["schemas"][CASES[name].error]
    jsonschema.validate(answer, schema)


def test_other_methods_and_too_many_rows_are_refused(server, name):
    case, (columns, rows, _) = CASES[name], samples(server.home)
    schema = server.ask("/openapi.json")[1]["components"]["schemas"][case.error]
    for status, answer, _ in (server.ask(case.path), server.ask(case.path, body(name, columns, rows[:1] * 51))):
        assert status in (405, 413)
        jsonschema.validate(answer, schema)
    assert server.ask(case.path)[2]["allow"] == "POST"
    assert server.ask(case.path, body(name, columns, rows[:1] * 51))[0] == 413


def test_it_is_in_the_document(server, name):
    document = server.ask("/openapi.json")[1]
    (operation,) = document["paths"][CASES[name].path].values()
    schema = operation["responses"]["400"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": f"#/components/schemas/{CASES[name].error}"}


def test_another_model_is_not_found(server):
    for path in ("/rows/other", "/v2/models/other/infer"):
        assert server.ask(path, {})[0] == 404
    assert "/rows/{model}" in server.ask("/nowhere")[1]["message"]


def test_an_error_in_the_middle_is_an_event_of_its_own_and_the_last(server):
    _, rows, _ = samples(server.home)
    status, text, _ = server.ask("/rows/late?fail=2", rows[:4])
    events = text.strip().split("\n\n")
    assert (status, len(events)) == (200, 3)
    assert events[2].startswith("event: error\ndata: {")
    assert "problem" in json.loads(events[2].split("data: ")[1])
    server.until(
        lambda: any(
            'status="500"' in each for each in server.ask("/metrics")[1].splitlines() if "requests_total" in each
        )
    )


def test_one_that_cannot_be_had_is_told_at_the_start(home):
    manifest(home, protocols=["nowhere_at_all:X"])
    with serving(home, wait=False, env=ENV) as running:
        told = running.wait(lambda _, told: told["stale"])
        assert "'nowhere_at_all'" in told["stale"]


def test_paths_that_collide_are_refused_with_both():
    with pytest.raises(
        ConfigError, match=r"'/v2/models/late/infer' .*'thief' collides with '/v2/models/\{model\}/infer'.*'v2'"
    ):
        RouteTable([*PROTOCOLS, THIEF])
    with pytest.raises(ConfigError, match="two serving protocols are called 'rows'"):
        RouteTable([ROWS, type(ROWS)()])


@pytest.mark.parametrize("wrong", ["a:B", ["a"], ["a:"], ["a.b:C", "a.b:C"], [3], ["a b:C"]])
def test_what_is_no_name_of_a_protocol_is_refused_where_it_is_declared(wrong):
    with pytest.raises(DeclarationError):
        Serve(protocols=wrong)


def test_a_name_that_holds_something_else_is_refused(tmp_path):
    for name in ("json:loads", "json:nothing"):
        with pytest.raises(ConfigError, match="json"):
            load_protocol(name, tmp_path)


def test_the_code_that_travels_comes_first(tmp_path):
    source = Path(__file__).with_name("rowwise.py").read_text().replace('name = "rows"', 'name = "mine"')
    (tmp_path / "rowwise.py").write_text(source)
    assert load_protocol("rowwise:ROWS", tmp_path).name == "mine"
