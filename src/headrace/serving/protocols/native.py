"""`POST /predict`: decisions by their keys, with features from the online store; or full rows with keys.

    {"rows": [{"order": 7, "shop": "AA", …}], "features": true}

A row with every input of the model is used unchanged; other rows are completed by look-ups.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

import orjson

from headrace.core.clock import now
from headrace.core.errors import DataError
from headrace.features.keys import moment, typed_all
from headrace.serving.codec import BadRequestError, document, listed, named
from headrace.serving.messages import Answer
from headrace.serving.openapi_parts import (
    KINDS,
    TIME,
    answers,
    asks,
    failure,
    key_schema,
    kinds_of,
    list_of,
    object_of,
    outputs_of,
)
from headrace.serving.predictors import ChainPredictor
from headrace.serving.protocols.base import ServingProtocol
from headrace.serving.protocols.prediction_request import RequestPart, decision
from headrace.serving.route import Route
from headrace.serving.traffic import unit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.serving.messages import Request
    from headrace.serving.protocols.prediction_request import Keys, Known
    from headrace.serving.traffic import Assigned, ServedTraffic
    from headrace.serving.version import Serving


class Native(ServingProtocol):
    """See the module."""

    name: ClassVar[str] = "predict"
    routes: ClassVar[tuple[Route, ...]] = (Route(pattern="/predict", predicts=True),)

    def read(self, traffic: ServedTraffic, request: Request, number: str) -> list[RequestPart]:
        """See ServingProtocol."""
        asked = document(request.body)
        if "rows" not in asked or type(asked["rows"]) is not list:
            raise BadRequestError('the body needs one list: {"rows": [{…}]}.')
        if stray := [name for name in asked if name not in ("rows", "features")]:
            raise BadRequestError(f"unexpected {named(stray[0])} in the body.")
        features = asked.get("features", False)
        if type(features) is not bool:
            raise BadRequestError("'features' is neither true nor false.")
        rows = listed(asked["rows"], "rows")
        if not rows:
            raise BadRequestError("there are no rows.")
        keys = [_keys(traffic.primary, place, row) for place, row in enumerate(rows)]
        parts = _parts(traffic, cast("list[Mapping[str, Any]]", rows), keys, number)
        for part in parts:
            part.tells = features
        return parts

    def write(self, traffic: ServedTraffic, parts: list[RequestPart], number: str) -> Answer:
        """The predictions in the order of the rows. Where versions share the traffic, each says which one answered it."""
        said: list[dict[str, Any]] = []
        for part in parts:
            columns, version = part.serving.columns, part.serving.served.version
            for place, (each_id, answer) in enumerate(zip(part.ids(number), part.answers, strict=True)):
                each: dict[str, Any] = {"prediction_id": each_id, **dict(zip(columns, answer, strict=True))}
                if traffic.split is not None:
                    each["version"] = version
                if part.tells:
                    each["features"] = dict(zip(part.serving.codec.names, part.rows[place], strict=True))
                    if part.fresh is not None:
                        each["fresh"] = part.fresh[place]
                said.append(each)
        if len(parts) > 1:
            order = [at for part in parts for at in part.places or ()]
            said = [each for _, each in sorted(zip(order, said, strict=True), key=lambda pair: pair[0])]
        versions = [part.serving.served.version for part in parts]
        manifest = traffic.manifest
        version = versions[0] if len(versions) == 1 else manifest.primary.version
        return Answer(200, orjson.dumps({"model": manifest.model, "version": version, "predictions": said}))

    def openapi(self, traffic: ServedTraffic) -> dict[str, Any]:
        """See ServingProtocol."""
        serving, model = traffic.primary, traffic.manifest.model
        kinds, chain = kinds_of(serving), isinstance(serving.predictor, ChainPredictor)
        asked = object_of(
            {name: KINDS.get(kinds.get(name, ""), {}) for name in sorted(serving.takes)}
            | {name: key_schema(kind) for name, kind in serving.plan.key_columns}
            | {serving.plan.at: TIME},
            required=sorted(serving.full) if chain else list(serving.features.needed),
        )
        prediction = object_of(
            {
                "prediction_id": {"type": "string"},
                **outputs_of(serving)["properties"],
                "version": {"type": "integer"},
                "features": {"type": "object"},
                "fresh": {"type": "object", "additionalProperties": TIME},
            },
            required=["prediction_id", *serving.columns],
        )
        body = object_of({"rows": list_of(asked, least=1), "features": {"type": "boolean"}}, required=["rows"])
        operation = asks(
            "Predictions for decisions by their keys; features come from the online store unless they are all given.",
            {"application/json": {"schema": body}},
            answers(
                "The outputs, in the order of the rows.",
                object_of(
                    {"model": {"const": model}, "version": {"type": "integer"}, "predictions": list_of(prediction)}
                ),
            ),
        )
        if traffic.manifest.serve.missing == "refuse":
            operation["responses"]["422"] = failure("A look-up finds nothing for a row's key.")
        return {"/predict": {"post": operation}}


def _keys(serving: Serving, place: int, row: Any) -> Keys:
    """The key of a row, each value as its declared type has it; None where the row does not say it."""
    if type(row) is not dict:
        raise BadRequestError(f"row {place} is no object.")
    try:
        return typed_all(serving.plan.key_columns, cast("dict[str, Any]", row))
    except DataError as error:
        raise BadRequestError(f"row {place}: {error.what}") from None


def _parts(traffic: ServedTraffic, rows: list[Mapping[str, Any]], keys: list[Keys], number: str) -> list[RequestPart]:
    if traffic.split is None:
        return [_part(traffic.primary, rows, keys, None)]
    of_primary = traffic.primary.plan.key_columns
    by, own = traffic.split.by, traffic.primary.plan.keys
    places: dict[int, list[int]] = {}
    servings: dict[int, Serving] = {}
    divided: dict[int, list[Assigned]] = {}
    for place, row in enumerate(rows):
        serving, assigned = traffic.of(unit({**row, **keys[place]}, by, own, f"{number}-{place}"))
        if assigned is not None:
            divided.setdefault(serving.served.version, []).append(assigned)
        servings[serving.served.version] = serving
        places.setdefault(serving.served.version, []).append(place)
    parts: list[RequestPart] = []
    for version, serving in servings.items():
        mine = places[version]
        if serving.plan.key_columns == of_primary:
            known = [keys[at] for at in mine]
        else:  # a candidate that decides by another key
            known = [_keys(serving, at, rows[at]) for at in mine]
        part = _part(serving, [rows[at] for at in mine], known, mine if len(servings) > 1 else None)
        part.divided = divided.get(version)
        parts.append(part)
    return parts


def _part(serving: Serving, rows: list[Mapping[str, Any]], keys: list[Keys], places: list[int] | None) -> RequestPart:
    if not all(serving.full.issubset(row) for row in rows):
        return RequestPart(serving, [], places, asked=rows, keys=keys)
    codec, plan = serving.codec, serving.plan
    known: list[Known] | None = [] if _decides(serving, keys) else None
    for place, row in enumerate(rows):
        for name in row:
            if name not in serving.takes:
                raise BadRequestError(f"row {place}: {named(name)} is not an input of this model.")
        if known is None:
            continue
        try:
            given = row.get(plan.at)
            at = now() if given is None else moment(given, plan.at)
            known.append(decision(serving, keys[place], at))
        except DataError as error:
            raise BadRequestError(f"row {place}: {error.what}") from None
    return RequestPart(serving, codec.check([[row[name] for name in codec.names] for row in rows]), places, known=known)


def _decides(serving: Serving, keys: list[Keys]) -> bool:
    """Whether rows are decisions by their key. A question to a model with `predict=` has none, unless it says one."""
    asks = isinstance(serving.predictor, ChainPredictor)
    return not asks or any(value is not None for key in keys for value in key.values())


NATIVE = Native()
