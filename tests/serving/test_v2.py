"""Open Inference V2 as its specification, a public client and Triton's extension for binary data have it."""

import asyncio
import gzip
import json
import struct
import sys
import zlib
from pathlib import Path

import cloudpickle
import jsonschema
import mlflow
import numpy as np
import pytest
import tritonclient.http as triton
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
from tests.serving.conftest import manifest, samples, serving
from tests.serving.open_inference import SCHEMAS
from tritonclient.utils import InferenceServerException

from headrace.serving.app import App
from headrace.serving.flavours.load import load_bare
from headrace.serving.messages import Request

pytestmark = pytest.mark.filterwarnings("ignore")  # of MLflow: integer columns, pickles; of geventhttpclient
INFER = "/v2/models/echo/infer"
HEADER = "inference-header-content-length"
FLOATS = {"FP16": "e", "FP32": "f", "FP64": "d"}
WHOLE = {"INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q", "UINT8": "B", "UINT16": "H", "UINT32": "I"}


class Echo(mlflow.pyfunc.PythonModel):
    """Gives what it was given, and more."""

    def predict(self, context, model_input, params=None):
        number = model_input["number"]
        return {
            "number": number * (params or {}).get("factor", 1.0),
            "whole": model_input["whole"].tolist(),
            "flag": model_input["flag"].tolist(),
            "text": model_input["text"].tolist(),
            "pair": [[each, each + 1] for each in number],
            "said": [{"n": each} for each in model_input["whole"].tolist()],
        }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("echo") / "echo"
    cloudpickle.register_pickle_by_value(sys.modules[Echo.__module__])  # a server has no tests to import it from
    columns = (("double", "number"), ("long", "whole"), ("boolean", "flag"), ("string", "text"))
    mlflow.pyfunc.save_model(
        str(folder),
        python_model=Echo(),
        signature=ModelSignature(
            inputs=Schema([ColSpec(*each) for each in columns]),
            outputs=Schema([ColSpec("double", name) for name in ("number", "whole", "flag", "text", "pair", "said")]),
            params=ParamSchema([ParamSpec("factor", "double", 1.0)]),
        ),
        pip_requirements=[],
    )
    return folder


@pytest.fixture(scope="module")
def echo(folder):
    return load_bare(str(folder))


@pytest.fixture(scope="module")
def server(folder):
    with serving(folder, place="--mlflow") as server:
        yield server


@pytest.fixture
def ask(echo):
    async def said(body, headers, path):
        app = App()
        app.traffic = echo
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {name.encode(): value.encode() for name, value in headers.items()}
        request = Request("POST", path, "", given, content)
        answer = app.admit(request) or app.answer(request)
        return answer if hasattr(answer, "status") else await answer

    def asked(body, headers=None, path=INFER):
        answer = asyncio.run(said(body, headers or {}, path))
        return answer.status, json.loads(answer.body) if answer.kind == b"application/json" else answer

    return asked


def tensor(name, datatype, *data, **more):
    return {"name": name, "datatype": datatype, "shape": [len(data)], "data": list(data), **more}


def inputs(**changes):
    """Two rows."""
    found = {
        "number": tensor("number", "FP64", 0.5, 1.5),
        "whole": tensor("whole", "INT64", 1, 2),
        "flag": tensor("flag", "BOOL", True, False),
        "text": tensor("text", "BYTES", "a", "ä"),
    }
    return list({**found, **changes}.values())


def output(told, name):
    (found,) = [each for each in told["outputs"] if each["name"] == name]
    return found


def packed(letter, *values):
    return struct.pack(f"<{len(values)}{letter}", *values)


def texts(*values):
    return b"".join(struct.pack("<I", len(each)) + each for each in values)


def binary(tensors, **more):
    """A body with binary data, and its headers: tensors are (name, datatype, shape, bytes), or as JSON."""
    described, behind = [], b""
    for each in tensors:
        if isinstance(each, dict):
            described.append(each)
            continue
        name, datatype, shape, raw = each
        size = {"parameters": {"binary_data_size": len(raw)}}
        described.append({"name": name, "datatype": datatype, "shape": shape, **size})
        behind += raw
    head = json.dumps({"inputs": described, **more}).encode()
    return head + behind, {HEADER: str(len(head))}


