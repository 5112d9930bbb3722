"""Several versions behind one address: who answers whom, what shadows do, and what of it is in the log."""

import gzip
import json
import os
import shutil
import signal
import struct
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serving.conftest import serving
from tests.serving.test_server import ROW, _second, logged, records

from headrace.serving.manifest import beside_digest
from headrace.serving.traffic import MISSING, entity, named, share, unit

ASKED = {"kind": "city", "battery": 3.5, "station": "s1", "requested_at": "2024-02-24T12:00:00Z"}
SPLIT = {"id": "change-7", "salt": "pepper", "by": []}


def divide(home, *others, split=SPLIT):
    """Version 1 stays primary; others are (version, role, weight) of copies of it."""
    file = home / "serving.json"
    stored = json.loads(file.read_text())
    (primary,) = [each for each in stored["versions"] if each["role"] == "primary"]
    primary["weight"] = 1 - sum(weight for _, role, weight in others if role == "candidate")
    stored["versions"] = [primary]
    for version, role, weight in others:
        (folder,) = (home / "versions").glob(f"{version}-*")
        other = {"version": version, "folder": f"versions/{folder.name}", "role": role, "weight": weight}
        other["copy_hash"] = beside_digest(folder)
        stored["versions"].append({**primary, **other})
    stored["split"] = split
    making = file.with_suffix(".new")
    making.write_text(json.dumps(stored))
    making.replace(file)


def asked(rides):
    return {"rows": [{"ride": ride, **ASKED} for ride in rides]}


def by_entity(server, rides):
    """Ride → the version that answered it."""
    status, answer, _ = server.ask("/predict", asked(rides))
    assert status == 200, answer
    return {ride: each["version"] for ride, each in zip(rides, answer["predictions"], strict=True)}


