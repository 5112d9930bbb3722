"""A server over HTTP: what it answers, what it refuses, what it survives."""

import json
import shutil
import signal
import socket
import threading
import time
from pathlib import Path

import pytest
from deltalake import DeltaTable
from tests.serving.conftest import manifest, samples, serving

from headrace.inference.inference_record import unfolded
from headrace.scoring.spool import segments
from headrace.serving.manifest import beside_digest


def logged(home):
    """The answers that wait in the log, as a reader finds them."""
    return [unfolded(record) for record in records(home) if "counted" not in record]


def ingested(home):
    """Takes what is sealed out of the spool, as ingest does."""
    for each in (home.parent.parent / "spool" / "late").glob("*.sealed"):
        each.unlink()
    return True


def records(home):
    folder = home.parent.parent / "spool" / "late"
    return [json.loads(record) for segment in segments(folder) for record in segment.records()]


def test_full_rows_are_answered_as_mlflow_does_to_the_last_bit(home):
    columns, rows, outputs = samples(home)
    with serving(home) as server:
        told = server.ask("/version")[1]
        assert told["tier"] == "native"
        bodies = [
            {"dataframe_split": {"columns": columns, "data": rows}},
            {"dataframe_split": {"columns": columns[::-1], "data": [row[::-1] for row in rows]}},
            {"dataframe_records": [dict(zip(columns, row, strict=True)) for row in rows]},
            {"instances": rows},
            {"inputs": {name: [row[place] for row in rows] for place, name in enumerate(columns)}},
        ]
        for body in bodies:
            status, answer, headers = server.ask("/invocations", body)
            assert status == 200
            assert [[each["probability"]] for each in answer["predictions"]] == outputs
            assert headers["x-headrace-version"] == "1"
        for row, output in list(zip(rows, outputs, strict=True))[:10]:
            status, answer, _ = server.ask("/invocations", {"instances": [row]})
            assert [answer["predictions"][0]["probability"]] == output
        lines = [",".join(columns), *(",".join("" if each is None else str(each) for each in row) for row in rows)]
        answer = server.ask("/invocations", "\n".join(lines).encode(), headers={"content-type": "text/csv"})[1]
        assert [[each["probability"]] for each in answer["predictions"]] == outputs


def test_sagemaker_finds_what_it_asks_for(home, tmp_path):
    """It starts a container with the word `serve`, asks `/ping` without a token, and sends rows to `/invocations`."""
    tokens = tmp_path / "api-keys.json"
    tokens.write_text('{"keys": []}')
    with serving(home, arguments=["--api-keys", str(tokens), "serve"]) as server:
        status, told, _ = server.ask("/ping")
        assert (status, told["status"], told["version"]) == (200, "ready", 1)
        assert server.ask("/invocations", {"instances": []})[0] == 401
    columns, rows, outputs = samples(home)
    with serving(home, arguments=["serve"]) as server:
        assert "503" in server.ask("/openapi.json")[1]["paths"]["/ping"]["get"]["responses"]
        answer = server.ask("/invocations", {"dataframe_split": {"columns": columns, "data": rows}})[1]
        assert [[each["probability"]] for each in answer["predictions"]] == outputs
        assert server.ask("/ping", {})[0] == 405
        assert server.end()[0] == 0
    (home / "serving.json").unlink()
    with serving(home, wait=False) as server:
        server.wait(lambda status, _: status == 503)
        assert server.ask("/ping")[0] == 503


def test_the_process_has_nothing_heavy_in_it(home):
    with serving(home) as server:
        maps = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "lib_lightgbm" in maps
    for heavy in ("pandas", "sqlalchemy", "duckdb", "pyarrow", "sklearn"):
        assert heavy not in maps


@pytest.mark.filterwarnings("ignore:.*type hint")
@pytest.mark.parametrize("tier", ["generic", "pyfunc"])
def test_a_tier_that_differs_from_mlflow_is_not_taken(home, tier, monkeypatch):
    """Each tier spoiled in turn: the next one answers, and says why."""
    from headrace.serving import predictors
    from headrace.serving.manifest import read_parity

    (folder,) = (home / "versions").iterdir()
    parity = read_parity(folder / "parity.json")
    faster = {"generic": [predictors.Native], "pyfunc": [predictors.Native, predictors.Generic]}[tier]
    for each in faster:
        monkeypatch.setattr(each, "many", lambda self, rows: [[0.5] for _ in rows])
    chosen, reasons = predictors.choose(folder, parity)
    assert chosen.tier == tier
    assert len(reasons) == len(faster)
    assert "samples differ" in reasons[0]