def holds(told, schema):
    """Whether the specification says so."""
    jsonschema.Draft202012Validator(SCHEMAS[schema]).validate(told)


class TestDatatypes:
    @pytest.mark.parametrize(
        ("datatype", "value", "becomes"),
        [
            *((datatype, 7, 7) for datatype in (*WHOLE, "UINT64", *FLOATS)),
            *((datatype, 7.0, 7) for datatype in (*WHOLE, "UINT64", *FLOATS)),
            ("INT8", -128, -128),
            ("UINT8", 255, 255),
            ("UINT64", 2**63, 2.0**63),
            ("BOOL", True, 1),
            ("BOOL", 0, 0),
            ("FP64", 0.1, 0.1),
            ("FP32", 0.1, float(np.float32(0.1))),
            ("FP16", 0.1, float(np.float16(0.1))),
            ("FP32", 3.4e38, float(np.float32(3.4e38))),
        ],
    )
    def test_a_number_is_what_its_datatype_holds(self, ask, datatype, value, becomes):
        status, told = ask({"inputs": inputs(number=tensor("number", datatype, value, value))})

        assert status == 200, told
        assert output(told, "number")["data"] == [becomes, becomes]

    @pytest.mark.parametrize(
        ("datatype", "value", "said"),
        [
            *((datatype, 3.7, "has a fraction") for datatype in (*WHOLE, "UINT64")),
            *((datatype, True, "is no number") for datatype in (*WHOLE, "UINT64", *FLOATS)),
            *((datatype, "1", "is no number") for datatype in (*WHOLE, "UINT64", *FLOATS)),
            ("INT8", 128, "out of range of INT8"),
            ("INT8", -129, "out of range of INT8"),
            ("INT16", 2**15, "out of range of INT16"),
            ("INT32", -(2**31) - 1, "out of range of INT32"),
            ("INT64", 2**63, "out of range of INT64"),
            ("INT64", 1e19, "out of range of INT64"),
            ("UINT8", 300, "out of range of UINT8"),
            ("UINT8", -1, "out of range of UINT8"),
            ("UINT32", -5e9, "out of range of UINT32"),
            ("UINT64", -1, "out of range of UINT64"),
            ("FP16", 70_000.0, "out of range of FP16"),
            ("FP32", 1e39, "out of range of FP32"),
            ("BOOL", 2, "is no BOOL"),
            ("BOOL", 1.0, "is no BOOL"),
            ("BOOL", "true", "is no BOOL"),
            ("BYTES", "1", "is no number"),
            ("BYTES", 1, "is no text"),
        ],
    )
    def test_a_value_that_its_datatype_does_not_hold_is_refused(self, ask, datatype, value, said):
        right = "1" if datatype == "BYTES" and isinstance(value, str) else "" if datatype == "BYTES" else 1
        status, told = ask({"inputs": inputs(number=tensor("number", datatype, right, value))})

        assert status == 400, told
        assert "'number'" in told["error"]
        assert said in told["error"]

    @pytest.mark.parametrize("datatype", ["FP64", "INT64", "BOOL"])
    def test_a_text_is_of_bytes_only(self, ask, datatype):
        status, told = ask({"inputs": inputs(text=tensor("text", datatype, "a", "b"))})

        assert status == 400
        assert "'text'" in told["error"]

    def test_a_row_is_named_in_a_tensor_of_several_columns(self, ask):
        status, told = ask({"inputs": [{**tensor("X", "UINT8", *[1] * 9, 300, 1, 1), "shape": [3, 4]}]})

        assert (status, told) == (400, {"error": "row 2: 'X' is out of range of UINT8."})