def until(what, seconds=20):
    """Waits for something to be true, and gives it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.05)
    raise AssertionError("not in time")


class TestAssignment:
    @given(
        st.text(min_size=1),
        st.lists(
            st.integers(-(2**63), 2**63 - 1) | st.text("abcß7 ", min_size=1, max_size=5).filter(str.strip),
            min_size=1,
            max_size=3,
        ),
    )
    def test_an_entity_has_one_place_and_a_growing_share_keeps_it(self, salt, values):
        names = [str(place) for place in range(len(values))]
        row = dict(zip(names, values, strict=True))
        place = share(salt, entity(row, names))
        assert 0 <= place < 1
        assert place == share(salt, entity(dict(reversed(row.items())), names))

    def test_shares_are_even_and_another_salt_deals_anew(self):
        places = [share("one", entity({"id": number}, ["id"])) for number in range(20_000)]
        for low in range(10):
            assert abs(sum(low / 10 <= place < (low + 1) / 10 for place in places) - 2000) < 200
        again = [share("two", entity({"id": number}, ["id"])) for number in range(20_000)]
        both = sum(one < 0.1 and other < 0.1 for one, other in zip(places, again, strict=True))
        assert 100 < both < 320

    def test_a_whole_number_is_one_entity(self):
        assert entity({"id": 7}, ["id"]) == entity({"id": 7.0}, ["id"])
        assert entity({"id": 7}, ["id"]) != entity({"id": "7"}, ["id"])

    @pytest.mark.parametrize(
        "value", [None, float("nan"), float("inf"), "", "  ", "null", "NaN", "None", [], {}, ["c1"], *sorted(MISSING)]
    )
    def test_who_has_no_entity_is_divided_by_decision_and_without_a_key_by_request(self, value):
        row = {"customer": value, "region": "eu", "ride": 7}
        assert entity(row, ["customer"]) is None
        assert unit(row, ["customer"], ["ride"], "r") == ("decision", b"[7]")
        assert unit(row, ["region", "customer"], ["ride"], "r") == ("decision", b"[7]")
        assert unit({"region": "eu", "ride": value}, ["customer"], ["ride"], "r") == ("request", b"r")
        assert unit(row, [], ["ride"], "r") == ("decision", b"[7]")
        assert unit(row, [], [], "r") == ("request", b"r")

    @given(st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.dates())
    def test_whatever_a_caller_sends_is_one_unit(self, value):
        found = unit({"customer": value, "ride": 7}, ["customer"], ["ride"], "r")
        assert found.by in ("entity", "decision")
        assert 0 <= share("salt", found.name) < 1

    def test_a_text_is_one_entity_in_any_form_and_in_a_header(self):
        composed, decomposed = "J\u00f6rg", "Jo\u0308rg"
        assert entity({"id": composed}, ["id"]) == entity({"id": f" {decomposed} "}, ["id"])
        assert named(decomposed.encode(), "r") == unit({"id": composed}, ["id"], [], "r")
        assert named("J\u00f6rg".encode("latin-1"), "r") == named(composed.encode(), "r")
        assert named(None, "r") == named(b"null", "r") == ("request", b"r")


def test_entities_stay_with_their_version_over_servers_restarts_and_growing_shares(home):
    _second(home)
    divide(home, (2, "candidate", 0.3))
    rides = list(range(2_000))
    with serving(home) as one, serving(home) as other:
        first = by_entity(one, rides)
        assert by_entity(other, rides) == first
        assert 0.25 < sum(version == 2 for version in first.values()) / len(rides) < 0.35
        alone = {ride: by_entity(one, [ride])[ride] for ride in rides[:50]}
        assert alone == {ride: first[ride] for ride in rides[:50]}

        divide(home, (2, "candidate", 0.6))  # while both run
        until(lambda: one.ask("/version")[1]["versions"][1]["weight"] == 0.6)
        grown = by_entity(one, rides)
        assert all(grown[ride] == 2 for ride in rides if first[ride] == 2)
        assert 0.55 < sum(version == 2 for version in grown.values()) / len(rides) < 0.65
    with serving(home) as again:
        assert by_entity(again, rides) == grown


def test_the_columns_that_name_the_entity_are_those_of_the_split(home):
    _second(home)
    divide(home, (2, "candidate", 0.5), split={**SPLIT, "by": ["station"]})
    with serving(home) as server:
        rows = [{"ride": ride, **ASKED, "station": f"s{ride % 40}"} for ride in range(400)]
        answered = server.ask("/predict", {"rows": rows})[1]["predictions"]
        by_station = {}
        for row, each in zip(rows, answered, strict=True):
            by_station.setdefault(row["station"], set()).add(each["version"])
        assert all(len(versions) == 1 for versions in by_station.values())
        assert {next(iter(versions)) for versions in by_station.values()} == {1, 2}


@pytest.mark.parametrize("form", ["keys", "rows"])
def test_requests_without_an_entity_do_not_follow_one_coin_and_the_log_says_so(home, form):
    _second(home)
    divide(home, (2, "candidate", 0.5), split={**SPLIT, "by": ["kind"]})
    nothing = ["", None, "NaN", "null"]
    with serving(home) as server:
        what = ASKED if form == "keys" else {**ROW, "requested_at": ASKED["requested_at"]}
        rows = [{"ride": ride, **what, "kind": nothing[ride % 4]} for ride in range(400)]
        status, answer, _ = server.ask("/predict", {"rows": rows})
        assert status == 200, answer
        first = [each["version"] for each in answer["predictions"]]
        alone = [server.ask("/predict", {"rows": [row]})[1]["predictions"][0]["version"] for row in rows[:20]]
        assert alone == first[:20]
        assert 150 < first.count(2) < 250
    kept = [pair for record in logged(home) if record.get("split") for pair in record["divided"]]
    assert len(kept) == 420
    assert {by for by, _ in kept} == {"decision"}
    assert len({digest for _, digest in kept}) == 400


def test_rows_are_answered_in_order_by_whichever_version_has_them(home):
    _second(home)
    divide(home, (2, "candidate", 0.5))
    with serving(home) as server:
        status, answer, headers = server.ask("/predict", {**asked(range(100)), "features": True})
        assert status == 200
        assert headers["x-headrace-version"] in ("1,2", "2,1")
        alone = [server.ask("/predict", asked([ride]))[1]["predictions"][0] for ride in range(100)]
        for each, one in zip(answer["predictions"], alone, strict=True):
            assert each["features"]["kind"] == "city"
            assert {name: each[name] for name in one} == one
    kept = [record for record in logged(home) if len(record["rows"]) + len(record.get("places", [])) > 2]
    places = sorted(place for record in kept for place in record["places"])
    assert places == list(range(100))
    assert {(record["version"], record["role"], record["split"]) for record in kept} == {
        (1, "primary", "change-7"),
        (2, "candidate", "change-7"),
    }


def test_full_rows_go_by_the_entity_that_the_caller_names(home):
    _second(home)
    divide(home, (2, "candidate", 0.5))
    with serving(home) as server:

        def version(**headers):
            return server.ask("/invocations", {"instances": [list(ROW.values())]}, headers=headers)[2][
                "x-headrace-version"
            ]

        named = {f"user-{number}": version(**{"x-headrace-entity": f"user-{number}"}) for number in range(40)}
        assert set(named.values()) == {"1", "2"}
        assert all(version(**{"x-headrace-entity": name}) == expected for name, expected in named.items())
        assert {version() for _ in range(60)} == {"1", "2"}


def test_a_candidate_that_does_not_load_leaves_everything_as_it_was(home):
    _second(home, outputs=lambda rows: [[0.5] for _ in rows])
    with serving(home) as server:
        divide(home, (2, "candidate", 0.5))
        told = server.wait(lambda _, told: told["stale"] != "")
        assert "does not answer its own samples" in told["stale"]
        assert set(by_entity_or_one(server, range(50))) == {1}


def by_entity_or_one(server, rides):
    status, answer, _ = server.ask("/predict", asked(rides))
    assert status == 200
    return [each.get("version", answer["version"]) for each in answer["predictions"]]


class TestShadow:
    def test_it_is_asked_and_only_logged(self, home):
        _second(home)
        divide(home, (2, "shadow", 1.0), split=None)
        with serving(home) as server:
            until(lambda: _shadows(server))
            body = {"instances": [list(ROW.values())] * 3}
            before = [server.ask("/invocations", body) for _ in range(20)]
            answer = server.ask("/predict", asked(range(5)))[1]
            assert {headers["x-headrace-version"] for _, _, headers in before} == {"1"}
            assert answer["version"] == 1
            assert all("version" not in each for each in answer["predictions"])
            ids = {headers["x-request-id"] for _, _, headers in before}
            found = until(lambda: _by_shadow(home, at_least=20))
        found = _by_shadow(home)
        assert ids <= {record["id"] for record in found}
        assert {record["version"] for record in found} == {2}
        primary = {record["id"]: record for record in logged(home) if record["role"] == "primary"}
        for record in found:
            mine = [{**each, "prediction_id": ""} for each in record["predictions"]]
            assert mine == [{**each, "prediction_id": ""} for each in primary[record["id"]]["predictions"]]
        every = [each["prediction_id"] for record in logged(home) for each in record["predictions"]]
        assert len(every) == len(set(every))

    def test_it_reads_what_came_compressed_and_as_binary_data(self, home):
        _second(home)
        divide(home, (2, "shadow", 1.0), split=None)
        head = json.dumps(
            {
                "inputs": [
                    {"name": "kind", "datatype": "BYTES", "shape": [2], "data": ["city", "e"]},
                    *(
                        {"name": name, "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}}
                        for name in ("battery", "rides", "charge")
                    ),
                ]
            }
        ).encode()
        body = gzip.compress(head + struct.pack("<6f", 1.5, 2.5, 3, 4, 5.5, 6.5))
        headers = {"content-encoding": "gzip", "inference-header-content-length": str(len(head))}
        with serving(home) as server:
            until(lambda: _shadows(server))
            assert server.ask("/v2/models/late/infer", body, headers=headers)[0] == 200
            (shadow,) = until(lambda: _by_shadow(home, at_least=1))
        (primary,) = [record for record in logged(home) if record["role"] == "primary"]
        assert shadow["rows"] == primary["rows"]
        assert [each["battery"] for each in shadow["rows"]] == [1.5, 2.5]

    def test_one_that_dies_is_started_again_and_nobody_notices(self, home):
        _second(home)
        divide(home, (2, "shadow", 1.0), split=None)
        body = {"instances": [list(ROW.values())]}
        with serving(home) as server:
            (first,) = until(lambda: _shadows(server))
            os.kill(first, signal.SIGKILL)
            statuses = {server.ask("/invocations", body)[0] for _ in range(50)}
            assert statuses == {200}
            (second,) = until(lambda: _shadows(server) - {first})
            assert second != first

    def test_one_that_hangs_is_left_out_and_counted(self, home):
        _second(home)
        divide(home, (2, "shadow", 1.0), split=None)
        body = {"instances": [list(ROW.values())] * 500}
        with serving(home) as server:
            (shadow,) = until(lambda: _shadows(server))
            os.kill(shadow, signal.SIGSTOP)
            try:
                statuses = {server.ask("/invocations", body)[0] for _ in range(400)}
                assert statuses == {200}
                assert server.counted("shadow_dropped") > 0
            finally:
                os.kill(shadow, signal.SIGCONT)  # one that stays would keep the server's output open

    def test_it_has_the_share_that_was_declared(self, home):
        _second(home)
        divide(home, (2, "shadow", 0.25), split=None)
        body = {"instances": [list(ROW.values())]}
        with serving(home) as server:
            until(lambda: _shadows(server))
            for _ in range(400):
                server.ask("/invocations", body)
            until(lambda: _by_shadow(home, at_least=60))
        assert 60 <= len(_by_shadow(home)) <= 140


def _shadows(server):
    """The shadow processes of a server."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    found = {int(child) for child in children}
    return {pid for pid in found if b"headrace.serving.shadow" in Path(f"/proc/{pid}/cmdline").read_bytes()}