def test_keys_are_answered_from_the_online_store_as_the_batch_was(headrace, bikes, tmp_path):
    folder = shutil.copytree(bikes, tmp_path / "bikes")  # the rehearsal logs what it asked
    done = headrace.run(
        folder, "run", "parity-check", "--since", "2024-02-15", "--until", "2024-02-25", "--rows", "60", "--json"
    )
    assert done.code == 0, done.stderr
    told = done.json()
    assert told["requests"] >= 60
    assert told["instants"] >= 3
    assert (told["mismatches"], told["logged"]) == (0, told["requests"])
    lakehouse = folder / ".headrace" / "dev" / "lakehouse"
    table = DeltaTable(str(lakehouse / "inference" / "late")).to_pandas()
    batch = DeltaTable(str(lakehouse / "answers" / "late")).to_pandas()
    joined = table.merge(batch, on="prediction_id", suffixes=("", "_batch"))
    assert len(joined) == told["requests"]
    assert (joined["probability"] == joined["probability_batch"]).all()


def test_a_planted_skew_fails_the_rehearsal(headrace, bikes, tmp_path):
    """The feature table is changed behind the online store's back: its rows are not what the batch saw."""
    folder = shutil.copytree(bikes, tmp_path / "bikes")
    program = folder / "bikes.py"
    program.write_text(program.read_text().replace("avg(battery) over w", "avg(battery) over w + 5"))
    assert headrace.run(folder, "run", "refresh").code == 0
    done = headrace.run(folder, "run", "parity-check", "--since", "2024-02-15", "--until", "2024-02-25", "--rows", "60")
    assert done.code == 1
    assert "answers differ from the batch scores" in done.stderr
    assert (folder / ".headrace" / "dev" / "lakehouse").is_dir()


ROW = {"kind": "city", "battery": 3.5, "rides": 4, "charge": 5.0}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[1, 2]", "no JSON object"),
        (b'{"instances": [[NaN, 1, 2, 3]]}', "no JSON"),
        (b'{"instances": [["city", Infinity, 2, 3]]}', "no JSON"),
        ({}, "exactly one of"),
        ({"instances": [], "inputs": []}, "exactly one of"),
        ({"instances": []}, "there are no rows"),
        ({"instances": {}}, "no list"),
        ({"instances": [["city", 3.5, 4, 5.0], ["city", 3.5]]}, "row 1 has 2 values"),
        ({"instances": [["city", "3.5", 4, 5.0]]}, "row 0: 'battery' is no number"),
        ({"instances": [[7, 3.5, 4, 5.0]]}, "row 0: 'kind' is no text"),
        ({"instances": [["city", [3.5], 4, 5.0]]}, "row 0: 'battery' is no number"),
        ({"instances": [["city", 10**400, 4, 5.0]]}, ""),
        ({"dataframe_records": [ROW, {**ROW, "colour": 1}]}, "row 1: 'colour' is not an input"),
        (
            {"dataframe_records": [{name: value for name, value in ROW.items() if name != "rides"}]},
            "row 0: 'rides' is missing",
        ),
        ({"dataframe_split": {"columns": ["kind"], "data": [["city"]]}}, "'battery' is missing"),
        ({"dataframe_split": {"columns": [*ROW, "kind"], "data": []}}, "'kind' is named twice"),
        ({"inputs": {"kind": ["a"], "battery": [1, 2], "rides": [1], "charge": [1]}}, "different lengths"),
        ({"instances": [list(ROW.values())], "colour": 1}, "unexpected 'colour'"),
        ({"instances": [list(ROW.values())], "params": {"a": 1}}, "'a' is no parameter"),
    ],
)
def test_a_body_that_cannot_be_read_is_a_400_that_says_where(asked, body, said):
    status, answer, _ = asked.ask("/invocations", body)
    assert status == 400, answer
    assert said in answer["message"]
    assert len(answer["message"]) < 300


@pytest.fixture(scope="module")
def asked(bikes, tmp_path_factory):
    root = tmp_path_factory.mktemp("asked")
    shutil.copytree(bikes / ".headrace" / "dev" / "serving", root / "serving")
    with serving(root / "serving" / "late") as server:
        yield server


def test_a_missing_value_is_allowed_and_a_value_that_was_not_learned_is_missing(asked):
    rows = [[None, None, None, None], ["tandem", 3.5, 4, 5.0], [None, 3.5, 4, 5.0]]
    status, answer, _ = asked.ask("/invocations", {"instances": rows})
    assert status == 200
    assert answer["predictions"][1] == answer["predictions"][2]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"rows": []}, "no rows"),
        ({"rows": [5]}, "row 0 is no object"),
        ({"row": [{}]}, "needs one list"),
        (
            {"rows": [{"ride": 1, "kind": "city", "battery": 1.0, "station": "s1", "requested_at": "soon"}]},
            "'requested_at' is no time",
        ),
        ({"rows": [{"ride": 1, "kind": "city", "battery": 1.0}]}, "'station' is missing"),
    ],
)
def test_wrong_keys_are_a_400(asked, body, said):
    status, answer, _ = asked.ask("/predict", body)
    assert status == 400
    assert said in answer["message"]