class TestOutputs:
    def test_have_the_datatype_and_shape_of_their_values(self, ask):
        status, told = ask({"id": "42", "inputs": inputs()})

        assert status == 200
        assert (told["id"], told["model_name"], told["model_version"]) == ("42", "echo", "1")
        assert told["outputs"] == [
            {"name": "number", "datatype": "FP64", "shape": [2], "data": [0.5, 1.5]},
            {"name": "whole", "datatype": "INT64", "shape": [2], "data": [1, 2]},
            {"name": "flag", "datatype": "BOOL", "shape": [2], "data": [True, False]},
            {"name": "text", "datatype": "BYTES", "shape": [2], "data": ["a", "ä"]},
            {"name": "pair", "datatype": "FP64", "shape": [2, 2], "data": [0.5, 1.5, 1.5, 2.5]},
            {"name": "said", "datatype": "BYTES", "shape": [2], "data": ['{"n":1}', '{"n":2}']},
        ]
        holds(told, "inference_response")

    def test_that_are_named_are_given_in_that_order_and_no_others(self, ask):
        status, told = ask({"inputs": inputs(), "outputs": [{"name": "text"}, {"name": "number"}]})

        assert status == 200
        assert [each["name"] for each in told["outputs"]] == ["text", "number"]
        assert len(ask({"inputs": inputs(), "outputs": []})[1]["outputs"]) == 6

    @pytest.mark.parametrize(
        ("outputs", "said"),
        [
            ([{"name": "nope"}], "does not give"),
            ([{"name": "text"}, {"name": "text"}], "twice"),
            ([{"name": "text", "colour": 1}], "unexpected 'colour'"),
            ([{"name": "text", "parameters": []}], "is no object"),
            ([{"name": "text", "parameters": {"classification": 3}}], "unexpected 'classification'"),
            ([{"name": "text", "parameters": {"binary_data": 1}}], "'binary_data' is neither"),
        ],
    )
    def test_that_cannot_be_given_are_refused(self, ask, outputs, said):
        status, told = ask({"inputs": inputs(), "outputs": outputs})

        assert status == 400
        assert said in told["error"]


class TestParameters:
    def test_are_the_model_s(self, ask):
        status, told = ask({"inputs": inputs(), "parameters": {"factor": 10, "content_type": "pd"}})

        assert (status, output(told, "number")["data"]) == (200, [5.0, 15.0])

    @pytest.mark.parametrize(
        ("parameters", "said"),
        [
            ({"colour": 1}, "'colour' is no parameter of this model; it takes factor"),
            ({"factor": "ten"}, "'factor' is not"),
            ({"content_type": "base64"}, "'content_type' may be"),
            ({"content_type": []}, "'content_type' may be"),
            ({"binary_data_output": "yes"}, "'binary_data_output' is neither"),
            ([], "is no object"),
        ],
    )
    def test_that_mean_nothing_are_refused(self, ask, parameters, said):
        status, told = ask({"inputs": inputs(), "parameters": parameters})

        assert status == 400
        assert said in told["error"]

    def test_of_a_model_that_takes_none_and_of_a_tensor(self, live, ask):
        columns, rows, _ = samples(live.root / "serving" / "late")
        body = {"inputs": _tensors(columns, rows[:1]), "parameters": {"threshold": 0.9}}
        status, told, _ = live.ask("/v2/models/late/infer", body)
        assert (status, told) == (400, {"error": "'threshold' is no parameter of this model; it takes none."})
        shared = tensor("number", "FP64", 0.5, 1.5, parameters={"shared_memory_region": "a"})
        status, told = ask({"inputs": inputs(number=shared)})
        assert status == 400
        assert "unexpected 'shared_memory_region'" in told["error"]


def _tensors(columns, rows):
    return [
        tensor(name, "BYTES" if any(isinstance(each, str) for each in values) else "FP64", *values)
        for name, values in zip(columns, zip(*rows, strict=True), strict=True)
    ]


