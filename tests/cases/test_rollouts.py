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


def test_an_experiment_on_thumbs_ends_with_the_version_that_people_like_in_production(case):
    """Declared, deployed, answered by a server, told by people, and decided by the commands alone."""
    found = case("rollout_timestamp_key")
    program = found.folder / "proj.py"
    program = program if program.exists() else next(found.folder.glob("*.py"))
    text = program.read_text()
    text = text.replace('every="1h"', 'every="1s"').replace(
        'guardrails=[hr.guardrail("roc_auc", worse_by=0.02)]',
        'metric="feedback.thumbs", guardrails=[hr.guardrail("feedback.thumbs", worse_by=0.1)]',
    )
    program.write_text(text.replace("gates=[", 'feedback=hr.Feedback("thumbs"),\n    gates=['))
    days = ("2024-03-01", "2024-03-10")
    found.run("refresh", *(f"{step} --as-of {day}" for day in days for step in ("train", "deploy")))
    home = next((found.folder / ".headrace" / "dev").rglob("serving.json")).parent
    with (found.folder / "o.csv").open() as opened:
        rows = list(csv.DictReader(opened))[3000:3700]
    said = Counter()
    with serving(home) as server:
        for row in rows:
            asked = {name: row[name] for name in ("station", "slot", "ts")}
            asked |= {name: float(row[name]) for name in ("x", "z")} | {"customer": row["customer"] or None}
            status, answer, _ = server.ask("/predict", {"rows": [asked]})
            assert status == 200, answer
            (prediction,) = answer["predictions"]
            version = prediction["version"]
            said[version] += 1
            up = (
                said[version] % 5 != 0 if version == 2 else said[version] % 2 == 0
            )  # 80 % of version 2, 50 % of version 1
            message = {"prediction_id": prediction["prediction_id"], "thumbs": "up" if up else "down"}
            status, told, _ = server.ask("/models/m/feedback", message)
            assert status == 202, told
        assert server.end()[0] == 0
    found.run("ingest-log")

    shown = found.headrace.run(found.folder, "traffic", "show", "m", "--json").json()
    thumbs = {each["version"]: each for each in shown["compared"] if each["metric"] == "feedback.thumbs"}
    assert {version: each["labelled"] for version, each in thumbs.items()} == dict(said)
    assert (round(thumbs[1]["value"], 1), round(thumbs[2]["value"], 1)) == (0.5, 0.8)
    assert thumbs[2]["low"] < thumbs[2]["value"] < thumbs[2]["high"]
    assert thumbs[2]["p_value"] < 0.05
    outcome = shown["outcome"]
    assert (outcome["winner"], outcome["requests"], outcome["metric"]) == (2, 700, "feedback.thumbs")
    text = found.headrace.run(found.folder, "traffic", "show", "m").stdout
    assert "version 2 wins" in text

    done = found.headrace.run(found.folder, "traffic", "reconcile")
    assert "m version 2 is in Production: feedback.thumbs is 0.8" in done.stdout + done.stderr
    after = found.headrace.run(found.folder, "traffic", "show", "m", "--json").json()
    assert (after["primary"], after["candidates"]) == (2, {})
    assert {name: after["outcome"][name] for name in ("winner", "requests", "p_value")} == {
        name: outcome[name] for name in ("winner", "requests", "p_value")
    }
