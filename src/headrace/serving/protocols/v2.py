"""Open Inference Protocol, version 2: `POST /v2/models/<name>/infer` and the metadata of a model.

One tensor for each input, `[n]` or `[n, 1]`; or, where all inputs are numbers, one tensor `[n, inputs]` of any name.
The outputs are tensors `[n]`, or `[n, k]` if the model returns lists. https://github.com/kserve/open-inference-protocol

Tensors come and go as JSON or as binary data, by Triton's extension of the protocol (see `tensors`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast
from urllib.parse import unquote

import orjson

from headrace.core.system import release
from headrace.serving.codec import BadRequestError, document, listed, named
from headrace.serving.messages import JSON, Answer, RefusedRequestError
from headrace.serving.protocols import v2_openapi
from headrace.serving.protocols.base import ServingProtocol
from headrace.serving.protocols.prediction_request import RequestPart, params_of
from headrace.serving.protocols.tensors import CONTENT, DATATYPES, check_size, from_binary, from_json, to_binary
from headrace.serving.route import Route
from headrace.serving.traffic import assigned

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from headrace.serving.messages import Request
    from headrace.serving.predictors import Row
    from headrace.serving.route import Match
    from headrace.serving.server import Server
    from headrace.serving.traffic import ServedTraffic
    from headrace.serving.version import Serving

TAKEN = {"id", "inputs", "outputs", "parameters"}
OF_TENSORS = {"name", "shape", "datatype", "data", "parameters"}
OF_OUTPUTS = {"name", "parameters"}
HEADER = b"inference-header-content-length"  # bytes of JSON before binary data
OCTETS = b"application/octet-stream"
EXTENSIONS = ["binary_tensor_data"]
FLOAT = {float}
MODEL = "/v2/models/{model}"
VERSION = MODEL + "/versions/{version}"
LIVE, READY = "/v2/health/live", "/v2/health/ready"
LOGGED = "/v2/infer"


class Inference(NamedTuple):
    """A request, read.

    Attributes:
        id: its caller's; None where it has none.
        rows: checked, in the order of the version's inputs; parameters, where there are any, come last in each.
        outputs: that are wanted, by their places; and whether as binary data.
    """

    id: str | None
    rows: list[Row]
    outputs: list[tuple[int, bool]]


class _Tensor(NamedTuple):
    name: str
    shape: list[int]
    values: list[Any]


class _Binary:
    """What comes behind the JSON of a body: the data of tensors, in their order."""

    def __init__(self, raw: memoryview) -> None:
        self.left = raw

    def take(self, size: object, name: str) -> memoryview:
        if type(size) is not int or not 0 <= size <= len(self.left):
            raise BadRequestError(f"tensor {named(name)}: 'binary_data_size' is not the size of data in this body.")
        raw, self.left = self.left[:size], self.left[size:]
        return raw


class OpenInferenceV2(ServingProtocol):
    """See the module."""

    name: ClassVar[str] = "v2"
    routes: ClassVar[tuple[Route, ...]] = (
        Route(pattern=f"{MODEL}/infer", predicts=True, logged=LOGGED),
        Route(pattern=f"{VERSION}/infer", predicts=True, logged=LOGGED),
        Route(pattern="/v2"),
        Route(pattern="/v2/"),
        Route(pattern=LIVE, open=True),
        Route(pattern=READY, open=True),
        Route(pattern=MODEL),
        Route(pattern=VERSION),
        Route(pattern=f"{MODEL}/ready"),
        Route(pattern=f"{VERSION}/ready"),
    )
    prefix: ClassVar[str] = "/v2"
    consumes: ClassVar[tuple[str, ...]] = (JSON.decode(), OCTETS.decode())
    error: ClassVar[str] = "ErrorV2"
    error_fields: ClassVar[tuple[str, ...]] = ("error",)

    def check(self, traffic: ServedTraffic, match: Match) -> None:
        """See ServingProtocol."""
        model, version = match.values.get("model"), match.values.get("version")
        if model is not None and model != traffic.manifest.model and unquote(model) != traffic.manifest.model:
            raise RefusedRequestError(404, "this server has another model.")
        if version is not None and version != traffic.primary.number:
            raise RefusedRequestError(404, "this server has another version in Production.")

    def read(self, traffic: ServedTraffic, request: Request, number: str) -> list[RequestPart]:
        """See ServingProtocol. A path that names a version is answered by the primary, whatever the split says."""
        if request.match is not None and "version" in request.match.values:
            serving, divided = traffic.primary, None
        else:
            serving, divided = assigned(traffic, request, number)
        inference = _read(serving, request)
        return [RequestPart(serving, inference.rows, divided=divided, context=inference)]

    def write(self, traffic: ServedTraffic, parts: list[RequestPart], number: str) -> Answer:
        """See ServingProtocol."""
        del traffic
        return _write(parts[0], parts[0].context, number)

    def refusal(self, status: int, message: str) -> bytes:
        """See ServingProtocol."""
        del status
        return orjson.dumps({"error": message})

    def info(self, server: Server, match: Match) -> Answer:
        """See ServingProtocol."""
        path = match.route.pattern
        if path == LIVE:
            return _json({"live": True})
        if path == READY:
            return _json({"ready": server.ready()}, 200 if server.ready() else 503)
        if path in ("/v2", "/v2/"):
            return _json({"name": "headrace", "version": release(), "extensions": EXTENSIONS})
        traffic = server.traffic
        if traffic is None:
            raise RefusedRequestError(503, server.trouble)
        if path.endswith("/ready"):
            return _json({"name": traffic.manifest.model, "ready": server.ready()}, 200 if server.ready() else 503)
        return _json(_model(traffic.primary))

    def openapi(self, traffic: ServedTraffic) -> dict[str, Any]:
        """See ServingProtocol."""
        return v2_openapi.paths(traffic)


def _json(told: dict[str, Any], status: int = 200) -> Answer:
    return Answer(status, orjson.dumps(told))


def _read(serving: Serving, request: Request) -> Inference:
    body, binary = request.body, None
    if HEADER in request.headers:
        body, binary = _split(body, request.headers[HEADER])
    asked = document(body)
    if stray := [name for name in asked if name not in TAKEN]:
        raise BadRequestError(f"unexpected {named(stray[0])} in the body.")
    number = asked.get("id")
    if number is not None and not isinstance(number, str):
        raise BadRequestError("'id' is no text.")
    params: dict[str, Any] = {}
    every = False
    if asked.get("parameters") is not None:
        params = dict(_object(asked["parameters"], "'parameters'"))
        every = _flag(params.pop("binary_data_output", False), "binary_data_output")
        _content(params)
        params = params_of(serving, params)
    outputs = _outputs(serving.columns, asked.get("outputs"), every=every)
    tensors = [_tensor(serving, each, binary) for each in listed(asked.get("inputs"), "inputs")]
    if binary is not None and binary.left:
        raise BadRequestError(f"{len(binary.left)} bytes of the body are the data of no tensor.")
    rows = _rows(serving, tensors)
    return Inference(number, [[*row, params] for row in rows] if params else rows, outputs)


def _split(body: bytes, length: bytes) -> tuple[bytes, _Binary]:
    if not length.isdigit() or len(length) > 10 or int(length) > len(body):
        raise BadRequestError("'Inference-Header-Content-Length' is not the length of JSON in this body.")
    return body[: int(length)], _Binary(memoryview(body)[int(length) :])


def _object(given: object, what: str, known: Collection[str] | None = None) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise BadRequestError(f"{what} is no object.")
    found = cast("dict[str, Any]", given)
    if known is not None and (stray := [name for name in found if name not in known]):
        raise BadRequestError(f"unexpected {named(stray[0])} in {what}.")
    return found


def _flag(given: object, what: str) -> bool:
    if not isinstance(given, bool):
        raise BadRequestError(f"'{what}' is neither true nor false.")
    return given


def _content(params: dict[str, Any]) -> None:
    kind = params.pop("content_type", None)
    if kind is not None and (not isinstance(kind, str) or kind not in CONTENT):
        raise BadRequestError(f"'content_type' may be {', '.join(sorted(CONTENT))}.")


def _outputs(columns: tuple[str, ...], given: object, *, every: bool) -> list[tuple[int, bool]]:
    """The wanted outputs; all of them where none is named."""
    found: dict[int, bool] = {}
    for each in listed(given, "outputs") if given is not None else ():
        if not isinstance(each, dict) or each.get("name") not in columns:
            raise BadRequestError("'outputs' names a tensor that this model does not give.")
        output = _object(each, "an output", OF_OUTPUTS)
        place = columns.index(output["name"])
        if place in found:
            raise BadRequestError("'outputs' names a tensor twice.")
        found[place] = every
        if output.get("parameters") is not None:
            what = f"the parameters of output {named(output['name'])}"
            params = _object(output["parameters"], what, ("binary_data", "content_type"))
            found[place] = _flag(params.get("binary_data", every), "binary_data")
            _content(dict(params))
    return list(found.items()) if found else [(place, every) for place in range(len(columns))]


def _tensor(serving: Serving, given: object, binary: _Binary | None) -> _Tensor:
    if not isinstance(given, dict):
        raise BadRequestError("a tensor is no object.")
    tensor = cast("dict[str, Any]", given)
    name = tensor.get("name")
    if not isinstance(name, str):
        raise BadRequestError("a tensor has no name.")
    if stray := [each for each in tensor if each not in OF_TENSORS]:
        raise BadRequestError(f"tensor {named(name)}: unexpected {named(stray[0])}.")
    datatype = tensor.get("datatype")
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise BadRequestError(f"tensor {named(name)}: no datatype of the protocol.")
    shape = listed(tensor.get("shape"), f"the shape of tensor {named(name)}")
    if not 1 <= len(shape) <= 2 or not all(type(each) is int and 0 <= each < 2**31 for each in shape):
        raise BadRequestError(f"tensor {named(name)}: its shape must be [n] or [n, k].")
    count, width = (shape[0], 1) if len(shape) == 1 else (shape[0] * shape[1], shape[1] or 1)
    if tensor.get("parameters") is not None:
        params = dict(_object(tensor["parameters"], f"the parameters of tensor {named(name)}", OF_PARAMETERS))
        _content(params)
        if "binary_data_size" in params:
            if binary is None or "data" in tensor:
                raise BadRequestError(f"tensor {named(name)} has no binary data, or another one beside it.")
            raw = binary.take(params["binary_data_size"], name)
            check_size(name, datatype, raw, count)
            _check_rows(serving, name, shape)
            return _Tensor(name, shape, from_binary(name, datatype, raw, count, width))
    data = listed(tensor.get("data"), f"the data of tensor {named(name)}")
    if data and type(data[0]) is list:  # nested, row by row
        if any(type(row) is not list or len(row) != width for row in data):
            raise BadRequestError(f"tensor {named(name)}: its data is not of its shape.")
        data = [value for row in data for value in row]
    if len(data) != count:
        raise BadRequestError(f"tensor {named(name)} has {len(data)} values, which its shape has not.")
    return _Tensor(name, shape, from_json(name, datatype, data, width))


OF_PARAMETERS = ("binary_data_size", "content_type")


def _check_rows(serving: Serving, name: str, shape: list[int]) -> None:
    """Before bytes become Python's values, which take many times their size."""
    most = serving.manifest.serve.max_rows
    if shape[0] > most:
        raise RefusedRequestError(413, f"a request may have {most} rows.")
    if len(shape) == 2 and shape[1] > max(serving.codec.width, 1):
        raise BadRequestError(
            f"tensor {named(name)} has {shape[1]} columns; this model has {serving.codec.width} inputs."
        )


