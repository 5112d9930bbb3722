"""Open Inference Protocol, version 2: `POST /v2/models/<name>/infer` and what servers tell of a model.

One tensor for each input, `[n]` or `[n, 1]`; or, where all inputs are numbers, one tensor `[n, inputs]` of any name. The
outputs are tensors `[n]`. https://github.com/kserve/open-inference-protocol
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import orjson

from headrace.serving.codec import BadRequestError, document, listed, named

if TYPE_CHECKING:
    from headrace.serving.connection import Request
    from headrace.serving.predictors import Row
    from headrace.serving.protocols.asked import Part
    from headrace.serving.version import Serving

NUMBERS = {"FP16", "FP32", "FP64", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"}
DATATYPES = {*NUMBERS, "BOOL", "BYTES"}
TAKEN = {"id", "inputs", "outputs", "parameters"}
OF_TENSORS = {"name", "shape", "datatype", "data", "parameters"}


def read(serving: Serving, request: Request) -> tuple[str | None, list[Row]]:
    """The caller's id of the request, and its rows, checked, in the order of the version's inputs.

    Raises:
        BadRequestError: says what is wrong, with the tensor, or the row and the column.
    """
    if b"inference-header-content-length" in request.headers:
        raise BadRequestError("tensors come as JSON here, not as binary data.")
    asked = document(request.body)
    if stray := [name for name in asked if name not in TAKEN]:
        raise BadRequestError(f"unexpected {named(stray[0])} in the body.")
    number = asked.get("id")
    if number is not None and not isinstance(number, str):
        raise BadRequestError("'id' is no text.")
    _wanted(serving, asked.get("outputs"))
    tensors = [_tensor(each) for each in listed(asked.get("inputs"), "inputs")]
    codec = serving.codec
    if len(tensors) == 1 and tensors[0][0] not in codec.names:
        return number, codec.check(_matrix(*tensors[0]))
    names = [name for name, _, _ in tensors]
    if len(set(names)) < len(names):
        raise BadRequestError("a tensor is there twice.")
    return number, codec.check(codec.columns({name: _column(name, shape, data) for name, shape, data in tensors}))


def _wanted(serving: Serving, outputs: object) -> None:
    for each in listed(outputs, "outputs") if outputs is not None else ():
        if not isinstance(each, dict) or each.get("name") not in serving.columns:
            raise BadRequestError("'outputs' names a tensor that this model does not give.")


def _tensor(given: object) -> tuple[str, list[int], list[Any]]:
    if not isinstance(given, dict):
        raise BadRequestError("a tensor is no object.")
    tensor = cast("dict[str, Any]", given)
    name = tensor.get("name")
    if not isinstance(name, str):
        raise BadRequestError("a tensor has no name.")
    if stray := [each for each in tensor if each not in OF_TENSORS]:
        raise BadRequestError(f"tensor {named(name)}: unexpected {named(stray[0])}.")
    if not isinstance(tensor.get("datatype"), str) or tensor["datatype"] not in DATATYPES:
        raise BadRequestError(f"tensor {named(name)}: no datatype of the protocol.")
    shape = listed(tensor.get("shape"), f"the shape of tensor {named(name)}")
    if not 1 <= len(shape) <= 2 or not all(type(each) is int and 0 <= each < 2**31 for each in shape):
        raise BadRequestError(f"tensor {named(name)}: its shape must be [n] or [n, k].")
    data = listed(tensor.get("data"), f"the data of tensor {named(name)}")
    if data and type(data[0]) is list:  # nested, row by row
        width = shape[1] if len(shape) == 2 else 1
        if any(type(row) is not list or len(row) != width for row in data):
            raise BadRequestError(f"tensor {named(name)}: its data is not of its shape.")
        data = [value for row in data for value in row]
    if len(data) != (shape[0] if len(shape) == 1 else shape[0] * shape[1]):
        raise BadRequestError(f"tensor {named(name)} has {len(data)} values, which its shape has not.")
    return name, shape, data


def _matrix(name: str, shape: list[int], data: list[Any]) -> list[Row]:
    if len(shape) != 2:
        raise BadRequestError(f"tensor {named(name)} is no input of this model.")
    width = shape[1]
    return [data[start : start + width] for start in range(0, len(data), width)] if width else []


def _column(name: str, shape: list[int], data: list[Any]) -> list[Any]:
    if len(shape) == 2 and shape[1] != 1:
        raise BadRequestError(f"tensor {named(name)} has the shape of several columns.")
    return data


def write(part: Part, number: str) -> bytes:
    """The outputs as tensors."""
    serving = part.serving
    columns: list[tuple[Any, ...]] = list(zip(*part.answers, strict=True))
    return orjson.dumps(
        {
            "model_name": serving.manifest.model,
            "model_version": str(serving.served.version),
            "id": number,
            "outputs": [
                {"name": name, "shape": [len(values)], "datatype": _datatype(values), "data": values}
                for name, values in zip(serving.columns, columns, strict=True)
            ],
        }
    )


def _datatype(values: tuple[Any, ...]) -> str:
    kinds = set(map(type, values))
    if kinds <= {bool}:
        return "BOOL"
    return "INT64" if kinds <= {int} else "FP64" if kinds <= {int, float} else "BYTES"


def server(version: str) -> dict[str, Any]:
    """`GET /v2`."""
    return {"name": "headrace", "version": version, "extensions": []}


def model(serving: Serving, versions: list[str]) -> dict[str, Any]:
    """`GET /v2/models/<name>`."""
    types = {"number": "FP64"}
    outputs = {"probability": "FP64"} | {name: "FP64" for name in serving.columns if name.startswith("probability_")}
    return {
        "name": serving.manifest.model,
        "versions": versions,
        "platform": f"headrace_{serving.predictor.tier}",
        "inputs": [
            {"name": name, "datatype": types.get(kind, "BYTES"), "shape": [-1]}
            for name, kind in zip(serving.codec.names, serving.codec.kinds, strict=True)
        ],
        "outputs": [
            {"name": name, "datatype": outputs.get(name, _sampled(serving, place)), "shape": [-1]}
            for place, name in enumerate(serving.columns)
        ],
    }


def _sampled(serving: Serving, place: int) -> str:
    return _datatype((serving.sample[place],)) if serving.sample else "FP64"
