"""Bodies that cannot be read, in every protocol: a 400 that names the row and the column, and nothing of the data or the server."""

import json

import pytest
from tests.serving.conftest import manifest, serving

ROW = {"kind": "city", "battery": 3.5, "rides": 4, "charge": 5.0}
NAMES = list(ROW)
KEYED = {"ride": 7, "kind": "city", "battery": 3.5, "station": "s1", "requested_at": "2024-02-24T12:00:00Z"}
SECRET = "s3cret-value"


def split(rows):
    return "/invocations", {"dataframe_split": {"columns": list(rows[0]), "data": [list(row.values()) for row in rows]}}


def records(rows):
    return "/invocations", {"dataframe_records": rows}


def instances(rows):
    return "/invocations", {"instances": [list(row.values()) for row in rows]}


def columns(rows):
    return "/invocations", {"inputs": {name: [row[name] for row in rows if name in row] for name in rows[0]}}


def csv(rows):
    lines = [",".join(rows[0]), *(",".join("" if each is None else str(each) for each in row.values()) for row in rows)]
    return "/invocations", "\n".join(lines).encode()


def tensors(rows):
    found = [
        {
            "name": name,
            "shape": [len(rows)],
            "datatype": "BYTES" if name in ("kind", "colour") else "FP64",
            "data": column,
        }
        for name, column in columns(rows)[1]["inputs"].items()
    ]
    return "/v2/models/late/infer", {"inputs": found}


def full(rows):
    return "/predict", {"rows": [{"ride": 7, **row} for row in rows]}


FORMATS = [split, records, instances, columns, csv, tensors, full]


def ask(live, path, body):
    written = path == "/invocations" and isinstance(body, bytes) and body[:1] not in (b"{", b"[")
    kind = {"content-type": "text/csv"} if written else {}
    return live.ask(path, body, headers=kind)


def refused(live, path, body, *said):
    status, answer, _ = ask(live, path, body)
    assert status == 400, answer
    assert set(answer) == ({"error"} if path.startswith("/v2/") else {"error_code", "message"})
    message = answer.get("message") or answer["error"]
    for each in said:
        assert each in message, answer
    discreet(live, message)
    return message


def discreet(live, message):
    """Nothing of the server's files, code, other columns or the caller's data."""
    assert len(message) < 400
    for each in (SECRET, str(live.root), "/home", "/tmp", ".py", "Traceback", "line ", "headrace.", "Error"):
        assert each not in message.replace("line 1 column", ""), message
    assert sum(f"'{name}'" in message or f", {name}" in message for name in (*NAMES, "ride", "station")) <= 1, message


