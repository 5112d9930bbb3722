"""Restore, optimize and vacuum: what they do to rows, to ids, and to the versions that others pinned."""

import pyarrow as pa
import pytest

from headrace.core.errors import DataError, NotFoundError, RefusedError
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.lakehouse.writes import Append, Overwrite, Upsert

T = "silver.t"


@pytest.fixture
def lake(tmp_path):
    return Lakehouse("dev", str(tmp_path / "dev"))


def add(lake, step, *keys):
    return lake.commit(T, step, lambda _: Append(pa.table({"k": keys})))


def keys(lake, version=None):
    return sorted(lake.snapshot(T, version).to_arrow()["k"].to_pylist())


def never(_):
    raise AssertionError("computed again")


# ---------------------------------------------------------------------------------------------- restore


def test_a_change_that_was_undone_can_be_made_again_and_one_that_stands_cannot(lake):
    kept = add(lake, "a", 1)
    add(lake, "b", 2)
    restored = lake.restore(T, kept.version)
    assert (keys(lake), restored.version, restored.data_version) == ([1], 3, 3)
    again = lake.commit(T, "a", never)
    assert (again.already, again.version) == (True, kept.version)
    assert not add(lake, "b", 2).already
    assert lake.commit(T, "b", never).already
    assert keys(lake) == [1, 2]


def test_epochs_nest(lake):
    versions = {step: add(lake, step, each).version for each, step in enumerate("abc")}
    lake.restore(T, versions["b"])
    versions["d"] = add(lake, "d", 3).version
    lake.restore(T, versions["a"])
    lake.restore(T, versions["d"])  # forward again: a, b, d
    assert keys(lake) == [0, 1, 3]
    assert [lake.commit(T, step, never).already for step in "abd"] == [True] * 3
    assert not add(lake, "c", 2).already
    lake.restore(T, versions["c"])  # back into the first epoch: a, b, c
    assert keys(lake) == [0, 1, 2]
    assert [lake.commit(T, step, never).already for step in "abc"] == [True] * 3
    assert not add(lake, "d", 3).already


def test_restoring_brings_columns_and_properties_back(lake):
    first = lake.commit(T, "a", lambda _: Append(pa.table({"k": [1]})), properties={"headrace.kind": "old"})
    lake.commit(T, "b", lambda _: Overwrite(pa.table({"w": [1]})), properties={"headrace.kind": "new"})
    lake.restore(T, first.version)
    assert lake.snapshot(T).schema.names == ["k"]
    assert lake.snapshot(T).properties == {"headrace.kind": "old"}


def test_a_writer_at_work_while_the_table_is_restored_starts_again_in_the_new_epoch(lake):
    first = add(lake, "a", 1)
    add(lake, "b", 2)
    seen = []

    def change(snapshot):
        seen.append(snapshot.rows())
        if len(seen) == 1:
            lake.restore(T, first.version)
        return Append(pa.table({"k": [3]}))

    assert not lake.commit(T, "c", change).already
    assert seen == [2, 1]
    assert keys(lake) == [1, 3]
    assert lake.commit(T, "c", never).already


def test_restoring_the_present_version_makes_none(lake):
    latest = add(lake, "a", 1).version
    assert lake.restore(T, latest).already
    assert lake.snapshot(T).version == latest


@pytest.mark.parametrize("version", [-1, 0, 2])
def test_only_versions_that_held_rows_can_be_restored(lake, version):
    add(lake, "a", 1)
    with pytest.raises(NotFoundError, match="latest version is 1"):
        lake.restore(T, version)


def test_a_version_that_lost_files_is_neither_restored_nor_read(lake):
    first = add(lake, "a", 1)
    lake.commit(T, "b", lambda _: Overwrite(pa.table({"k": [2]})))
    assert len(lake.vacuum(T, retention_hours=0)) == 1
    latest = lake.snapshot(T).version
    with pytest.raises(RefusedError, match="1 of its files were vacuumed"):
        lake.restore(T, first.version)
    with pytest.raises(DataError, match="1 of its files were vacuumed"):
        lake.connect({T: first.version})
    assert (lake.snapshot(T).version, keys(lake)) == (latest, [2])


# ---------------------------------------------------------------------------------------------- optimize, vacuum


def test_rewriting_files_is_not_a_change_of_data(lake):
    for each in range(4):
        last = add(lake, f"{each}", each)
    assert lake.optimize(T) == 4
    lake.vacuum(T)
    assert lake.snapshot(T).version > last.version
    assert lake.data_version(T) == last.version
    assert keys(lake) == [0, 1, 2, 3]
    assert lake.commit(T, "3", never).data_version == last.version


def test_vacuum_keeps_the_versions_that_it_is_told_to(lake):
    pinned = add(lake, "a", 1)
    lost = lake.commit(T, "b", lambda _: Overwrite(pa.table({"k": [2]})))
    lake.commit(T, "c", lambda _: Upsert(pa.table({"k": [3]}), ["k"], delete=pa.table({"k": [2]})))
    lake.vacuum(T, keep_versions=[pinned.version], retention_hours=0)
    assert keys(lake) == [3]
    assert keys(lake, pinned.version) == [1]
    with pytest.raises(DataError, match="vacuumed"):
        keys(lake, lost.version)
    lake.restore(T, pinned.version)
    assert keys(lake) == [1]


def test_vacuum_refuses_to_keep_what_is_not_there(lake):
    add(lake, "a", 1)
    with pytest.raises(NotFoundError, match="version"):
        lake.vacuum(T, keep_versions=[7])


def test_vacuum_leaves_young_files(lake):
    add(lake, "a", 1)
    lake.commit(T, "b", lambda _: Overwrite(pa.table({"k": [2]})))
    assert lake.vacuum(T) == []
    assert keys(lake, 1) == [1]
