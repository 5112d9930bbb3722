"""A report is read strictly: what is wrong is named."""

import json

import pytest
from tests.support.merge_requests import STEPS, document

from headrace.ci_hosts.report import read_report
from headrace.core.errors import ConfigError, DataError


def read(tmp_path, text):
    file = tmp_path / "report.json"
    file.write_bytes(text if isinstance(text, bytes) else json.dumps(text).encode())
    return read_report(file)


def test_a_whole_report_is_read_and_what_is_new_in_it_is_left_out(tmp_path):
    report = read(tmp_path, {**document(), "later": 1})
    assert (report.project, report.failed.step, report.failed.log) == (
        "shop",
        "train",
        "reading\nno labelled decision",
    )
    assert (report.finished_at - report.started_at).total_seconds() == 90


@pytest.mark.parametrize("key", document())
def test_a_missing_key_is_named(tmp_path, key):
    with pytest.raises(DataError, match=f"the key {key} is missing"):
        read(tmp_path, {name: value for name, value in document().items() if name != key})


@pytest.mark.parametrize("key", STEPS[0])
def test_a_missing_key_of_a_step_is_named_with_its_place(tmp_path, key):
    step = {name: value for name, value in STEPS[0].items() if name != key}
    with pytest.raises(DataError, match=rf"the key steps\[1\].{key} is missing"):
        read(tmp_path, document(steps=[STEPS[0], step]))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("project", 1),
        ("project", " "),
        ("lock", False),
        ("passed", "yes"),
        ("passed", 1),
        ("started_at", "yesterday"),
        ("finished_at", 3),
        ("signed_by", ""),
        ("steps", {}),
        ("steps", [1]),
        ("steps", [{**STEPS[0], "seconds": -1}]),
        ("steps", [{**STEPS[0], "seconds": True}]),
        ("steps", [{**STEPS[0], "seconds": 10**400}]),
        ("steps", [{**STEPS[0], "result": "fine"}]),
        ("steps", [{**STEPS[0], "log": None}]),
    ],
)
def test_a_value_of_another_kind_is_named(tmp_path, key, value):
    with pytest.raises(DataError, match=rf"{key}.* has to be .*, not "):
        read(tmp_path, document(**{key: value}))


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[" * 100_000, b'{"project": NaN}', b"[]", b"3"])
def test_what_is_no_report_is_refused(tmp_path, text):
    with pytest.raises(DataError, match=r"JSON|has to be an object"):
        read(tmp_path, text)


def test_a_report_that_contradicts_itself_is_refused(tmp_path):
    with pytest.raises(DataError, match="passed is true, and the step 'train' failed"):
        read(tmp_path, document(passed=True))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nothing.json' cannot be read: No such file"):
        read_report(tmp_path / "nothing.json")