@pytest.mark.parametrize("written", FORMATS)
class TestRows:
    def test_good_ones_are_answered(self, live, written):
        assert ask(live, *written([ROW, {**ROW, "kind": None}]))[0] == 200

    @pytest.mark.parametrize("value", [SECRET, [1], {"a": 1}, [SECRET], ""])
    def test_of_another_type(self, live, written, value):
        if written is csv and value != SECRET:
            return
        refused(live, *written([ROW, {**ROW, "battery": value}]), "row 1", "'battery' is no number")

    @pytest.mark.parametrize("value", [7, 1.5, True, [1], {"a": SECRET}])
    def test_of_another_type_than_text(self, live, written, value):
        if written is csv:
            return  # there all is text
        refused(live, *written([ROW, {**ROW, "kind": value}]), "row 1", "'kind' is no text")

    def test_without_a_column(self, live, written):
        short = {name: value for name, value in ROW.items() if name != "rides"}
        if written is instances:
            refused(live, *written([short]), "row 0 has 3 values")
        elif written is full:  # then it is a request by key
            refused(live, *written([short]), "row 0", "'station' is missing")
        else:
            refused(live, *written([short]), "'rides' is missing")

    def test_with_a_stray_column(self, live, written):
        if written is instances:
            refused(live, *written([{**ROW, "colour": 1}]), "row 0 has 5 values")
        else:
            refused(live, *written([{**ROW, "colour": SECRET}]), "'colour' is not an input of this model")

    def test_ragged(self, live, written):
        short = {name: value for name, value in ROW.items() if name != "charge"}
        message = refused(live, *written([ROW, short]))
        assert any(each in message for each in ("row 1", "lengths", "its shape", "'station' is missing")), message

    def test_none(self, live, written):
        path, body = written([ROW])
        empty = (
            b",".join(name.encode() for name in NAMES)
            if written is csv
            else json.loads(json.dumps(body).replace("[4]", "[]"))
        )
        if written in (split, records, instances, full):
            holder = empty["dataframe_split"] if written is split else empty
            holder["data" if written is split else next(iter(holder))] = []
        elif written in (columns, tensors):
            text = json.dumps(body)
            for value in ('["city"]', "[3.5]", "[4]", "[5.0]"):
                text = text.replace(value, "[]")
            empty = json.loads(text.replace('"shape": [1]', '"shape": [0]'))
        refused(live, path, empty, "there are no rows")

    @pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1" * 400])
    def test_of_numbers_that_are_none(self, live, written, number):
        path, body = written([{**ROW, "rides": 4711}])
        if written is csv:
            text = body.replace(b"4711", number.encode())
            if number == "NaN":  # what a table without nulls writes for one
                assert ask(live, path, text)[0] == 200
            else:
                refused(live, path, text, "row 0", "'rides' is not finite")
        else:
            refused(live, path, json.dumps(body).replace("4711", number).encode(), "no JSON")

    @pytest.mark.parametrize("number", [2**63, 2**64, -(2**63) - 1, 10**300, -0.0, 5e-324, 2**53 + 1])
    def test_of_numbers_beyond_64_bits_are_floats(self, live, written, number):
        status, answer, _ = ask(live, *written([{**ROW, "rides": number}]))
        assert status == 200, answer


@pytest.mark.parametrize("path", ["/invocations", "/predict", "/v2/models/late/infer"])
class TestBodies:
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b" ",
            b"null",
            b"7",
            b'"text"',
            b"[]",
            b"{",
            b'{"rows": [',
            b"\xff\xfe{}",
            b'{"rows": "\xff"}',
            b'{"rows": "\\ud800"}',
            b'{"a": ' * 2000 + b"1" + b"}" * 2000,
            b"[" * 200_000,
            b'{"a": 1} {"b": 2}',
            b"\x00" * 100,
            b"\xef\xbb\xbf{}",
            b"{'rows': []}",
        ],
    )
    def test_that_are_no_json_object(self, live, path, body):
        refused(live, path, body if body[:1] in (b"{", b"[") or not body else b" " + body)

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"rows": None},
            {"rows": {}},
            {"inputs": None},
            {"inputs": 7},
            {"inputs": [[]]},
            {"inputs": [{}]},
            {"inputs": [None]},
            {"instances": [[[]]]},
            {"dataframe_split": []},
            {"dataframe_split": {}},
            {"dataframe_split": {"columns": {}, "data": []}},
            {"dataframe_split": {"columns": [[]], "data": []}},
            {"dataframe_split": {"columns": [None], "data": [[1]]}},
            {"dataframe_split": {"data": [None]}},
            {"dataframe_records": [[]]},
            {"dataframe_records": {}},
            {"rows": [[]]},
            {"rows": [{}]},
            {"rows": [{"ride": {}}]},
            {"rows": [KEYED], "features": "yes"},
            {"rows": [KEYED], "features": None},
            {"rows": [KEYED], "colour": 1},
            {"a" * 100_000: 1},
            {"a\r\nb: c": 1},
        ],
    )
    def test_of_another_shape(self, live, path, body):
        message = refused(live, path, body)
        assert "\n" not in message
        assert "\r" not in message


