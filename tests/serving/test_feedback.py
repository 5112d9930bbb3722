"""Feedback on answers: acknowledged when it is durable, once in the table however often it is sent, hostile messages refused."""

import gzip
import http.client
import json
import os
import shutil
import signal
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

import headrace as hr
from headrace.core.errors import RefusedError
from headrace.inference.ingest import ingest
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.llm.feedback.table import TABLE
from headrace.serving.manifest import beside_digest

from .conftest import manifest, samples, serving

PATH = "/models/late/feedback"


def declare(home, feedback):
    """As a deployment does it: the copy says which feedback is taken."""
    stored = json.loads((home / "serving.json").read_text())
    folder = home / stored["versions"][0]["folder"]
    (folder / "feedback.json").write_text(json.dumps(feedback.to_json()))
    stored["versions"][0]["copy_hash"] = beside_digest(folder)
    manifest(home, feedback=feedback.to_json(), copy_hash=beside_digest(folder))
    return home


@pytest.fixture
def spoken(home):
    """A home whose model takes all kinds of feedback."""
    every = hr.Feedback(
        "thumbs", "score", "correction", "text", implicit=["retry", "copy", "handover"], widget=True, scale=(0, 10)
    )
    return declare(home, every)


def table(home, tmp_path):
    """All feedback that is durable, after it was ingested; and how many rows of answers."""
    lakehouse = Lakehouse("dev", str(tmp_path / "lakehouse"))
    ingest(lakehouse, (home / json.loads((home / "serving.json").read_text())["spool"]).resolve(), "inference.late")
    return lakehouse.snapshot(TABLE).to_arrow().to_pylist() if lakehouse.exists(TABLE) else []


def ask(server, home):
    """An answer; gives the id of its prediction."""
    names, rows, _ = samples(home)
    status, told, _ = server.ask("/predict", {"rows": [{"ride": 7, **dict(zip(names, rows[0], strict=True))}]})
    assert status == 200, told
    return told["predictions"][0]["prediction_id"]


def test_what_is_acknowledged_is_a_row_for_each_kind(spoken, tmp_path):
    with serving(spoken) as server:
        prediction = ask(server, spoken)
        said = {
            "thumbs": "down",
            "correction": "It is late.\nBy far. \u202eé",
            "score": 2,
            "copy": True,
            "user": "ann@x.example",
        }
        status, told, _ = server.ask(PATH, {"prediction_id": prediction, "version": 1, **said})
        assert status == 202
        server.end()
    rows = {each["kind"]: each for each in table(spoken, tmp_path)}
    assert {kind: (each["value"], each["text"]) for kind, each in rows.items()} == {
        "thumbs": (0.0, None),
        "score": (2.0, None),
        "correction": (None, "It is late.\nBy far. \u202eé"),
        "copy": (1.0, None),
    }
    assert set(told["feedback_ids"]) == {each["feedback_id"] for each in rows.values()}
    for each in rows.values():
        assert (each["prediction_id"], each["model"], each["model_version"]) == (prediction, "late", 1)
        assert (each["source"], each["api_key"]) == ("api", None)
        assert "ann" not in each["user"]
        assert each["at"] <= each["ingested_at"]


def test_what_was_acknowledged_survives_kill_9_and_what_was_sent_twice_is_there_once(spoken, tmp_path):
    messages = [{"prediction_id": f"r-{number}", "thumbs": "up", "id": f"click-{number}"} for number in range(40)]
    with serving(spoken) as server:
        with ThreadPoolExecutor(8) as threads:  # each twice, at once
            statuses = list(threads.map(lambda each: server.ask(PATH, each)[0], messages * 2))
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
    assert statuses == [202] * 80
    rows = table(spoken, tmp_path)
    assert sorted(each["prediction_id"] for each in rows) == sorted(each["prediction_id"] for each in messages)
    with serving(spoken) as server:  # and again, to another process, after they are in the table
        assert [server.ask(PATH, each)[0] for each in messages[:5]] == [202] * 5
        server.end()
    assert {each["feedback_id"]: each["at"] for each in table(spoken, tmp_path)} == {
        each["feedback_id"]: each["at"] for each in rows
    }