def _by_shadow(home, at_least=0):
    found = [record for record in logged(home) if record["role"] == "shadow"]
    return found if len(found) >= at_least else []


class TestLog:
    def test_what_is_redacted_is_not_in_it(self, home):
        from tests.serving.conftest import manifest

        manifest(home, redact=["battery", "ride", "probability"])
        with serving(home) as server:
            answer = server.ask("/predict", asked([7]))[1]["predictions"][0]
            assert server.ask("/invocations", {"instances": [list(ROW.values())]})[0] == 200
        by_key, full = sorted(logged(home), key=lambda record: record["path"], reverse=True)
        assert by_key["keys"][0]["keys"] == {"ride": None}
        assert by_key["rows"][0]["battery"] is full["rows"][0]["battery"] is None
        assert by_key["rows"][0]["kind"] == "city"
        assert answer["probability"] > 0
        assert by_key["predictions"][0]["probability"] is None
        assert by_key["predictions"][0]["prediction_id"] == answer["prediction_id"]

    def test_a_name_that_is_nothing_in_the_log_is_refused(self, headrace, bikes, tmp_path):
        folder = shutil.copytree(bikes, tmp_path / "bikes", symlinks=True)
        program = (folder / "bikes.py").read_text()
        assert "hr.Serve(" in program
        (folder / "bikes.py").write_text(program.replace("hr.Serve(", "hr.Serve(redact=['baterry'], ", 1))
        done = headrace.run(folder, "run", "deploy", "--version", "1", "--as-of", "2024-02-15")
        assert done.code == 2
        assert "Serve(redact=…) names 'baterry', which is no input, key or output of this model" in done.stderr
        assert "battery" in done.stderr

    def test_a_sample_of_the_requests_is_logged(self, home):
        from tests.serving.conftest import manifest

        manifest(home, sample=0.3)
        with serving(home) as server:
            for _ in range(300):
                assert server.ask("/invocations", {"instances": [list(ROW.values())]})[0] == 200
        assert 50 < len(logged(home)) < 130

    def test_what_was_counted_adds_up(self, home):
        with serving(home) as server:
            for _ in range(30):
                server.ask("/invocations", {"instances": [list(ROW.values())] * 2})
            for _ in range(5):
                server.ask("/invocations", {"instances": "no"})
            assert server.end()[0] == 0
        counted = [each for record in records(home) if "counted" in record for each in record["counted"]]
        by_status = {}
        for each in counted:
            by_status.setdefault(each["status"], []).append(each)
            assert sum(each["buckets"]) == each["requests"]
            assert (each["version"], each["role"]) == (1, "primary")
        assert sum(each["requests"] for each in by_status[200]) == 30
        assert sum(each["rows"] for each in by_status[200]) == 60
        assert sum(each["requests"] for each in by_status[400]) == 5


@pytest.mark.parametrize("broken", [{"role": "primary"}, {"role": "king"}, {"weight": "much"}])
def test_a_file_that_names_no_single_primary_is_not_followed(home, broken):
    _second(home)
    with serving(home) as server:
        divide(home, (2, "candidate", 0.5))
        until(lambda: "versions" in server.ask("/version")[1])
        file = home / "serving.json"
        stored = json.loads(file.read_text())
        stored["versions"][1] |= broken
        file.write_text(json.dumps(stored))
        server.wait(lambda _, told: told["stale"] != "")
        assert server.ask("/predict", asked([1]))[0] == 200