def test_other_paths_and_methods_are_told_what_there_is(asked):
    assert asked.ask("/nowhere")[0] == 404
    assert asked.ask("/invocations")[0] == 405
    assert asked.ask("/health")[0] == 200
    asked.ask("/invocations", {"instances": [list(ROW.values())]})
    text = asked.ask("/metrics")[1]
    assert 'headrace_requests_total{model="late",version="1",role="primary",status="200"}' in text


def test_limits_are_told(home):
    manifest(home, max_rows=3, max_body=2000)
    row = list(ROW.values())
    with serving(home) as server:
        assert server.ask("/invocations", {"instances": [row] * 3})[0] == 200
        assert server.ask("/invocations", {"instances": [row] * 4})[0] == 413
        assert server.ask("/invocations", {"instances": [["x" * 3000, 1, 1, 1]]})[0] == 413


def test_a_server_that_starts_before_anything_is_in_production_waits_for_it(home):
    aside = home / "serving.aside"
    (home / "serving.json").rename(aside)
    with serving(home, wait=False) as server:
        server.wait(lambda status, told: status == 503 and "headrace run deploy" in told["stale"])
        status, answer, headers = server.ask("/invocations", {"instances": [list(ROW.values())]})
        assert (status, headers["retry-after"]) == (503, "1")
        assert "headrace run deploy" in answer["message"]
        aside.rename(home / "serving.json")
        server.wait(lambda status, _: status == 200)
        assert server.ask("/invocations", {"instances": [list(ROW.values())]})[0] == 200


def _second(home, *, weights=None, outputs=None):
    """A copy of version 1 as another version."""
    (first,) = (home / "versions").glob("1-*")
    second = shutil.copytree(first, home / "versions" / "2-other")
    if weights:
        file = second / "data" / "package" / "estimator" / "model.txt"
        file.write_text(weights(file.read_text()))
    if outputs:
        parity = json.loads((second / "parity.json").read_text())
        parity["outputs"] = outputs(parity["outputs"])
        (second / "parity.json").write_text(json.dumps(parity))
    return second


def _touch_weights(home):
    _second(home, weights=lambda text: text + "\n")
    manifest(home, folder="versions/2-other", version=2)


def _wrong_samples(home):
    second = _second(home, outputs=lambda rows: [[0.123] for _ in rows])
    manifest(home, folder="versions/2-other", version=2, copy_hash=beside_digest(second))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda home: (home / "serving.json").write_text("{"), "cannot be read"),
        (lambda home: manifest(home, folder="versions/9-gone"), "not there"),
        (lambda home: manifest(home, format=99), "later Headrace"),
        (_touch_weights, "changed after it was promoted"),
        (_wrong_samples, "does not answer its own samples"),
    ],
    ids=["broken", "gone", "later", "changed", "other answers"],
)
def test_what_does_not_load_leaves_the_old_version_serving_and_is_told(home, spoil, said):
    row = list(ROW.values())
    with serving(home) as server:
        before = server.ask("/invocations", {"instances": [row]})[1]
        spoil(home)
        told = server.wait(lambda _, told: told["stale"] != "")
        assert said in told["stale"]
        assert server.ask("/invocations", {"instances": [row]})[1] == before
        assert "headrace_model_reload_failures_total" in server.ask("/metrics")[1]


def test_versions_swap_under_load_without_a_failed_or_mixed_answer(home):
    _second(home)
    row = list(ROW.values())
    answers, stop = [], threading.Event()
    with serving(home) as server:

        def load():
            while not stop.is_set():
                status, answer, headers = server.ask("/invocations", {"instances": [row] * 3})
                answers.append((status, headers.get("x-headrace-version"), json.dumps(answer)))

        threads = [threading.Thread(target=load) for _ in range(6)]
        for thread in threads:
            thread.start()
        for version in (2, 1) * 10:
            (folder,) = (home / "versions").glob(f"{version}-*")
            manifest(home, version=version, folder=f"versions/{folder.name}")
            server.wait(lambda _, told, version=version: told["version"] == version)
        stop.set()
        for thread in threads:
            thread.join()
    assert {status for status, _, _ in answers} == {200}
    assert {version for _, version, _ in answers} == {"1", "2"}
    assert len({answer for _, _, answer in answers}) == 1


