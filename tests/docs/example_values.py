"""What the examples of docstrings find under a name that they do not make themselves; each example says what it is."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

import headrace as hr
from headrace.core.events import Event
from headrace.deployment.comparison import ComparedRows
from headrace.deployment.gates.evidence import Evidence, HeldOutRows
from headrace.deployment.serving_bundle import Staged
from headrace.features.plan import Feature, FeaturePlan, Input
from headrace.registry.records import Version
from headrace.serving.codec import Codec
from headrace.serving.manifest import Manifest, Served, ServedSplit
from headrace.serving.traffic import ServedTraffic
from headrace.serving.version import Serving
from headrace.training.splits.base import SplitRows

NOW = datetime(2013, 5, 11, tzinfo=UTC)
COLUMNS = {"distance": "number", "airline": "string"}
PLAN = FeaturePlan(
    spine="silver.flights",
    at="predict_at",
    keys=("flight_id",),
    key_types=("string",),
    inputs=tuple(Input(name=name, kind=kind, origin="spine") for name, kind in COLUMNS.items()),
    features=tuple(Feature(name=name, kind=kind, origin="spine", optional=False) for name, kind in COLUMNS.items()),
    lookups=(),
    calls=(),
)


def event():
    """An alert that opened."""
    return Event(id=7, name="alert.opened", subject="late_arrival/1", payload={}, at=NOW)


def rows():
    """The labelled decisions on ten orders, one a day."""
    return SplitRows(
        at=pd.Series(pd.date_range("2013-05-01 12:00", periods=10, tz="UTC")),
        keys=pd.DataFrame({"order_id": range(1, 11)}),
        labels=pd.Series([False, True] * 4 + [False, False]),
        columns=pd.DataFrame(
            {"customer": (["ann", "bob", "cem", "dee"] * 3)[:10], "part": ["train"] * 6 + ["test"] * 4}
        ),
        as_of=NOW,
    )


def _version(number):
    return Version(
        model="late_arrival",
        version=number,
        stage="None",
        step_key=f"step-{number}",
        run_id=f"run-{number}",
        model_uri=f"models:/late_arrival/{number}",
        artifact_hash="",
        logged_hash="",
        code="",
        inputs={"silver.flights": 1, "gold.arrivals": 1},
        training_set=1,
        params={},
        fit_from="2013-01-01T00:00:00+00:00",
        fit_to="2013-04-01T00:00:00+00:00",
        as_of="2013-05-01T00:00:00+00:00",
        metrics={"roc_auc": 0.735, "brier": 0.168},
        alert=None,
        created=NOW,
    )


def evidence():
    """Of version 2 of a model, beside version 1: everything that gates of any phase read."""
    flights = hr.Table("silver.flights", key="flight_id", sql="SELECT * FROM bronze.flights")
    arrivals = hr.Table("gold.arrivals", key="flight_id", time="landed_at", sql="SELECT * FROM bronze.arrivals")
    model = hr.Model(
        "late_arrival",
        description="Whether a flight arrives late.",
        task=hr.Binary(label=arrivals["late"]),
        spine=flights.at("predict_at"),
        features=[flights.select(*COLUMNS)],
    )
    number = np.arange(600)
    late = pd.Series((number % 3 == 0).astype(float))
    tested = pd.DataFrame(
        {"flight_id": number, "distance": 200.0 + number, "airline": np.where(number < 300, "AA", "UA")}
    )
    chance = pd.Series(number * 7919 % 1000 / 1000)
    challenger = pd.DataFrame({"probability": 0.1 + 0.19 * late + 0.7 * chance + 0.02 * (number < 300)})
    champion = pd.DataFrame({"probability": 0.1 + 0.16 * late + 0.7 * chance})
    return Evidence(
        model=model,
        version=_version(2),
        plan=PLAN,
        descriptions={"silver.flights": "One row a flight.", "gold.arrivals": ""},
        champion=_version(1),
        staged=Staged(
            folder=Path("copy"), copy_hash="", plan=PLAN, signature_inputs=tuple(COLUMNS), samples=200, mismatches=0
        ),
        compared=ComparedRows(rows=tested, labels=late, champion=champion, challenger=challenger, since=NOW, until=NOW),
        load_held_out=lambda: HeldOutRows(rows=tested, labels=late, outputs=challenger),
    )


def traffic():
    """Version 1, and version 2 as a candidate with a quarter of the customers. They read rows, and predict nothing."""
    served = tuple(
        Served(version=number, artifact_hash="", logged_hash="", copy_hash="", folder="", promoted_at="", role=role)
        for number, role in ((1, "primary"), (2, "candidate"))
    )
    split = ServedSplit(id="change-1", salt="pepper", by=("customer",))
    manifest = Manifest(model="late_arrival", versions=served, split=split, serve=hr.Serve(), online="", spool="")
    primary, candidate = (
        Serving(
            manifest=manifest,
            served=each,
            plan=PLAN,
            codec=Codec(PLAN.inputs),
            predictor=None,
            features=None,
            columns=("probability",),
            full=frozenset(COLUMNS),
            takes=frozenset(COLUMNS),
            sample=(0.83,),
            call=0.0,
            row=0.0,
            slower=(),
        )
        for each in served
    )
    return ServedTraffic(manifest=manifest, primary=primary, candidates=((0.25, candidate),))


def request():
    """A POST of two flights."""
    return hr.protocols.Request("POST", "/rows", "", {}, json.dumps([[1400.0, "AA"], [230.0, "UA"]]).encode())


VALUES = {each.__name__: each for each in (event, rows, evidence, traffic, request)}
