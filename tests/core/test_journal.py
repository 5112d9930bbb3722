import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import DataError, RefusedError
from headrace.core.journal import FILE, Journal


def written(folder, results):
    journal = Journal(folder, "a")
    for key, result in results.items():
        journal.put(key, result)
    journal.close()


def read(folder, keys):
    journal = Journal(folder, "a")
    found = {key: journal.get(key) for key in keys if journal.get(key) is not None}
    journal.close()
    return found


RESULTS = st.dictionaries(
    st.text(min_size=1), st.dictionaries(st.text(), st.text(st.characters()) | st.floats(allow_nan=False)), max_size=5
)


@given(RESULTS, st.integers(0, 400))
def test_wherever_the_file_was_cut_the_whole_lines_before_are_there_and_writing_goes_on(tmp_path_factory, results, cut):
    folder = tmp_path_factory.mktemp("journal")
    written(folder, results)
    data = (folder / FILE).read_bytes()
    end = max(0, len(data) - cut)
    os.truncate(folder / FILE, end)
    whole = max(0, data[:end].count(b"\n") - 1)
    assert read(folder, results) == dict(list(results.items())[:whole])
    written(folder, {"new": {"x": 1}})
    assert read(folder, [*results, "new"]) == dict(list(results.items())[:whole]) | {"new": {"x": 1}}


def test_several_threads_write_whole_lines(tmp_path):
    results = {str(number): {"text": "x" * 20_000} for number in range(60)}
    journal = Journal(tmp_path, "a")
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda pair: journal.put(*pair), results.items()))
    journal.close()
    assert read(tmp_path, results) == results


def test_a_last_line_of_zeros_is_removed_and_a_broken_one_before_is_said(tmp_path):
    written(tmp_path, {"a": {"x": 1}})
    with (tmp_path / FILE).open("ab") as file:
        file.write(b"\x00" * 20 + b"\n")
    assert read(tmp_path, ["a"]) == {"a": {"x": 1}}
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'{"key": 1\n{"key": "b", "result": {}}\n')
    with pytest.raises(DataError, match=r"line 3 of .* cannot be read"):
        read(tmp_path, ["a"])


def test_a_journal_of_something_else_is_not_continued(tmp_path):
    written(tmp_path, {})
    with pytest.raises(RefusedError, match="is of other work"):
        Journal(tmp_path, "b")


def test_nobody_else_can_read_it_and_a_link_is_not_followed(tmp_path):
    written(tmp_path, {})
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / FILE).symlink_to(tmp_path / FILE)
    with pytest.raises(OSError, match="symbolic links"):
        Journal(tmp_path / "linked", "a")