class TestBinaryData:
    @pytest.mark.parametrize(("datatype", "letter"), [*FLOATS.items(), *WHOLE.items(), ("UINT64", "Q"), ("BOOL", "?")])
    def test_of_every_datatype_of_numbers_comes_in(self, ask, datatype, letter):
        raw = ("number", datatype, [2], packed(letter, 1, 0))
        status, told = ask(*binary(inputs(number=raw)))

        assert status == 200, told
        assert output(told, "number")["data"] == [1, 0]

    def test_comes_in_and_goes_out_beside_json(self, ask):
        changed = {
            "number": ("number", "FP32", [2, 1], packed("f", 0.5, 1.5)),
            "flag": ("flag", "BOOL", [2], b"\x01\x00"),
            "text": ("text", "BYTES", [2], texts(b"a", "ä".encode())),
        }
        body, headers = binary(inputs(**changed), parameters={"binary_data_output": True})
        status, answer = ask(body, headers)

        assert (status, answer.kind) == (200, b"application/octet-stream")
        length = int(answer.headers.partition(HEADER.encode() + b": ")[2].partition(b"\r\n")[0])
        told, behind = json.loads(answer.body[:length]), answer.body[length:]
        wanted = [
            packed("d", 0.5, 1.5),
            packed("q", 1, 2),
            b"\x01\x00",
            texts(b"a", "ä".encode()),
            packed("d", 0.5, 1.5, 1.5, 2.5),
            texts(b'{"n":1}', b'{"n":2}'),
        ]
        assert [each["parameters"]["binary_data_size"] for each in told["outputs"]] == list(map(len, wanted))
        assert not any("data" in each for each in told["outputs"])
        assert behind == b"".join(wanted)

    def test_goes_out_where_an_output_asks_for_it(self, ask):
        outputs = [{"name": "whole", "parameters": {"binary_data": True}}, {"name": "flag"}]
        status, answer = ask({"inputs": inputs(), "outputs": outputs})

        assert status == 200
        assert answer.body.endswith(packed("q", 1, 2))
        assert b'"data":[true,false]' in answer.body

    def test_a_number_that_is_none_is_missing(self, live):
        columns, rows, _ = samples(live.root / "serving" / "late")
        place = next(place for place, value in enumerate(rows[0]) if isinstance(value, float))
        missing = [None if at == place else value for at, value in enumerate(rows[0])]
        told = live.ask("/v2/models/late/infer", {"inputs": _tensors(columns, [missing])})[1]
        changed = _tensors(columns, [missing])
        changed[place] = (columns[place], "FP64", [1], packed("d", float("nan")))
        body, headers = binary(changed)
        answered = live.ask("/v2/models/late/infer", body, headers=headers)[1]
        assert answered["outputs"] == told["outputs"]

    @pytest.mark.parametrize(
        ("number", "said"),
        [
            (("number", "FP64", [2], packed("d", 1, float("inf"))), "row 1: 'number' is not finite"),
            (("number", "FP64", [2], packed("d", 1)), "8 bytes of data"),
            (("number", "FP64", [1], packed("d", 1, 2)), "16 bytes of data"),
            (("number", "FP64", [2**31 - 1, 2**31 - 1], packed("d", 1, 2)), "16 bytes of data"),
            (("number", "FP64", [-1], b""), "its shape must be"),
            (("number", "BOOL", [2], b"\x01\x02"), "neither 0 nor 1"),
            (("number", "FP64", [2, 0], b""), "columns"),
            (("text", "BYTES", [2], texts(b"a")), "5 bytes of data"),
            (("text", "BYTES", [2], texts(b"a", b"bcd")[:-1]), "row 1: 'text' is longer"),
            (("text", "BYTES", [2], b"\xff\xff\xff\xff" + b"a" * 20), "row 0: 'text' is longer"),
            (("text", "BYTES", [1], texts(b"a", b"b")), "bytes of data"),
            (("text", "BYTES", [2], texts(b"a", b"\xff")), "row 1: 'text' is no text"),
            (("text", "BYTES", [2**30], texts(b"a")), "bytes of data"),
        ],
    )
    def test_that_is_not_what_its_tensor_says_is_refused(self, ask, number, said):
        status, told = ask(*binary(inputs(**{number[0]: number})))

        assert status == 400, told
        assert said in told["error"]

    @pytest.mark.parametrize("size", [-1, -(2**63), 2**63, 2**64, 17, 15, True, 16.0, "16", None, [16]])
    def test_whose_size_is_another_is_refused(self, ask, size):
        body = {"inputs": inputs(number={"name": "number", "datatype": "FP64", "shape": [2]})}
        body["inputs"][0]["parameters"] = {"binary_data_size": size}
        head = json.dumps(body).encode()
        status, told = ask(head + packed("d", 1, 2), {HEADER: str(len(head))})

        assert status == 400, told

    @pytest.mark.parametrize("header", ["-1", "+5", "1e3", "0x10", "", "99999", "9" * 30, "5, 5", "²", "0", "3"])
    def test_with_a_header_that_is_not_the_length_of_json_is_refused(self, ask, header):
        status, told = ask({"inputs": inputs()}, {HEADER: header})

        assert status == 400, told

    def test_of_no_tensor_beside_data_or_without_the_header_is_refused(self, ask):
        body, headers = binary(inputs(number=("number", "FP64", [2], packed("d", 1, 2))))
        assert "of no tensor" in ask(body + b"\0", headers)[1]["error"]
        assert ask(body)[0] == 400
        beside = {"inputs": inputs(number=tensor("number", "FP64", 1, 2, parameters={"binary_data_size": 16}))}
        assert "no binary data" in ask(beside)[1]["error"]
        head = json.dumps(beside).encode()
        assert ask(head + packed("d", 1, 2), {HEADER: str(len(head))})[0] == 400

    def test_of_too_many_rows_is_refused(self, ask, echo):
        many = echo.manifest.serve.max_rows + 1
        status, told = ask(*binary([("flag", "BOOL", [many], b"\0" * many)]))

        assert (status, list(told)) == (413, ["error"])

    @given(st.data())
    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    def test_of_any_bytes_is_answered_or_refused(self, ask, data):
        """Bytes put in, cut out or changed anywhere, with any length in the header."""
        changed = {
            "number": ("number", data.draw(st.sampled_from([*FLOATS])), [2], data.draw(st.binary(max_size=20))),
            "text": ("text", "BYTES", [2], data.draw(st.sampled_from([texts(b"a", b"b"), texts(b"a"), b"\xff" * 9]))),
        }
        body, headers = binary(inputs(**changed), outputs=[{"name": "text", "parameters": {"binary_data": True}}])
        at = data.draw(st.integers(0, len(body)))
        body = body[:at] + data.draw(st.binary(max_size=4)) + body[at + data.draw(st.integers(0, 4)) :]
        headers[HEADER] = data.draw(st.sampled_from([headers[HEADER], str(at), str(len(body))]))
        assert ask(body, headers)[0] in (200, 400)