def test_acknowledgements_that_race_a_kill_are_all_kept(spoken, tmp_path):
    acknowledged = []
    with serving(spoken) as server:

        def send(number):
            try:
                if server.ask(PATH, {"prediction_id": f"r-{number}", "text": f"n {number}"})[0] == 202:
                    acknowledged.append(f"r-{number}")
            except (OSError, http.client.HTTPException):
                return
            if len(acknowledged) == 100:
                os.kill(server.process.pid, signal.SIGKILL)

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(send, range(400)))
        server.process.wait()
    kept = [each["prediction_id"] for each in table(spoken, tmp_path)]
    assert len(acknowledged) >= 100
    assert set(acknowledged) <= set(kept)
    assert len(kept) == len(set(kept))


REFUSED = {
    "no JSON": (b"{", 400),
    "half a surrogate": (b'{"prediction_id": "p", "text": "\\ud800"}', 400),
    "not a number": (b'{"prediction_id": "p", "score": NaN}', 400),
    "deep": (b"[" * 100_000, 400),
    "no object": (b"[1]", 422),
    "nothing said": (b'{"prediction_id": "p"}', 422),
    "no prediction": (b'{"thumbs": "up"}', 422),
    "an id with a line break": (b'{"prediction_id": "p\\nq", "thumbs": "up"}', 422),
    "a long id": (json.dumps({"prediction_id": "p" * 129, "thumbs": "up"}).encode(), 422),
    "an unknown field": (b'{"prediction_id": "p", "thumbs": "up", "<script>": 1}', 422),
    "sideways": (b'{"prediction_id": "p", "thumbs": "sideways"}', 422),
    "out of scale": (b'{"prediction_id": "p", "score": 11}', 422),
    "a flag as score": (b'{"prediction_id": "p", "score": true}', 422),
    "not done": (b'{"prediction_id": "p", "copy": false}', 422),
    "an empty correction": (b'{"prediction_id": "p", "correction": " "}', 422),
    "a control character": (b'{"prediction_id": "p", "text": "a\\u0000b"}', 422),
    "an escape sequence": (b'{"prediction_id": "p", "text": "\\u001b[2J"}', 422),
    "a hostile user": (b'{"prediction_id": "p", "thumbs": "up", "user": "a\\u0007"}', 422),
    "a foreign source": (b'{"prediction_id": "p", "thumbs": "up", "source": ["api"]}', 422),
    "a large version": (b'{"prediction_id": "p", "thumbs": "up", "version": 9223372036854775808}', 422),
    "a long text": (json.dumps({"prediction_id": "p", "text": "x" * 10_001}).encode(), 413),
    "a megabyte": (json.dumps({"prediction_id": "p", "text": "x" * 2**20}).encode(), 413),
}


def test_hostile_messages_are_refused_with_a_reason_and_leave_nothing(spoken, tmp_path):
    with serving(spoken) as server:
        for name, (body, expected) in REFUSED.items():
            status, told, _ = server.ask(PATH, body)
            assert status == expected, (name, told)
            assert set(told) == {"error_code", "message"}, name
            assert told["message"].isprintable(), name
        longest = {"prediction_id": "p", "text": "🦆" * 10_000, "correction": "\n" * 9_999 + "x"}
        assert server.ask(PATH, longest)[0] == 202
        packed = {"content-encoding": "gzip"}
        assert server.ask(PATH, gzip.compress(b"x" * 2**24), headers=packed)[0] == 413  # a bomb
        assert server.ask(PATH, gzip.compress(b'{"prediction_id": "z", "copy": true}'), headers=packed)[0] == 202
        assert (
            server.ask(PATH, b'{"prediction_id": "p", "copy": true}', headers={"content-type": "text/plain"})[0] == 415
        )
        assert server.ask(PATH)[0] == 405
        status, told, _ = server.ask("/models/other/feedback", {"prediction_id": "p", "thumbs": "up"})
        assert (status, "'late'" in told["message"]) == (404, True)
        assert chunked(server, b"x" * 2**20) == 413
        assert server.ask("/ready")[0] == 200
        server.end()
    assert sorted(each["kind"] for each in table(spoken, tmp_path)) == ["copy", "correction", "text"]


