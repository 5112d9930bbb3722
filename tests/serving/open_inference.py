"""What Open Inference, version 2, says of requests and answers over HTTP, transcribed as JSON schemas.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

TEXT, TEXTS = {"type": "string"}, {"type": "array", "items": {"type": "string"}}
SHAPE = {"type": "array", "items": {"type": "integer"}}
DATA = {"type": "array", "items": {"type": ["array", "number", "string", "boolean", "null"]}}


def _answer(needed, **more):
    return {"type": "object", "required": list(needed), "properties": {**needed, **more}}


TENSOR = _answer({"name": TEXT, "datatype": TEXT, "shape": SHAPE})
OUTPUT = _answer({"name": TEXT, "datatype": TEXT, "shape": SHAPE, "data": DATA}, parameters={"type": "object"})
INPUT = OUTPUT  # a tensor of a request is described as one of an answer
ASKED = _answer({"name": TEXT}, parameters={"type": "object"})
TENSORS, OUTPUTS = ({"type": "array", "items": each} for each in (TENSOR, OUTPUT))
SCHEMAS = {
    "metadata_server_response": _answer({"name": TEXT, "version": TEXT, "extensions": TEXTS}),
    "metadata_model_response": _answer(
        {"name": TEXT, "platform": TEXT}, versions=TEXTS, inputs=TENSORS, outputs=TENSORS
    ),
    "inference_request": _answer(
        {"inputs": {"type": "array", "items": INPUT}}, id=TEXT, outputs={"type": "array", "items": ASKED}
    ),
    "inference_response": _answer({"model_name": TEXT, "outputs": OUTPUTS}, model_version=TEXT, id=TEXT),
    "inference_error_response": _answer({"error": TEXT}),
}
