"""`headrace run stream`, against a real broker and real tables."""

import json

import pytest

from headrace.lakehouse.lakehouse import Lakehouse

from .conftest import ride


def lake(folder):
    return Lakehouse("dev", str(folder / ".headrace" / "dev" / "lakehouse"))


def rows(folder, table):
    return lake(folder).snapshot(table).to_arrow().to_pylist()


def kafka(topic, into='"gold.minutes"', more=""):
    return f'source=hr.kafka("{topic}"), into={into}{more}'


def test_messages_are_scored_as_batch_scoring_scores_them(headrace, project, broker):
    topic = broker.topic(4)
    folder = project(kafka(topic))
    decisions = rows(folder, "city.asked")[:100]
    values = [json.dumps({**each, "asked_at": each["asked_at"].isoformat()}).encode() for each in decisions]
    broker.send(topic, values, partitions=4)
    done = headrace.run(folder, "run", "stream", "--once", "--json")
    assert done.code == 0, done.stderr
    assert done.json() == {
        "model": "minutes",
        "version": 1,
        "batches": done.json()["batches"],
        "messages": 100,
        "predictions": 100,
        "dead_letters": 0,
        "rewinds": 0,
        "lag": 0,
    }
    print(done.stderr)