class TestCompressedBodies:
    @pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP", "deflate", "identity"])
    @pytest.mark.parametrize("path", ["/invocations", "/predict", "/v2/models/late/infer"])
    def test_are_inflated(self, live, path, encoding):
        columns, rows, _ = samples(live.root / "serving" / "late")
        plain = {
            "/invocations": {"instances": rows[:3]},
            "/predict": {"rows": [{"ride": 7, **dict(zip(columns, rows[0], strict=True))}]},
            "/v2/models/late/infer": {"id": "a", "inputs": _tensors(columns, rows[:3])},
        }[path]
        body = json.dumps(plain).encode()
        pack = {"deflate": zlib.compress, "identity": bytes}.get(encoding, gzip.compress)
        status, told, _ = live.ask(path, pack(body), headers={"content-encoding": encoding})

        assert status == 200, told
        assert (
            json.dumps(told).partition("prediction_id")[0]
            == (json.dumps(live.ask(path, plain)[1]).partition("prediction_id")[0])
        )

    def test_with_binary_data_have_the_length_of_the_json_as_it_was(self, live):
        columns, rows, _ = samples(live.root / "serving" / "late")
        body, headers = binary(_tensors(columns, rows[:1]))
        status, _, _ = live.ask(
            "/v2/models/late/infer", gzip.compress(body), headers={**headers, "content-encoding": "gzip"}
        )
        assert status == 200

    def test_that_are_broken_cut_or_longer_are_refused(self, ask):
        whole = gzip.compress(json.dumps({"inputs": inputs()}).encode())
        for body in (b"", b"{}", whole[:-1], whole[:30], whole + b"a", whole + whole, b"\x1f\x8b" + b"\xff" * 40):
            status, told = ask(body, {"content-encoding": "gzip"})
            assert (status, list(told)) == (400, ["error"]), body
        assert ask(whole, {"content-encoding": "deflate"})[0] == 400
        assert ask(whole, {"content-encoding": "br"})[0] == 415

    def test_that_would_be_too_large_are_never_made(self, home):
        manifest(home, max_body=200_000)
        _, rows, _ = samples(home)
        bomb = gzip.compress(b" " * 150_000_000, 9)
        assert len(bomb) < 200_000
        with serving(home) as server:
            before = _peak(server)
            for path in ("/invocations", "/predict", "/v2/models/late/infer"):
                status, told, _ = server.ask(path, bomb, headers={"content-encoding": "gzip"})
                assert status == 413
                assert set(told) == ({"error"} if path.startswith("/v2") else {"error_code", "message"})
            assert _peak(server) - before < 50_000  # KiB
            body = gzip.compress(json.dumps({"instances": rows[:1]}).encode() + b" " * 100_000)
            assert server.ask("/invocations", body, headers={"content-encoding": "gzip"})[0] == 200


