"""Any sequence of changes, repeated changes, restores and rewrites does to a table what it does to a plain list of rows."""

import tempfile
from collections import Counter
from dataclasses import dataclass

import pyarrow as pa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from headrace.lakehouse.lakehouse import Lakehouse
from headrace.lakehouse.writes import Append, Overwrite, Upsert

T = "silver.t"
KEYS = st.one_of(st.none(), st.integers(0, 5))
VALUES = st.one_of(st.none(), st.sampled_from(["", "a", "é😀"]))
COLUMNS = st.sampled_from([("k", "v"), ("v", "k"), ("k", "v", "w")])
SCHEMA = {"k": pa.int64(), "v": pa.string(), "w": pa.int8()}


@dataclass(frozen=True)
class Version:
    """Rows as (k, v, w), and which ids are in them, with the version that each made."""

    rows: tuple
    ids: dict
    data: int


def table(rows, columns):
    fields = [(name, SCHEMA[name]) for name in columns]
    arrays = [pa.array([row["kvw".index(name)] for row in rows], kind) for name, kind in fields]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


class Histories(RuleBasedStateMachine):
    """The model: every version's rows. The system: a Delta table on disk."""

    ids = Bundle("ids")

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.lake = Lakehouse("dev", self.folder.name)
        self.versions = {}
        self.latest = 0
        self.given = 0

    @initialize(target=ids)
    def first(self):
        return self._commit(Overwrite(table([(0, "a", 1)], "kvw")), lambda _: [(0, "a", 1)])

    @rule(target=ids, rows=st.lists(st.tuples(KEYS, VALUES, st.integers(0, 3)), max_size=4), columns=COLUMNS)
    def append(self, rows, columns):
        rows = self._as_written(rows, columns)
        return self._commit(Append(table(rows, columns)), lambda there: [*there, *rows])

    @rule(target=ids, rows=st.lists(st.tuples(KEYS, VALUES, st.integers(0, 3)), max_size=4))
    def overwrite(self, rows):
        return self._commit(Overwrite(table(rows, "kvw")), lambda _: rows)

    @rule(
        target=ids,
        rows=st.lists(st.tuples(KEYS, VALUES, st.integers(0, 3)), max_size=4, unique_by=lambda row: row[0]),
        delete=st.sets(KEYS, max_size=3),
        columns=COLUMNS,
    )
    def upsert(self, rows, delete, columns):
        rows = self._as_written(rows, columns)
        written = {row[0]: row for row in rows}
        delete = delete - written.keys()

        def expected(there):
            kept = [written.get(row[0], row) for row in there if row[0] not in delete]
            known = {row[0] for row in there}
            return [*kept, *(row for row in rows if row[0] not in known)]

        return self._commit(Upsert(table(rows, columns), ["k"], table([(k,) for k in delete], "k")), expected)

    @rule(target=ids, step=consumes(ids))
    def run_again(self, step):
        self._check_commit(*step)
        return multiple(step)

    @rule(back=st.integers(0, 6))
    def restore(self, back):
        version = sorted(self.versions)[-1 - back % len(self.versions)]
        if version != self.latest:
            restored = self.versions[version]
            self.latest = self.lake.restore(T, version).version
            self.versions[self.latest] = Version(restored.rows, restored.ids, self.latest)

    @rule()
    def optimize(self):
        self.lake.optimize(T)
        self._follow()

    @rule()
    def change_nothing(self):
        assert self.lake.commit(T, "nothing", lambda _: None).version == self.latest

    @invariant()
    def the_table_is_the_model(self):
        if self.versions:
            snapshot, model = self.lake.snapshot(T), self.versions[self.latest]
            assert snapshot.version == self.latest
            assert (Counter(self._rows(None)), snapshot.rows()) == (Counter(model.rows), len(model.rows))
            assert snapshot.data_version == model.data

    def teardown(self):
        for version, model in self.versions.items():
            assert Counter(self._rows(version)) == Counter(model.rows)
        self.folder.cleanup()

    def _as_written(self, rows, columns):
        return [(k, v, w if "w" in columns else None) for k, v, w in rows]

    def _commit(self, change, expected):
        self.given += 1
        step = f"step {self.given}"
        self._check_commit(step, change, expected)
        return step, change, expected

    def _check_commit(self, step, change, expected):
        model = self.versions.get(self.latest, Version((), {}, 0))
        commit = self.lake.commit(T, step, lambda _: change)
        assert commit.already is (step in model.ids)
        if commit.already:
            assert commit.version == model.ids[step]
            return
        data = self.lake.data_version(T)
        assert data in (commit.version, model.data)
        rows = tuple(expected(list(model.rows)))
        assert data == commit.version or rows == model.rows
        self.latest = commit.version
        self.versions[commit.version] = Version(rows, {**model.ids, step: commit.version}, data)

    def _follow(self):
        """A version that leaves rows as they were."""
        version = self.lake.snapshot(T).version
        if version > self.latest:
            self.versions[version] = self.versions[self.latest]
            self.latest = version

    def _rows(self, version):
        read = self.lake.snapshot(T, version).to_arrow()
        return [tuple(row[name] for name in "kvw") for row in read.to_pylist()]


Histories.TestCase.settings = settings(max_examples=12, stateful_step_count=12, deadline=None)
TestHistories = Histories.TestCase
