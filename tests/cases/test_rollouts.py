"""A rollout over decisions whose key holds a timestamp, asked by callers of whom 40 % name no customer; version 2 answers 1 - p."""

import csv
from collections import Counter

from tests.serving.conftest import serving


def test_a_version_that_is_worse_is_stopped_by_its_labels_and_guests_do_not_follow_one_coin(case):
    found = case("rollout_timestamp_key")
    days = ("2024-03-01", "2024-03-10")
    found.run("refresh", *(f"{step} --as-of {day}" for day in days for step in ("train", "deploy")))
    home = next((found.folder / ".headrace" / "dev").rglob("serving.json")).parent
    with (found.folder / "o.csv").open() as opened:
        rows = list(csv.DictReader(opened))[3000:3900]
    answered = {False: Counter(), True: Counter()}
    with serving(home) as server:
        for row in rows:
            asked = {name: row[name] for name in ("station", "slot", "ts")}
            asked |= {name: float(row[name]) for name in ("x", "z")} | {"customer": row["customer"] or None}
            status, answer, _ = server.ask("/predict", {"rows": [asked]})
            assert status == 200, answer
            answered[bool(row["customer"])][answer["predictions"][0]["version"]] += 1
        assert server.end()[0] == 0
    guests, customers = answered[False], answered[True]
    assert 300 < guests.total() < 450
    assert abs(guests[2] / guests.total() - 0.5) < 0.13, answered
    assert abs(customers[2] / customers.total() - 0.5) < 0.13, answered

    found.run("ingest-log")
    shown = found.headrace.run(found.folder, "traffic", "show", "m", "--json").json()
    known = {each["version"]: each for each in shown["compared"] if each["metric"] == "roc_auc"}
    assert known[1]["labelled"] + known[2]["labelled"] == 900
    assert known[2]["value"] < 0.2 < 0.8 < known[1]["value"]
    (ratio,) = shown["sample_ratio"]
    assert not ratio["off"]
    assert ratio["entities"] > guests.total()

    stopped = found.headrace.run(found.folder, "traffic", "reconcile")
    assert "roc_auc worse by 0.02" in stopped.stderr
    after = found.headrace.run(found.folder, "traffic", "history", "m", "--json").json()
    assert [rollout["status"] for rollout in after["rollouts"]] == ["stopped"]
