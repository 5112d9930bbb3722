"""A registry with three versions, and a lakehouse with what servers count and log."""

import json
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from tests.registry.conftest import empty_store, registry  # noqa: F401

import headrace as hr
from headrace.inference.inference_record import COLUMNS
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.lakehouse.writes import Append
from headrace.llm.feedback.table import SCHEMA as SAID
from headrace.serving.metrics import BUCKETS

ORDERS = hr.Table("shop.orders", key="id", sql="select 1")
LABELS = hr.Table("shop.labels", key="id", time="known_at", sql="select 1")
MODEL = hr.Model(
    "days",
    fit=lambda data, params: None,
    task=hr.Binary(label=LABELS["late"]),
    spine=ORDERS.at("placed_at"),
    features=[ORDERS.select("amount")],
    evaluate=hr.Evaluate(metrics=["roc_auc", "brier"]),
)
COUNTS = pa.schema(
    [
        ("at", pa.timestamp("us", "UTC")),
        ("server", pa.string()),
        ("model", pa.string()),
        ("model_version", pa.int64()),
        ("role", pa.string()),
        ("split", pa.string()),
        ("status", pa.int64()),
        ("requests", pa.int64()),
        ("rows", pa.int64()),
        ("seconds", pa.float64()),
        ("buckets", pa.list_(pa.int64())),
    ]
)
NOW = datetime.now(UTC)


class World:
    """What happens online, written as servers write it."""

    def __init__(self, lakehouse):
        self.lakehouse = lakehouse
        self.commits = 0

    def commit(self, name, rows):
        self.commits += 1
        self.lakehouse.commit(name, f"{name} {self.commits}", lambda _: Append(rows))

    def count(self, version, role, split, requests, *, errors=0, quick=0.001, slow=0, model="days", at=None):
        """One interval of a server: requests that took `quick` seconds, of which some failed, and some took 0.4 s."""
        for status, number in ((200, requests - errors), (500, errors)):
            buckets = [0] * (len(BUCKETS) + 1)
            buckets[BUCKETS.index(quick)] = number
            if status == 200:
                buckets[BUCKETS.index(quick)] -= slow
                buckets[BUCKETS.index(0.5)] += slow
            row = {
                "at": at or datetime.now(UTC) + timedelta(seconds=1),
                "server": "a",
                "model": model,
                "model_version": version,
                "role": role,
                "split": split,
                "status": status,
                "requests": number,
                "rows": number,
                "seconds": quick * number,
                "buckets": buckets,
            }
            self.commit("metrics.serving", pa.Table.from_pylist([row], schema=COUNTS))

    def answer(self, version, role, split, ids, probabilities, *, customers=None, asked=None):
        """Rows of the inference table."""
        asked = asked or datetime.now(UTC)
        schema = pa.schema([*COLUMNS.items(), ("probability", pa.float64())])
        rows = [
            {
                "request_id": f"{version} {number}",
                "row": 0,
                "prediction_id": f"{version} {role} {number}",
                "requested_at": asked,
                "decision_time": asked - timedelta(seconds=1),
                "model": "days",
                "model_version": version,
                "path": "/predict",
                "keys": json.dumps({"id": number}),
                "inputs": json.dumps({"customer": customer, "amount": 1.5}),
                "outputs": "{}",
                "probability": None if probability is None else float(probability),
                "role": role,
                "split": split,
            }
            for number, probability, customer in zip(ids, probabilities, customers or ids, strict=True)
        ]
        self.commit("inference.days", pa.Table.from_pylist(rows, schema=schema))

    def say(self, version, role, ids, values, *, kind="thumbs", users=None, at=None):
        """Feedback on those answers, of one person each unless users are named."""
        at = at or datetime.now(UTC)
        rows = [
            {
                "feedback_id": f"{version} {role} {number} {kind} {user} {at.isoformat()}",
                "prediction_id": f"{version} {role} {number}",
                "model": "days",
                "kind": kind,
                "value": None if value is None else float(value),
                "text": "right" if value is None else None,
                "user": user,
                "source": "api",
                "at": at,
                "ingested_at": at,
            }
            for number, value, user in zip(ids, values, users or map(str, ids), strict=True)
        ]
        self.commit("metrics.feedback", pa.Table.from_pylist(rows, schema=SAID))

    def label(self, ids, labels):
        """Labels that have just become known."""
        rows = {
            "id": pa.array(ids, pa.int64()),
            "known_at": pa.array([datetime.now(UTC)] * len(ids), pa.timestamp("us", "UTC")),
            "late": pa.array([int(each) for each in labels], pa.int64()),
        }
        self.commit("shop.labels", pa.table(rows))


@pytest.fixture
def world(tmp_path):
    return World(Lakehouse("dev", str(tmp_path / "lakehouse")))