def test_sigterm_answers_what_was_asked_and_loses_nothing(home):
    row = list(ROW.values())
    answered, stop = [], threading.Event()
    with serving(home) as server:

        def load():
            while not stop.is_set():
                try:
                    status, _, headers = server.ask("/invocations", {"instances": [row]})
                except OSError:
                    return  # no new connections
                answered.append((status, headers.get("x-request-id")))

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        while len(answered) < 50:
            time.sleep(0.01)
        code, said = server.end()
        stop.set()
        for thread in threads:
            thread.join()
    assert code == 0, said
    assert {status for status, _ in answered} == {200}
    assert {record["id"] for record in logged(home)} >= {number for _, number in answered}


def test_kill_9_loses_no_answer_that_was_given(home):
    row = list(ROW.values())
    answered = []
    with serving(home) as server:

        def load():
            while True:
                try:
                    status, _, headers = server.ask("/invocations", {"instances": [row, row]})
                except OSError:
                    return
                if status == 200:
                    answered.append(headers["x-request-id"])

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        while len(answered) < 100:
            time.sleep(0.01)
        server.end(signal.SIGKILL)
        for thread in threads:
            thread.join()
    kept = [record["id"] for record in logged(home)]
    assert set(answered) <= set(kept)
    assert len(kept) == len(set(kept))


@pytest.mark.parametrize(("policy", "expected"), [("required", 503), ("best_effort", 200), ("none", 200)])
def test_a_log_that_is_full_does_what_was_declared(home, policy, expected):
    manifest(home, log=policy, max_log=2000)
    row = list(ROW.values())
    with serving(home) as server:
        statuses = [server.ask("/invocations", {"instances": [row] * 5})[0] for _ in range(8)]
        assert statuses[0] == 200
        assert statuses[-1] == expected
        if policy == "best_effort":
            server.until(lambda: server.counted("log_dropped") > 0)
            (told,) = server.until(lambda: list((home / "trouble").glob("*-log_dropped.json")))
            assert "2,000 bytes" in json.loads(told.read_text())["reason"]
        else:
            assert server.counted("log_dropped") == 0


def test_a_port_in_use_is_told(home):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with serving(home, wait=False) as server:
            server.end(signal.SIGKILL)
        import subprocess
        import sys

        command = [sys.executable, "-m", "headrace.serving", "--home", str(home), "--port", str(taken.getsockname()[1])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "cannot be had" in done.stderr
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_was_withdrawn_is_not_ready_and_answers_who_still_asks(home):
    with serving(home) as server:
        said = (home / "serving.json").read_text()
        (home / "serving.json").unlink()
        server.wait(lambda status, told: (status, told["status"]) == (503, "withdrawn"))
        columns, rows, _ = samples(home)
        assert server.ask("/invocations", {"dataframe_split": {"columns": columns, "data": rows[:1]}})[0] == 200
        (home / "serving.json").write_text(said)
        server.wait(lambda status, told: (status, told["status"]) == (200, "ready"))


@pytest.mark.parametrize(("policy", "ready"), [("required", False), ("best_effort", True)])
def test_a_full_log_is_told_by_readiness_and_so_is_room(home, policy, ready):
    manifest(home, log=policy, max_log=6000)
    columns, rows, _ = samples(home)
    body = {"dataframe_split": {"columns": columns, "data": rows[:1]}}
    with serving(home) as server:
        server.until(
            lambda: server.ask("/invocations", body)[0] == 503 or "log_dropped" in str(list(home.glob("trouble/*")))
        )
        told = server.wait(lambda status, told: told["status"] == ("ready" if ready else "log full"))
        assert server.ask("/ready")[0] == (200 if ready else 503)
        told = server.wait(lambda status, told: ingested(home) and (status, told["status"]) == (200, "ready"))
        assert told["version"] == 1
        server.until(lambda: server.ask("/invocations", body)[0] == 200)


def test_what_was_counted_while_the_log_was_full_is_logged_when_there_is_room(home):
    manifest(home, log="required", max_log=6000)
    columns, rows, _ = samples(home)
    body = {"dataframe_split": {"columns": columns, "data": rows[:1]}}
    with serving(home) as server:
        server.until(lambda: server.ask("/invocations", body)[0] == 503)
        time.sleep(6)  # an interval ends meanwhile
        text = server.ask("/metrics")[1]
        (refused,) = [
            float(line.split()[-1])
            for line in text.splitlines()
            if line.startswith("headrace_requests_total{") and 'status="503"' in line
        ]
        server.wait(lambda _, told: ingested(home) and told["status"] == "ready")
        server.end()
    told = [each for record in records(home) for each in record.get("counted", [])]
    assert sum(each["requests"] for each in told if each["status"] == 503) == refused