def _peak(server):
    """KiB that the process has had at most."""
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


class TestWhatIsTold:
    def test_of_the_server_and_the_model(self, live):
        for path in ("/v2", "/v2/"):
            status, told, _ = live.ask(path)
            assert (status, told["name"], told["extensions"]) == (200, "headrace", ["binary_tensor_data"])
            holds(told, "metadata_server_response")
        for path in ("/v2/models/late", "/v2/models/late/versions/1"):
            status, told, _ = live.ask(path)
            assert (status, told["name"], told["versions"]) == (200, "late", ["1"])
            holds(told, "metadata_model_response")
            assert live.ask(f"{path}/ready")[:2] == (200, {"name": "late", "ready": True})
            holds(told, "metadata_model_response")
        assert live.ask("/v2/health/live")[:2] == (200, {"live": True})
        assert live.ask("/v2/health/ready")[:2] == (200, {"ready": True})

    def test_before_anything_is_in_production(self, home):
        (home / "serving.json").unlink()
        with serving(home, wait=False) as server:
            server.wait(lambda status, _: status == 503)
            assert server.ask("/v2/health/live")[:2] == (200, {"live": True})
            assert server.ask("/v2/health/ready")[:2] == (503, {"ready": False})
            for path, body in (("/v2/models/late/ready", None), ("/v2/models/late/infer", {"inputs": []})):
                status, told, _ = server.ask(path, body)
                assert (status, list(told)) == (503, ["error"])

    def test_of_a_log_that_cannot_be_written(self, home):
        manifest(home, log="required", max_log=1)
        columns, rows, _ = samples(home)
        with serving(home) as server:
            status, told, _ = server.ask("/v2/models/late/infer", {"inputs": _tensors(columns, rows[:1])})
            assert (status, list(told)) == (413, ["error"])

    @pytest.mark.parametrize(
        ("path", "body", "status"),
        [
            ("/v2/nowhere", None, 404),
            ("/v2/models/other", None, 404),
            ("/v2/models/late/versions/9/ready", None, 404),
            ("/v2/models/late/versions/9/infer", {}, 404),
            ("/v2/models/late/infer", None, 405),
            ("/v2/health/live", {}, 405),
            ("/v2/models/late/infer", {}, 400),
            ("/v2/models/late/infer", b"{", 400),
        ],
    )
    def test_of_an_error(self, live, path, body, status):
        found, told, _ = live.ask(path, body)

        assert (found, list(told)) == (status, ["error"])
        holds(told, "inference_error_response")

    def test_of_outputs_of_every_kind(self, server):
        told = server.ask("/v2/models/echo")[1]

        assert [(each["datatype"], each["shape"]) for each in told["outputs"]] == [
            ("FP64", [-1]),
            ("INT64", [-1]),
            ("BOOL", [-1]),
            ("BYTES", [-1]),
            ("FP64", [-1, 2]),
            ("BYTES", [-1]),
        ]