class TestTensors:
    GOOD = [
        {"name": "kind", "shape": [1], "datatype": "BYTES", "data": ["city"]},
        *({"name": name, "shape": [1], "datatype": "FP64", "data": [1]} for name in NAMES[1:]),
    ]

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"datatype": "FP128"}, "no datatype"),
            ({"datatype": []}, "no datatype"),
            ({"datatype": {}}, "no datatype"),
            ({"datatype": None}, "no datatype"),
            ({"name": 7}, "no name"),
            ({"name": ["kind"]}, "no name"),
            ({"shape": [2]}, "1 values"),
            ({"shape": []}, "its shape must be"),
            ({"shape": [1, 1, 1]}, "its shape must be"),
            ({"shape": [-1]}, "its shape must be"),
            ({"shape": [True]}, "its shape must be"),
            ({"shape": [1.0]}, "its shape must be"),
            ({"shape": [2**70]}, "its shape must be"),
            ({"shape": "1"}, "no list"),
            ({"shape": [2**30, 2**30]}, "1 values"),
            ({"data": "city"}, "no list"),
            ({"data": [["city", "city"]]}, "not of its shape"),
            ({"data": [["city"], "city"], "shape": [2]}, "not of its shape"),
            ({"data": [{}]}, "is no text"),
            ({"name": "battery"}, "twice"),
            ({"colour": 1}, "unexpected 'colour'"),
        ],
    )
    def test_that_cannot_be_read(self, live, change, said):
        body = {"inputs": [{**self.GOOD[0], **change}, *self.GOOD[1:]]}
        refused(live, "/v2/models/late/infer", body, said)

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ({"inputs": GOOD, "outputs": 7}, "no list"),
            ({"inputs": GOOD, "outputs": [7]}, "does not give"),
            ({"inputs": GOOD, "outputs": [{"name": []}]}, "does not give"),
            ({"inputs": GOOD, "id": 7}, "'id' is no text"),
            ({"inputs": [], "id": "7"}, "is missing"),
            (
                {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP64", "data": [1, 2, 3, 4]}]},
                "'kind' is no text",
            ),
            ({"inputs": [{"name": "x", "shape": [5, 0], "datatype": "FP64", "data": []}]}, "there are no rows"),
        ],
    )
    def test_in_a_request_that_cannot_be_read(self, live, body, said):
        refused(live, "/v2/models/late/infer", body, said)

    @pytest.mark.parametrize(
        "path", ["/v2/models/late/a/infer", "/v2/models/late/versions/1/b/infer", "/v2/models//infer"]
    )
    def test_elsewhere(self, live, path):
        assert live.ask(path, {"inputs": self.GOOD})[0] == 404


class TestKeys:
    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"ride": None}, "'ride' is null"),
            ({"ride": []}, "'ride' is int64; list was given"),
            ({"ride": {"a": SECRET}}, "'ride' is int64; dict was given"),
            ({"ride": SECRET}, "'ride' is int64; str was given"),
            ({"ride": True}, "'ride' is int64; bool was given"),
            ({"ride": 1.5}, "'ride' is int64; a number that it cannot hold was given"),
            ({"ride": 2**64}, "'ride' is int64; a number that it cannot hold was given"),
            ({"station": 7}, "'station' is string"),
            ({"station": [SECRET]}, "'station' is string"),
            ({"requested_at": SECRET}, "'requested_at' is no time"),
            ({"requested_at": 7}, "'requested_at' is no time"),
            ({"requested_at": []}, "'requested_at' is no time"),
            ({"requested_at": "9999-12-31T23:59:59-14:00"}, "'requested_at' is out of range"),
            ({"requested_at": "0001-01-01T00:00:00+14:00"}, "'requested_at' is out of range"),
            ({"battery": SECRET}, "'battery' is no number"),
            ({"kind": 7}, "'kind' is no text"),
            ({"colour": SECRET}, "'colour' is not an input of this model"),
        ],
    )
    def test_of_a_row(self, live, change, said):
        message = refused(live, "/predict", {"rows": [KEYED, {**KEYED, **change}]}, "row 1", said)
        assert "charge" not in message

    @pytest.mark.parametrize("missing", ["ride", "kind", "battery", "station"])
    def test_that_are_missing(self, live, missing):
        row = {name: value for name, value in KEYED.items() if name != missing}
        refused(live, "/predict", {"rows": [KEYED, row]}, "row 1", f"'{missing}' is missing")

    @pytest.mark.parametrize("change", [{"ride": 2**63 - 1}, {"ride": -1.0}, {"station": None}, {"requested_at": None}])
    def test_that_are_odd_are_answered(self, live, change):
        status, answer, _ = live.ask("/predict", {"rows": [{**KEYED, **change}]})
        assert status == 200, answer
        assert answer["predictions"][0]["prediction_id"]


