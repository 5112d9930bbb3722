"""MLflow's scoring server: `POST /invocations` with `dataframe_split`, `dataframe_records`, `inputs`, `instances` or CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

import orjson

from headrace.serving.codec import BadRequestError, document, listed, named
from headrace.serving.content_type import content_type
from headrace.serving.messages import JSON, Answer
from headrace.serving.openapi_parts import KINDS, Schema, answers, asks, kinds_of, list_of, object_of, outputs_of
from headrace.serving.protocols.base import ServingProtocol
from headrace.serving.protocols.prediction_request import RequestPart, params_of
from headrace.serving.route import Route
from headrace.serving.traffic import assigned

if TYPE_CHECKING:
    from headrace.serving.codec import Codec
    from headrace.serving.messages import Request
    from headrace.serving.predictors import Row
    from headrace.serving.traffic import ServedTraffic
    from headrace.serving.version import Serving

FORMATS = ("dataframe_split", "dataframe_records", "inputs", "instances")


class MLflow(ServingProtocol):
    """See the module."""

    name: ClassVar[str] = "mlflow"
    routes: ClassVar[tuple[Route, ...]] = (Route(pattern="/invocations", predicts=True),)
    whole: ClassVar[bool] = True
    consumes: ClassVar[tuple[str, ...]] = ("application/json", "text/csv")

    def read(self, traffic: ServedTraffic, request: Request, number: str) -> list[RequestPart]:
        """See ServingProtocol."""
        serving, divided = assigned(traffic, request, number)
        return [RequestPart(serving, _read(serving, request), divided=divided)]

    def write(self, traffic: ServedTraffic, parts: list[RequestPart], number: str) -> Answer:
        """See ServingProtocol."""
        del traffic, number
        return Answer(200, _body(parts[0]))

    def openapi(self, traffic: ServedTraffic) -> dict[str, Any]:
        """See ServingProtocol."""
        serving = traffic.primary
        kinds = kinds_of(serving)
        row = object_of({name: KINDS[kind] for name, kind in kinds.items()}, required=list(kinds))
        operation = asks(
            "Predictions for full rows, as MLflow's scoring server takes them.",
            {
                "application/json": {"schema": {} if serving.shape == "whole" else _schema(row, list(kinds))},
                "text/csv": {"schema": {"type": "string"}},
            },
            answers("The outputs, in the order of the rows.", object_of({"predictions": _shaped(serving)})),
        )
        return {"/invocations": {"post": operation}}


def _read(serving: Serving, request: Request) -> list[Row]:
    """The rows of a body, checked, in the order of the version's inputs; parameters, where there are any, come last in each."""
    if serving.shape == "whole":
        return [[request.body, request.headers.get(b"content-type", JSON).decode("latin-1")]]
    codec = serving.codec
    if content_type(request.headers, MLflow.consumes) == "text/csv":
        return codec.check(codec.csv(request.body))
    asked = document(request.body)
    if len(asked) == 1 and "dataframe_split" in asked:  # as MLflow's client sends it
        return codec.check(codec.split(asked["dataframe_split"]))
    given = [name for name in FORMATS if name in asked]
    if len(given) != 1:
        raise BadRequestError(f"the body needs exactly one of {', '.join(FORMATS)}.")
    params: dict[str, Any] = {}
    if len(asked) > 1:
        if stray := [name for name in asked if name not in (*given, "params")]:
            raise BadRequestError(f"unexpected {named(stray[0])} in the body.")
        params = params_of(serving, asked["params"])
    rows = _rows(codec, asked, given[0])
    return [[*row, params] for row in rows] if params else rows


def _rows(codec: Codec, asked: dict[str, Any], given: str) -> list[Row]:
    data = asked[given]
    if given == "dataframe_split":
        return codec.check(codec.split(data))
    if given == "inputs" and isinstance(data, dict):
        return codec.check(codec.columns(cast("dict[str, Any]", data)))
    if given == "dataframe_records" or (isinstance(data, list) and data and isinstance(data[0], dict)):
        return codec.check(codec.records(data))
    return codec.check(listed(data, given))


def _body(part: RequestPart) -> bytes:
    """`{"predictions": …}` as MLflow writes what such a model gives, in the order of the rows: `[{output: value}]` for ours."""
    columns, shape = part.serving.columns, part.serving.shape
    if shape == "whole":
        return part.answers[0][0]
    if shape == "values":
        return orjson.dumps({"predictions": [each[0] for each in part.answers]})
    if shape == "lists":
        return orjson.dumps({"predictions": part.answers})
    if shape == "columns":
        lists = zip(*part.answers, strict=True)
        return orjson.dumps({"predictions": dict(zip(columns, lists, strict=True))})
    if len(columns) == 1:
        (name,) = columns
        return orjson.dumps({"predictions": [{name: each[0]} for each in part.answers]})
    return orjson.dumps({"predictions": [dict(zip(columns, each, strict=True)) for each in part.answers]})


def _shaped(serving: Serving) -> Schema:
    """Predictions as MLflow's scoring server writes what such a model gives."""
    if serving.shape == "whole":
        return {}
    outputs = outputs_of(serving)
    values = list(outputs["properties"].values())
    if serving.shape == "columns":
        return object_of({name: list_of(value) for name, value in outputs["properties"].items()})
    if serving.shape == "values":
        return list_of(values[0])
    return list_of(list_of({"anyOf": values}) if serving.shape == "lists" else outputs)


def _schema(row: Schema, names: list[str]) -> Schema:
    properties = list(row["properties"].values())
    values = {
        "type": "array",
        "prefixItems": properties,
        "minItems": len(names),
        "maxItems": len(names),
        "items": False,
    }
    records, rows = list_of(row, least=1), list_of(values, least=1)
    split = object_of({"columns": {"const": names}, "index": {"type": "array"}, "data": rows}, required=["data"])
    columns = object_of({name: list_of(kind, least=1) for name, kind in row["properties"].items()})
    shapes = {
        "dataframe_split": split,
        "dataframe_records": records,
        "instances": {"anyOf": [rows, records]},
        "inputs": {"anyOf": [rows, records, columns]},
    }
    params = {"type": ["object", "null"], "maxProperties": 0}
    return {
        "oneOf": [object_of({name: shape, "params": params}, required=[name]) for name, shape in shapes.items()],
    }


MLFLOW = MLflow()