def test_a_request_as_mlserver_s_codecs_write_it(ask):
    """Of mlserver 1.7.1, which cannot be installed beside what is tested here: it wants protobuf before 7."""
    written = {
        "id": "7",
        "parameters": {"content_type": "pd"},
        "inputs": [
            {"name": "number", "shape": [2, 1], "datatype": "FP64", "data": [0.5, 1.5]},
            {"name": "whole", "shape": [2, 1], "datatype": "INT64", "data": [1, 2]},
            {
                "name": "flag",
                "shape": [2, 1],
                "datatype": "BOOL",
                "parameters": {"content_type": "np"},
                "data": [True, False],
            },
            {
                "name": "text",
                "shape": [2, 1],
                "datatype": "BYTES",
                "parameters": {"content_type": "str"},
                "data": ["a", "ä"],
            },
        ],
    }
    holds(written, "inference_request")
    status, told = ask(written)
    assert (status, told["id"], output(told, "text")["data"]) == (200, "7", ["a", "ä"])


class TestTritonClient:
    @pytest.fixture
    def client(self, server):
        client = triton.InferenceServerClient(f"127.0.0.1:{server.port}")
        yield client
        client.close()

    @staticmethod
    def inputs(*, binary):
        found = []
        for name, datatype, values in (
            ("number", "FP32", np.array([0.5, 1.5], "float32")),
            ("whole", "INT64", np.array([1, 2])),
            ("flag", "BOOL", np.array([True, False])),
            ("text", "BYTES", np.array(["a", "ä"], dtype=object)),
        ):
            found.append(triton.InferInput(name, [2], datatype))
            found[-1].set_data_from_numpy(values, binary_data=binary)
        return found

    def test_is_told_of_the_server_and_the_model(self, client):
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("echo")
        assert client.is_model_ready("echo", "1")
        assert not client.is_model_ready("other")
        assert client.get_server_metadata()["name"] == "headrace"
        assert [each["name"] for each in client.get_model_metadata("echo", "1")["inputs"]] == [
            "number",
            "whole",
            "flag",
            "text",
        ]

    @pytest.mark.parametrize("compressed", [None, "gzip", "deflate"])
    @pytest.mark.parametrize("wanted", [None, True, False])
    @pytest.mark.parametrize("binary", [True, False])
    def test_asks_and_reads(self, client, binary, wanted, compressed):
        names = ("text", "number", "pair", "whole", "flag")
        outputs = None if wanted is None else [triton.InferRequestedOutput(name, binary_data=wanted) for name in names]
        result = client.infer(
            "echo",
            self.inputs(binary=binary),
            outputs=outputs,
            request_id="42",
            request_compression_algorithm=compressed,
            response_compression_algorithm=compressed,
            parameters={"factor": 2.0},
        )
        assert result.get_response()["id"] == "42"
        assert result.as_numpy("number").tolist() == [1.0, 3.0]
        assert result.as_numpy("pair").tolist() == [[0.5, 1.5], [1.5, 2.5]]
        assert result.as_numpy("whole").tolist() == [1, 2]
        assert result.as_numpy("flag").tolist() == [True, False]
        told = [each if isinstance(each, str) else each.decode() for each in result.as_numpy("text")]
        assert told == ["a", "ä"]
        assert (result.as_numpy("said") is None) == (wanted is not None)

    def test_reads_what_is_wrong(self, client):
        with pytest.raises(InferenceServerException, match="'whole' is missing") as caught:
            client.infer("echo", self.inputs(binary=True)[:1])
        assert caught.value.status() == "400"
        with pytest.raises(InferenceServerException, match="another model"):
            client.get_model_metadata("other")
