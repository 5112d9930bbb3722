"""Recent keys save the look into the table, and never a row: whoever else writes, and in whatever order moments come."""

import random
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from headrace.core.errors import MovedError
from headrace.inference.streaming.sinks import recent_keys
from headrace.inference.streaming.sinks.base import PREDICTION
from headrace.inference.streaming.sinks.delta import DeltaSink
from headrace.inference.streaming.sinks.recent_keys import RecentKeys
from headrace.lakehouse.lakehouse import Lakehouse

START = datetime(2024, 1, 1, tzinfo=UTC)


def rows(numbers, value):
    """A decision each, whose moment follows from its number."""
    return pa.table(
        {
            "prediction_id": [f"p{each}" for each in numbers],
            "decision_time": pa.array([START + timedelta(hours=each) for each in numbers], pa.timestamp("us", "UTC")),
            "prediction": pa.array([float(value)] * len(numbers), pa.float64()),
        }
    )


def opened(lake):
    return DeltaSink(lake, "gold.m", stream="stream m", key=PREDICTION, within="decision_time")


def there(lake):
    return {row["prediction_id"]: row["prediction"] for row in lake.snapshot("gold.m").to_arrow().to_pylist()}


@pytest.mark.parametrize("pending", [0, 7, 10_000])
def test_a_key_that_was_added_is_never_denied(monkeypatch, pending):
    monkeypatch.setattr(recent_keys, "PENDING", pending)
    draw = random.Random(pending)
    known = {f"p{draw.randrange(10**6)}" for _ in range(50)}
    keys = RecentKeys()
    keys.begin("t", 4, START, sorted(known))
    for version in range(5, 60):
        asked = [f"p{draw.randrange(10**6)}" for _ in range(20)]
        assert keys.none_of(asked) == known.isdisjoint(asked)
        assert not keys.none_of([*asked, draw.choice(sorted(known))])
        keys.add(version, asked)
        known.update(asked)
        assert all(not keys.none_of([each]) for each in known)
    assert keys.covers("t", 59, START)
    assert not keys.covers("t", 58, START)
    assert not keys.covers("u", 59, START)
    assert not keys.covers("t", 59, START - timedelta(microseconds=1))


def test_too_many_are_forgotten(monkeypatch):
    monkeypatch.setattr(recent_keys, "PENDING", 3)
    monkeypatch.setattr(recent_keys, "MOST", 10)
    keys = RecentKeys()
    keys.begin("t", 1, 0, list(range(8)))
    keys.add(2, [20, 21])
    assert keys.covers("t", 2, 0)
    keys.add(3, [22, 23, 24])
    assert not keys.covers("t", 3, 0)


@pytest.mark.parametrize("seed", range(3))
def test_each_decision_is_one_row_whoever_writes_meanwhile(tmp_path, monkeypatch, seed):
    """Two workers with a partition each, one that comes and goes, repeats near and far, and files that are compacted."""
    monkeypatch.setattr("headrace.inference.streaming.sinks.delta.COMPACT", 6)
    monkeypatch.setattr("headrace.inference.streaming.sinks.delta.ASK", 3)
    draw = random.Random(seed)
    lake = Lakehouse("dev", str(tmp_path))
    sinks, ends, expected = [opened(lake), opened(lake)], [0, 0], {}
    for number in range(24):
        who = 0 if draw.random() < 0.7 else 1
        if draw.random() < 0.1:
            sinks[who] = opened(lake)
        around = draw.choice([number * 10, number * 10, draw.randrange(0, 250)])
        given = [around + draw.randrange(12) for _ in range(draw.randrange(1, 6))]
        ends[who] += len(given)
        sinks[who].write(rows(given, number), {who: ends[who]})
        expected |= {f"p{each}": float(number) for each in given}
        found = lake.snapshot("gold.m")
        assert found.rows() == len(expected)
    assert there(lake) == expected


def test_a_sink_that_writes_alone_reads_the_keys_once(tmp_path, monkeypatch):
    lake = Lakehouse("dev", str(tmp_path))
    asked = []
    connect = Lakehouse.connect
    monkeypatch.setattr(Lakehouse, "connect", lambda *args, **more: asked.append(args[1]) or connect(*args, **more))
    sink = opened(lake)
    for number in range(8):
        sink.write(rows([3 * number, 3 * number + 1], 1), {0: number + 1})
    assert len(asked) == 1
    sink.write(rows([22, 90], 2), {0: 9})  # one of them is there
    assert len(asked) > 1
    assert there(lake)["p22"] == 2.0


def test_after_another_worker_wrote_its_keys_are_known_too(tmp_path):
    lake = Lakehouse("dev", str(tmp_path))
    sink, other = opened(lake), opened(lake)
    for number in range(3):
        sink.write(rows([number], 1), {0: number + 1})
    other.write(rows([50], 1), {1: 1})
    sink.write(rows([50, 51], 2), {0: 4})
    sink.write(rows([51, 50], 3), {0: 5})
    assert there(lake) == {"p0": 1.0, "p1": 1.0, "p2": 1.0, "p50": 3.0, "p51": 3.0}
    late = opened(lake)
    late.positions([0])
    sink.write(rows([52], 3), {0: 6})
    with pytest.raises(MovedError):
        late.write(rows([53], 4), {0: 7})
    assert "p53" not in there(lake)
