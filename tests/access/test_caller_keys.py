"""The keys that callers show follow their file, also after a moment in which it cannot be read."""

import os
from datetime import timedelta

import pytest

from headrace.access import api_keys
from headrace.access.caller_keys import CallerKeys
from headrace.core.errors import DataError


@pytest.fixture
def file(tmp_path):
    return tmp_path / "api-keys.json"


def test_a_key_is_known_by_its_text(file):
    text = api_keys.create(file, "page", scopes=("feedback",), lasts=None)
    keys = CallerKeys(file)
    assert keys.shown(f"bearer  {text} ").name == "page"
    assert [keys.shown(each) for each in ("", text, f"Basic {text}", "Bearer hr_other", "Bearer")] == [None] * 5


def test_a_key_that_has_expired_is_none(file):
    text = api_keys.create(file, "page", scopes=("predict",), lasts=timedelta(seconds=-1))
    assert CallerKeys(file).shown(f"Bearer {text}") is None


def test_a_revoked_key_is_none_also_where_the_file_could_not_be_read_for_a_moment(file, caplog):
    text = api_keys.create(file, "page", scopes=("predict",), lasts=None)
    keys = CallerKeys(file)
    api_keys.revoke(file, "page")
    revoked = file.read_bytes()
    file.write_text("{")
    at = file.stat().st_mtime_ns
    for _ in range(3):
        keys.follow()
    assert keys.shown(f"Bearer {text}").name == "page"  # as it was
    assert len(caplog.records) == 1
    file.write_bytes(revoked)  # in the same file, at the same moment
    os.utime(file, ns=(at, at))
    keys.follow()
    assert keys.shown(f"Bearer {text}") is None


def test_a_file_that_cannot_be_read_at_the_beginning_is_an_error(file):
    file.write_text("[]")
    with pytest.raises(DataError, match="cannot be read"):
        CallerKeys(file)


def test_until_the_first_key_nobody_needs_one_and_after_the_last_one_nobody_gets_in(file):
    keys = CallerKeys(file, open_without=True)
    assert not keys.needed
    text = api_keys.create(file, "page", scopes=("predict",), lasts=None)
    keys.follow()
    assert keys.needed
    assert keys.shown(f"Bearer {text}").name == "page"
    api_keys.revoke(file, "page")
    keys.follow()
    assert keys.needed
    file.unlink()
    keys.follow()
    assert keys.needed
    assert keys.shown(f"Bearer {text}") is None
    assert CallerKeys(file).needed  # where a file was named on purpose
