"""A document of a catalog is read back as it was written; what a stranger wrote is checked."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.catalog.documents import MOMENT, document, model, table, use

from headrace.catalog.document import BYTES, FORMAT, MOST, TEXT, LaterFormatError, decode
from headrace.core.errors import DataError

WHOLE = document(
    remote="https://example.org/shop.git",
    commit="abc",
    feature_tables=(table(description="Orders \ud800 \x1b[31m é", newest=None), table("stats.new", location=None)),
    models=(model(features=(use(), use("stats.gone", location=None)), functions=("hour",)),),
)


def read(data, **other):
    return decode(data, **{"project": "shop", "environment": "dev", **other})


def changed(*path, to):
    """The JSON of a whole document in which one value is another one."""
    told = json.loads(WHOLE.encode())
    inner = told
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to
    return json.dumps(told).encode()


def test_a_document_is_read_back_as_it_was_written():
    assert read(WHOLE.encode()) == WHOLE


def test_when_it_was_written_is_not_what_it_says():
    assert replace(WHOLE, written=MOMENT + timedelta(days=1)).fingerprint() == WHOLE.fingerprint()
    assert replace(WHOLE, commit="def").fingerprint() != WHOLE.fingerprint()
    assert read(WHOLE.encode()).fingerprint() == WHOLE.fingerprint()


def test_a_key_that_is_not_known_does_no_harm():
    assert read(changed("more", to={"deep": [1]})) == WHOLE


def test_a_later_release_is_named_as_such():
    with pytest.raises(LaterFormatError, match=f"later release of Headrace: format {FORMAT + 1}"):
        read(changed("format", to=FORMAT + 1))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"9" * 100_000, "not JSON"),
        (b"[]", "is not an object"),
        (b"{}", "format is None"),
        (changed("format", to=True), "format is not a count"),
        (changed("format", to="1"), "format is not a count"),
        (changed("project", to="../../etc"), "project is not a possible name"),
        (changed("project", to="other"), "says that it is of 'dev' of project 'other'"),
        (changed("environment", to="prod"), "says that it is of 'prod'"),
        (changed("written", to="yesterday"), "written is not a moment"),
        (changed("written", to=None), "written is null"),
        (changed("rank", to=-1), "rank is not a count"),
        (changed("feature_tables", to={}), "feature_tables is not a list"),
        (changed("feature_tables", 0, to=7), "an entry of feature_tables is not an object"),
        (changed("feature_tables", 0, "name", to='a.b"); import os; ("'), "name is not a possible name"),
        (changed("feature_tables", 0, "rows", to=1 << 63), "rows is not a count"),
        (changed("feature_tables", 0, "rows", to=1.5), "rows is not a count"),
        (changed("feature_tables", 0, "key", to=[1]), "key is not a list of texts"),
        (changed("feature_tables", 0, "online", to=1), "online is not true or false"),
        (changed("feature_tables", 0, "description", to="x" * (TEXT + 1)), "description is not a text of up to"),
        (changed("feature_tables", 0, "used_by", to=["m"] * (MOST + 1)), "used_by is not a list of up to"),
        (changed("feature_tables", 0, "columns", 0, "null_percent", to=10**400), "null_percent is not a number"),
        (changed("feature_tables", 0, "columns", 0, "null_percent", to=float("nan")), "NaN is not a number of JSON"),
        (changed("models", 0, "name", to="a b"), "name is not a possible name"),
        (changed("models", 0, "versions", 0, "stage", to="Best"), "stage is not a possible name"),
    ],
)
def test_what_is_malformed_is_refused_with_the_reason(data, reason):
    with pytest.raises(DataError, match="not JSON|" + reason) as refused:
        read(data)
    assert reason in str(refused.value)
    assert len(str(refused.value)) < 500


def test_what_is_too_large_is_neither_read_nor_written():
    with pytest.raises(DataError, match="larger than"):
        read(b" " * (BYTES + 1))
    with pytest.raises(DataError, match="at most"):
        document(feature_tables=tuple(table(description="x" * TEXT) for _ in range(BYTES // TEXT))).encode()
