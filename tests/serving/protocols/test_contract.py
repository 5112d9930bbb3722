"""What every serving protocol keeps to: those that every server has, and one from outside."""

import json
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import pytest
from tests.serving.conftest import manifest, samples, serving
from tests.serving.test_server import logged

from headrace.core.errors import ConfigError, DeclarationError
from headrace.serving.declarations import Serve
from headrace.serving.protocols.from_outside import load_protocol
from headrace.serving.protocols.known import PROTOCOLS
from headrace.serving.routes import RouteTable

from .rowwise import ROWS, THIEF

MODULE = "rowwise"
ENV = {"PYTHONPATH": str(Path(__file__).parent)}


@dataclass(frozen=True, kw_only=True)
class Case:
    path: str
    pattern: str
    error: str
    logged: str


def tensors(columns, rows):
    return {
        "inputs": [
            {"name": name, "shape": [len(rows)], "datatype": "BYTES" if type(rows[0][place]) is str else "FP64",
             "data": [row[place] for row in rows]}
            for place, name in enumerate(columns)
        ]
    }  # fmt: skip


CASES = {
    "mlflow": Case(path="/invocations", pattern="/invocations", error="Error", logged="/invocations"),
    "predict": Case(path="/predict", pattern="/predict", error="Error", logged="/predict"),
    "v2": Case(path="/v2/models/late/infer", pattern="/v2/models/{model}/infer", error="ErrorV2", logged="/v2/infer"),
    "rows": Case(path="/rows/late", pattern="/rows/{model}", error="RowsError", logged="/rows/{model}"),
}


def body(name, columns, rows):
    if name == "mlflow":
        return {"dataframe_split": {"columns": columns, "data": rows}}
    if name == "predict":
        keyed = [{"ride": place, "requested_at": "2024-02-20T00:00:00+00:00"} for place in range(len(rows))]
        return {"rows": [{**dict(zip(columns, row, strict=True)), **key} for row, key in zip(rows, keyed, strict=True)]}
    return tensors(columns, rows) if name == "v2" else rows


@pytest.fixture(scope="module")
def server(bikes, tmp_path_factory):
    import shutil

    root = tmp_path_factory.mktemp("contract") / "dev"
    shutil.copytree(bikes / ".headrace" / "dev" / "serving", root / "serving")
    for file in (bikes / ".headrace" / "dev").glob("online.db*"):
        shutil.copy(file, root)
    home = root / "serving" / "late"
    manifest(home, protocols=[f"{MODULE}:ROWS"], max_rows=50)
    with serving(home, env=ENV) as running:
        running.home = home
        yield running


@pytest.fixture(params=sorted(CASES))
def name(request):
    return request.param


def test_every_known_protocol_is_here():
    assert {each.name for each in PROTOCOLS} | {"rows"} == set(CASES)


def test_rows_are_answered_counted_logged_and_told_of(server, name):
    case, (columns, rows, outputs) = CASES[name], samples(server.home)
    count = 'headrace_http_requests_total{model="late",path="%s",method="POST",status="200"}' % case.pattern  # noqa: UP031
    status, answer, headers = server.ask(case.path, body(name, columns, rows[:3]))
    assert (status, headers["x-headrace-version"]) == (200, "1"), answer
    text = answer if isinstance(answer, str) else json.dumps(answer)
    places = [text.find(json.dumps(value)[:12]) for (value,) in outputs[:3]]
    assert -1 not in places
    assert len({value for (value,) in outputs[:3]}) < 3 or places == sorted(places)  # in the order of the rows
    assert any(line.startswith(count) for line in server.ask("/metrics")[1].splitlines())
    server.until(lambda: headers["x-headrace-request"] in {each["id"]: each for each in logged(server.home)})
    (record,) = [each for each in logged(server.home) if each["id"] == headers["x-headrace-request"]]
    assert (record["path"], len(record["answers"])) == (case.logged, 3)


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