class TestCsv:
    HEAD = b"kind,battery,rides,charge\n"

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            (b"", "no header"),
            (b"\n", "no header"),
            (HEAD, "no rows"),
            (HEAD + b"city,1,2\n", "row 0 has 3 values"),
            (HEAD + b'city,1,2,"3\n', "no CSV"),
            (HEAD + b"city,1_000,2,3\n", "'battery' is no number"),
            (HEAD + b"city,0x10,2,3\n", "'battery' is no number"),
            (HEAD + b"\xff,1,2,3\n", "no CSV in UTF-8"),
            (b"kind,battery,rides,charge,kind\ncity,1,2,3,city\n", "'kind' is named twice"),
            (HEAD + b"a" * 200_000 + b",1,2,3\n", "no CSV"),
        ],
    )
    def test_that_cannot_be_read(self, live, body, said):
        status, answer, _ = live.ask("/invocations", body, headers={"content-type": "text/csv"})
        assert status == 400, answer
        assert said in answer["message"]
        discreet(live, answer["message"])


def test_a_name_that_comes_twice_in_an_object_has_its_last_value(live):
    """As in every JSON parser of note; there is one reading of a body, and it is what is logged."""
    last = live.ask("/invocations", b'{"dataframe_records": [{"kind":"e","battery":1,"rides":2,"charge":3}]}')
    twice = live.ask("/invocations", b'{"dataframe_records": [{"kind":7,"kind":"e","battery":1,"rides":2,"charge":3}]}')
    assert twice[:2] == last[:2]


def test_what_goes_wrong_in_the_server_does_not_say_where_its_files_are(home):
    manifest(home, log="required", max_log=1)
    with serving(home) as server:
        status, answer, _ = server.ask("/invocations", {"instances": [list(ROW.values())]})
        assert status == 413  # no record fits
        assert str(home.parent.parent) not in answer["message"]
        (home / "serving.json").write_text("{")
        told = server.wait(lambda _, told: told["stale"] != "")
        assert "serving.json' cannot be read" in told["stale"]
        assert str(home.parent.parent) not in told["stale"]
        manifest_ = home / "serving.json"
        manifest_.unlink()
        manifest_.mkdir()
        told = server.wait(lambda _, told: "{" not in told["stale"] and told["stale"] != "")
        assert str(home.parent.parent) not in told["stale"]
        assert str(home) in server.end()[1]  # its own log does say


def test_without_features_it_is_the_server_that_is_not_ready(home):
    for file in home.parent.parent.glob("online.db*"):
        file.unlink()
    with serving(home) as server:
        status, answer, headers = server.ask("/predict", {"rows": [KEYED]})
        assert (status, headers["retry-after"]) == (503, "1")
        assert "stats.busy" not in answer["message"]
        for path in ("/ready", "/ping", "/v2/health/ready", "/v2/models/late/ready"):
            assert server.ask(path)[0] == 503
        assert server.ask("/ready")[1]["status"] == "no features"
        assert server.ask("/health")[0] == 200