def chunked(server, body):
    """The status for a body whose length nobody says beforehand."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        head = (
            f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        connection.sendall(head.encode() + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        return int(connection.recv(100).split()[1])


def test_a_model_that_declares_none_says_how(live):
    status, told, _ = live.ask(PATH, {"prediction_id": "p", "thumbs": "up"})
    assert status == 404
    assert 'hr.Feedback("thumbs")' in told["message"]
    assert live.ask("/feedback.js")[0] == 404
    assert PATH not in live.ask("/openapi.json")[1]["paths"]


def test_kinds_that_are_not_declared_are_refused_by_name(home):
    with serving(declare(home, hr.Feedback("thumbs"))) as server:
        status, told, _ = server.ask(PATH, {"prediction_id": "p", "correction": "x"})
        assert (status, told["message"]) == (422, "'correction' is not declared for this model: it takes thumbs.")
        assert server.ask("/feedback.js")[0] == 404


def test_api_keys_are_needed_and_one_may_be_good_for_feedback_alone(spoken, bikes, tmp_path, headrace):
    for name in ("headrace.toml", "bikes.py"):
        (tmp_path / name).write_text((bikes / name).read_text())
    page = headrace.run(tmp_path, "api-key", "create", "page", "--scope", "feedback").stdout.strip()
    scraper = headrace.run(tmp_path, "api-key", "create", "scraper", "--scope", "metrics").stdout.strip()
    program = headrace.run(tmp_path, "api-key", "create", "program").stdout.strip()
    said = {"prediction_id": "p", "thumbs": "up"}
    with serving(spoken, arguments=["--api-keys", tmp_path / ".headrace" / "dev" / "api-keys.json"]) as server:

        def sent(key):
            return server.ask(PATH, said, headers={"authorization": f"Bearer {key}"})[0]

        assert [sent(key) for key in ("hr_wrong", scraper, page, program)] == [401, 403, 202, 202]
        assert server.ask(PATH, said)[0] == 401
        assert server.ask("/predict", {}, headers={"authorization": f"Bearer {page}"})[0] == 403
        assert server.ask("/feedback.js")[0] == 200  # a page loads it by its address
        url = f"http://127.0.0.1:{server.port}"
        with pytest.raises(RefusedError) as refused:
            hr.send_feedback(url, "p", model="late", thumbs="up", key="hr_secret")
        assert "hr_secret" not in str(refused.value)
        assert len(hr.send_feedback(url, "q", model="late", thumbs="down", text="no", key=page)) == 2
        server.end()
    rows = table(spoken, tmp_path)
    assert sorted((each["prediction_id"], each["api_key"], each["kind"]) for each in rows) == [
        ("p", "page", "thumbs"),
        ("p", "program", "thumbs"),
        ("q", "page", "text"),
        ("q", "page", "thumbs"),
    ]


def test_the_id_of_one_answer_tells_nothing_of_the_id_of_another_one(spoken):
    """Whoever may give feedback on their own answer finds none of the answers of others."""

    def number(server):
        return server.ask("/invocations", {"instances": [samples(spoken)[1][0]]})[2]["x-headrace-request"]

    with serving(spoken) as server:
        first, second = number(server), number(server)
    assert sum(one != other for one, other in zip(first[-12:], second[-12:], strict=True)) >= 5


def test_pages_of_declared_origins_may_send_it(spoken):
    manifest(spoken, cors=["https://app.example"])
    with serving(spoken) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        ours = {"origin": "https://app.example", "access-control-request-method": "POST"}
        connection.request("OPTIONS", PATH, headers=ours)
        answer = connection.getresponse()
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "https://app.example")
        connection.close()
        said = {"prediction_id": "p", "thumbs": "up"}
        headers = server.ask(PATH, said, headers={"origin": "https://app.example"})[2]
        assert headers["access-control-allow-origin"] == "https://app.example"
        assert "access-control-allow-origin" not in server.ask(PATH, said, headers={"origin": "https://x.example"})[2]


def test_the_widget_is_small_and_puts_no_text_into_the_page_as_markup(spoken):
    with serving(spoken) as server:
        status, script, headers = server.ask("/feedback.js")
        assert status == 200
        assert headers["content-type"].startswith("text/javascript")
        assert headers["x-content-type-options"] == "nosniff"
    assert len(script.encode()) < 5120
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("):
        assert way not in script


def test_it_is_in_the_document_of_the_server(spoken):
    with serving(spoken) as server:
        paths = server.ask("/openapi.json")[1]["paths"]
    body = paths[PATH]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["properties"]) > {"prediction_id", "thumbs", "score", "correction", "copy"}
    assert body["required"] == ["prediction_id"]
    assert "get" in paths["/feedback.js"]


def test_feedback_waits_for_a_spool_that_can_take_it(spoken):
    manifest(spoken, max_log=100)
    with serving(spoken) as server:
        assert server.ask(PATH, {"prediction_id": "p", "thumbs": "up"})[0] == 413
        assert server.ask(PATH, {"prediction_id": "p", "text": "x" * 200})[0] == 413


def test_from_a_declaration_to_a_data_set(bikes, tmp_path, headrace):
    """By the real commands: deployed, said to a server, ingested, summed up, and made a table of."""
    folder = tmp_path / "bikes"
    shutil.copytree(bikes, folder)
    program = folder / "bikes.py"
    declared = 'hr.Feedback("thumbs", "correction", references=["thumbs", "correction"], widget=True)'
    program.write_text(program.read_text().replace("serve=hr.Serve(", f"feedback={declared}, serve=hr.Serve("))

    def run(*arguments):
        done = headrace.run(folder, *arguments)
        assert done.code == 0, done.stderr
        return done.stdout

    run("run", "deploy", "--as-of", "2024-02-15", "--version", "1")
    home = folder / ".headrace" / "dev" / "serving" / "late"
    with serving(home) as server:
        url, prediction = f"http://127.0.0.1:{server.port}", ask(server, home)
        for way in ("down", "up"):
            hr.send_feedback(url, prediction, model="late", thumbs=way, user="ann")
        hr.send_feedback(url, "nobody-1", model="late", correction="late", source="simulated")
        assert server.ask("/feedback.js")[0] == 200
        server.end()
    run("run", "ingest-log")
    told = json.loads(run("feedback", "summary", "late", "--json"))
    assert {name: told[name] for name in ("model", "rows", "matched", "unmatched", "late", "simulated")} == {
        "model": "late",
        "rows": 2,
        "matched": 1,
        "unmatched": 1,
        "late": 0,
        "simulated": 1,
    }
    thumbs = next(each for each in told["rates"] if each["kind"] == "thumbs")
    assert (thumbs["version"], thumbs["count"], thumbs["share"], thumbs["answers"]) == (1, 1, 1.0, 1)
    assert thumbs["low"] < 1 == thumbs["high"]
    assert "100.0%" in run("feedback", "summary", "late")
    assert {each["kind"] for each in json.loads(run("feedback", "list", "late", "--json"))} == {"thumbs", "correction"}
    made = json.loads(run("feedback", "to-dataset", "late", "gold.examples", "--json"))
    assert (made["rows"], made["added"]) == (1, 1)
    again = json.loads(run("feedback", "to-dataset", "late", "gold.examples", "--json"))
    assert (again["rows"], again["added"], again["version"]) == (1, 0, made["version"])
    (example,) = json.loads(run("sql", "select * from gold.examples", "--json"))
    assert (example["prediction_id"], example["reference_from"]) == (prediction, "thumbs")
    log = json.loads(run("feedback", "to-dataset", "late", "gold.log", "--answers-of", "1", "--json"))
    assert (log["rows"], log["added"]) == (1, 1)
    assert json.loads(run("sql", "select reference_from, feedback_id from gold.log", "--json")) == [
        {"reference_from": "answer", "feedback_id": None}
    ]
    best = json.loads(run("feedback", "to-dataset", "late", "gold.best", "--answers-of", "1", "--liked", "--json"))
    assert best["rows"] == 1
    assert headrace.run(folder, "feedback", "to-dataset", "late", "gold.best", "--liked").code == 2
    assert headrace.run(folder, "feedback", "to-dataset", "late", "gold.best", "--answers-of", "9").code == 2
    for into, code in (("answers.late", 3), ("metrics.mine", 2), ("city.asked", 3), ("nothing", 2)):
        assert headrace.run(folder, "feedback", "to-dataset", "late", into).code == code, into
    assert headrace.run(folder, "feedback", "summary", "later").code == 2
    assert headrace.run(bikes, "feedback", "summary", "late").code == 2  # it declares none