def _rows(serving: Serving, tensors: list[_Tensor]) -> list[Row]:
    codec = serving.codec
    if len(tensors) == 1 and tensors[0].name not in codec.names:
        return codec.check(_matrix(*tensors[0]))
    names = [each.name for each in tensors]
    if len(set(names)) < len(names):
        raise BadRequestError("a tensor is there twice.")
    return codec.check(codec.columns({each.name: _column(*each) for each in tensors}))


def _matrix(name: str, shape: list[int], data: list[Any]) -> list[Row]:
    if len(shape) != 2:
        raise BadRequestError(f"tensor {named(name)} is no input of this model.")
    width = shape[1]
    return [data[start : start + width] for start in range(0, len(data), width)] if width else []


def _column(name: str, shape: list[int], data: list[Any]) -> list[Any]:
    if len(shape) == 2 and shape[1] != 1:
        raise BadRequestError(f"tensor {named(name)} has the shape of several columns.")
    return data


def _write(part: RequestPart, inference: Inference, number: str) -> Answer:
    """The wanted outputs as tensors."""
    serving = part.serving
    columns: list[tuple[Any, ...]] = list(zip(*part.answers, strict=True))
    outputs: list[dict[str, Any]] = []
    behind: list[bytes] = []
    for place, binary in inference.outputs:
        values = columns[place]
        if set(map(type, values)) == FLOAT:
            shape, datatype, data = [len(values)], "FP64", values
        else:
            shape, datatype, data = _typed(values, _declared(serving, place))
        output: dict[str, Any] = {"name": serving.columns[place], "shape": shape, "datatype": datatype}
        if binary:
            behind.append(to_binary(datatype, data))
            output["parameters"] = {"binary_data_size": len(behind[-1])}
        else:
            output["data"] = data
        outputs.append(output)
    body = orjson.dumps(
        {
            "model_name": serving.manifest.model,
            "model_version": str(serving.served.version),
            "id": inference.id or number,
            "outputs": outputs,
        }
    )
    if not behind:
        return Answer(200, body, JSON)
    return Answer(200, b"".join([body, *behind]), OCTETS, b"%b: %d\r\n" % (HEADER, len(body)))


def _typed(values: Sequence[Any], declared: str | None = None) -> tuple[list[int], str, list[Any]]:
    """Values of an output as a tensor: its shape, its datatype, its data row by row.

    Args:
        declared: the datatype that the metadata names, for values that would do for another one too.
    """
    shape, flat = [len(values)], list(values)
    while flat and all(type(each) is list and len(each) == len(flat[0]) for each in flat):
        shape.append(len(flat[0]))
        flat = [value for each in flat for value in each]
    kinds = set(map(type, flat))
    if kinds <= {bool} and declared in ("BOOL", None):
        return shape, "BOOL", flat
    if kinds <= {bool, int} and declared in ("INT64", "BOOL", None) and all(-(2**63) <= each < 2**63 for each in flat):
        return shape, "INT64", [int(each) for each in flat]
    if kinds <= {bool, int, float, type(None)} and (declared != "BYTES" or kinds & {bool, int, float}):
        return shape, "FP64", [None if each is None else float(each) for each in flat]
    return shape, "BYTES", [each if each is None or type(each) is str else orjson.dumps(each).decode() for each in flat]


def _declared(serving: Serving, place: int) -> str:
    name = serving.columns[place]
    if name == "probability" or name.startswith("probability_") or not serving.sample:
        return "FP64"
    return _typed([serving.sample[place]])[1]


def _model(serving: Serving) -> dict[str, Any]:
    """`GET /v2/models/<name>`."""
    types = {"number": "FP64"}
    return {
        "name": serving.manifest.model,
        "versions": [serving.number],
        "platform": f"headrace_{serving.predictor.tier}",
        "inputs": [
            {"name": name, "datatype": types.get(kind, "BYTES"), "shape": [-1]}
            for name, kind in zip(serving.codec.names, serving.codec.kinds, strict=True)
        ],
        "outputs": [
            {"name": name, "datatype": _declared(serving, place), "shape": [-1, *_inner(serving, place)]}
            for place, name in enumerate(serving.columns)
        ],
    }


def _inner(serving: Serving, place: int) -> list[int]:
    return _typed([serving.sample[place]])[0][1:] if serving.sample else []


V2 = OpenInferenceV2()
