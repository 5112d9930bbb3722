"""Projects and files that hypothesis draws: no input of a user is a defect of Headrace, and what is taken is right.

The suite draws two hundred examples, always the same. By hand, others are drawn for as long as there is time, all laws in
turn or one of them; each kind of failure is printed once, with its example:

    python -m tests.cases.test_drawn_projects --minutes 10 [--law whole_loop]
"""

import argparse
import inspect
import math
import re
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisException, StopTest
from tests.cases.drawn import (
    ANY_NAMES,
    ARROW,
    LABEL_TYPES,
    NULLS,
    PLACE,
    cell,
    damaged,
    files,
    instant,
    kind_of,
    learned,
    number,
    objects,
    parquets,
    same,
)
from tests.support.zygote import Zygote

import headrace as hr
from headrace.core.errors import HeadraceError
from headrace.core.schema import TYPES, Schema
from headrace.features.declarations import FeatureTable
from headrace.features.plan import plan
from headrace.lakehouse.declarations import Source, Table
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.lakehouse.materialize import materialize
from headrace.lakehouse.source import load
from headrace.lakehouse.writes import Overwrite
from headrace.scoring.columns import key_columns
from headrace.training import training_set
from headrace.training.labels import check_label

INTERNALS = re.compile(
    r"Traceback|Arrow(Invalid|NotImplemented|Key|Type)|(Binder|Parser|Conversion|Catalog|Internal|InvalidInput) (Error|Exception)"
    r"|<class |DeltaError|object at 0x|NoneType|std::|<unknown>"
)
TYPED = st.none() | st.sampled_from(TYPES)


def drawn(examples):
    """So many examples, always the same."""
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],  # looking for a smaller example takes minutes; by hand there is time
    )


def check_refusal(error):
    """An error is a sentence or more, and none from inside."""
    note(str(error))
    assert not INTERNALS.search(str(error)), str(error)
    assert len(str(error).partition("\n")[0]) > 20, str(error)


# ------------------------------------------------------------------------------------------ files into bronze


class Lake:
    """The table of files in a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.lake = Lakehouse("dev", str(folder / "lake"))

    def takes(self, file, schema=None):
        """Whether a file was loaded, and not refused."""
        note(f"{file!r} {schema!r}")
        (self.folder / file.name).write_bytes(file.written)
        try:
            load(self.lake, Source("bronze.t", files="[ab].*", schema=schema), self.folder)
        except HeadraceError as error:
            check_refusal(error)
            return False
        return True

    def cells(self, file):
        """Of each value: its column, the cell that was written, what is there."""
        rows = [row for row in self.lake.snapshot("bronze.t").to_arrow().to_pylist() if row["_file"] == file.name]
        rows.sort(key=lambda row: row[PLACE])
        assert [row[PLACE] for row in rows] == list(range(file.rows))
        return [
            (name, written, row[name])
            for name, cells in file.columns.items()
            for written, row in zip(cells, rows, strict=True)
        ]

    def check(self, file):
        for name, written, got in self.cells(file):
            assert same(written, got, text_file=kind_of(file.name) == "csv"), (name, written, got)


def file_after_file(first, data, folder):
    """What is loaded is what was written; a second file of other types is loaded whole, or refused and changes nothing."""
    bronze = Lake(folder)
    if bronze.takes(first):
        bronze.check(first)
        second = data.draw(files(like=first))
        if bronze.takes(second):
            bronze.check(second)
        bronze.check(first)


def declared_types(first, data, folder):
    """In the type that was declared, a value is what was written, or the file is refused."""
    types = {name: data.draw(TYPED) for name in first.kinds if name != PLACE}
    schema = {name: each for name, each in types.items() if each}
    bronze = Lake(folder)
    if not bronze.takes(first, Schema(**schema) if schema else None):
        return
    for name, written, got in bronze.cells(first):
        if schema.get(name, "string") == "string":
            assert same(written, got, text_file=kind_of(first.name) == "csv"), (name, written, got)
        elif written.value is None or got is None:
            assert got is None, (name, written, got)
            assert written.value is None or written.text in NULLS, (name, written, got)
        elif schema[name] != "float32" and first.kinds[name] != "text":
            assert is_value(written.value, got), (name, schema[name], written, got)


def is_value(wrote, got):
    if isinstance(got, datetime) and isinstance(wrote, datetime):
        return instant(got) == instant(wrote)
    if isinstance(got, datetime):
        return (got.year, got.month, got.day, got.hour) == (wrote.year, wrote.month, wrote.day, 0)
    if isinstance(got, date):
        return got == (wrote.date() if isinstance(wrote, datetime) else wrote) and wrote.isoformat()[11:] in (
            "",
            "00:00:00",
        )
    if isinstance(got, bool) or isinstance(wrote, bool):
        return wrote in (0, 1) and bool(wrote) == got
    if isinstance(got, float):
        return got == float(wrote) or math.isnan(got)
    return number(got) == number(wrote)


def whatever_is_in_a_file(first, data, folder):
    """A file is loaded and can be read by everything that reads tables, or it is refused."""
    declared = data.draw(TYPED)
    name = next((name for name in first.kinds if name != PLACE), "a")
    bronze = Lake(folder)
    if bronze.takes(first, Schema(**{name: declared}) if declared and name else None):
        bronze.lake.snapshot("bronze.t").to_arrow().to_pylist()
        with bronze.lake.connect({"bronze.t": None}) as connection:
            connection.sql("from bronze.t").to_arrow_table()


# ------------------------------------------------------------------------------------------ training sets


def tables_of(first):
    """Name → rows and types of the three tables from which a model learns."""
    keys = {name: ARROW[kind] for name, kind in first.keys.items()}
    plain, kind = next(iter(first.features.items()))
    key = next(iter(keys))
    return {
        "d": (first.decisions, {**keys, first.at: ARROW["instant"], plain: pa.string() if kind == "null" else ARROW[kind]}),
        "l": (first.labels, {**keys, first.known: ARROW["instant"], first.label: LABEL_TYPES[first.task]}),
        "f": (first.rows, {key: keys[key], first.available: ARROW["instant"], first.looked_up: pa.float64()}),
    }  # fmt: skip


def arrow(rows, types):
    return pa.table({name: pa.array([row[name] for row in rows], kind) for name, kind in types.items()})


def training_sets(first, data, folder):
    """Labels and features are those that loops over all labels and all rows of features find."""
    note(repr(first))
    lake = Lakehouse("dev", str(folder / "lake"))
    for name, (rows, types) in tables_of(first).items():
        made = Overwrite(arrow(rows, types))
        lake.commit(f"raw.{name}", name, lambda _, made=made: made)
    plain, keys = next(iter(first.features)), list(first.keys)
    decisions = Table("silver.d", key=keys, sql="select * from raw.d")
    truth = Table("gold.l", key=keys, time=first.known, sql="select * from raw.l")
    features = FeatureTable("features.f", key=keys[0], time=first.available, sql="select * from raw.f")
    try:
        for each in (decisions, truth, features):
            materialize(lake, each, id=each.name, versions={f"raw.{each.name[-1]}": None})
        model = hr.Model(
            "m",
            fit=lambda data, params: None,
            task=getattr(hr, first.task)(label=truth[first.label]),
            spine=decisions.at(first.at),
            features=[decisions.select(plain), features.select(first.looked_up)],
            evaluate=hr.Evaluate(test="1d"),
        )
        found = {each.name: lake.snapshot(each.name) for each in (decisions, truth, features)}
        schemas = {name: each.schema for name, each in found.items()}
        check_label(model, schemas)
        planned = plan(model.spine, model.features, schemas)
        versions = {name: each.version for name, each in found.items()}
        written = training_set.build(lake, model, planned, versions, as_of=first.as_of, id="x")
        read = training_set.TrainingSet.stored(lake, model, planned, {}, written.version)
    except HeadraceError as error:
        check_refusal(error)
        return
    made = {key_of(row, keys): row for row in lake.snapshot("training.m").to_arrow().to_pylist()}
    assert len(read.computed) == len(made)
    wanted = {key_of(row, keys): row for row in first.decisions if first.label_of(row) is not None}
    assert set(made) == set(wanted)
    for key, row in made.items():
        assert row["_label"] == first.label_of(wanted[key]), row
        assert same(cell(first.feature_of(wanted[key])), row[first.looked_up], text_file=False), row
        assert same(cell(wanted[key][plain]), row[plain], text_file=False), row


def key_of(row, names):
    values = [row[name] for name in names]
    return tuple(instant(each).isoformat() if isinstance(each, datetime) else str(each) for each in values)


# ------------------------------------------------------------------------------------------ commands

TOML = '[project]\nname = "p"\nmodule = "proj"\n\n[env.dev]\n'
SHOWN = [
    ("sql", "--json", "select * from bronze.t"),
    ("sql", "select * from bronze.t"),
    ("table", "show", "bronze.t"),
    ("table", "list"),
    ("status",),
    ("sql", "--json", "select * from silver.t"),
    ("sql", "summarize bronze.t"),
]


def check_command(zygote, folder, *arguments):
    """Runs a command that may be refused, but is no defect."""
    done = zygote.run(folder, *arguments)
    note(f"{arguments} {done.code} {done.stderr[-500:]}")
    assert done.code in (0, 1, 2, 3), (arguments, done.stderr[-2000:])
    assert not INTERNALS.search(done.stderr), (arguments, done.stderr[-2000:])
    return done


def shown(first, data, folder, headrace):
    """Commands show whatever is in a table."""
    note(repr(first))
    (folder / first.name).write_bytes(first.written)
    (folder / "headrace.toml").write_text(TOML)
    name = list(first.kinds)[-1].replace('"', '""')
    expected = f"hr.expect({f'{chr(34)}{name}{chr(34)} is not null'!r}, otherwise={data.draw(st.sampled_from(['fail', 'quarantine', 'warn']))!r})"
    (folder / "proj.py").write_text(
        "import headrace as hr\n\nraw = hr.Source('bronze.t', files='[ab].*')\n"
        f"t = hr.Table('silver.t', key={PLACE!r}, sql='select * exclude (_file, _digest) from bronze.t', expect=[{expected}])\n",
        encoding="utf-8",
    )
    check_command(headrace, folder, "run", "refresh")
    for arguments in data.draw(st.lists(st.sampled_from(SHOWN), min_size=2, max_size=3, unique=True)):
        check_command(headrace, folder, *arguments)


PROGRAM = """\
import headrace as hr

keys, at, known, label, plain, looked_up, available = {names!r}
sources = [hr.Source("bronze." + name, files=name + ".parquet") for name in "dlf"]
decided, labelled, featured = sources
d = hr.Table("silver.d", key=keys, sql="select * exclude (_file, _digest) from bronze.d")
truth = hr.Table("gold.l", key=keys, time=known, sql="select * exclude (_file, _digest) from bronze.l")
f = hr.FeatureTable("features.f", key=keys[0], time=available, sql="select * exclude (_file, _digest) from bronze.f", online=True)


class Mean:
    def predict(self, X):
        return [1.5] * len(X)


class Even:
    def __init__(self, classes):
        self.classes_ = classes

    def predict(self, X):
        return [self.classes_[0]] * len(X)

    def predict_proba(self, X):
        import numpy as np

        return np.full((len(X), len(self.classes_)), 1 / len(self.classes_))


def fit(data, params):
    return Mean() if {task!r} == "Regression" else Even([0, 1] if {task!r} == "Binary" else sorted(data.y.unique()))


m = hr.Model("m", fit=fit, task=hr.{task}(label=truth[label]), spine=d.at(at), features=[d.select(plain), f.select(looked_up)], evaluate=hr.Evaluate(test="1d"))
p = hr.Deployment(m, score=hr.Score(into="gold.p"), serve=hr.Serve(), monitor=hr.Monitor(window="1d", min_rows=1))
"""
LOOP = (
    "refresh",
    "train --as-of 2024-01-03T12:00:00Z",
    "deploy --as-of 2024-01-03T12:00:00Z",
    "score --since 2024-01-01 --until 2024-01-05",
    "publish",
    "monitor --as-of 2024-01-04",
)


def whole_loop(first, data, folder, headrace):
    """From files to a version that was published and monitored; each decision is scored once, under its key."""
    note(repr(first))
    for name, (rows, types) in tables_of(first).items():
        pa.parquet.write_table(arrow(rows, types), folder / f"{name}.parquet")
    (folder / "headrace.toml").write_text(TOML)
    keys = list(first.keys)
    names = (keys, first.at, first.known, first.label, next(iter(first.features)), first.looked_up, first.available)
    (folder / "proj.py").write_text(PROGRAM.format(names=names, task=first.task), encoding="utf-8")
    for command in LOOP:
        done = check_command(headrace, folder, "run", *command.split())
        if done.code:
            assert command.split()[0] != "refresh", done.stderr
            return command.split()[0]
    kept = key_columns(keys)
    scored = DeltaTable(str(folder / ".headrace/dev/lakehouse/gold/p")).to_pyarrow_table().to_pylist()
    assert sorted(key_of(row, kept.values()) for row in scored) == sorted(key_of(row, keys) for row in first.decisions)
    return "ok"


# ------------------------------------------------------------------------------------------ in the suite, and by hand

PRINTABLE = ANY_NAMES.filter(lambda name: name.strip() and not name.startswith("_"))
LAWS = {  # name → law, what it is about, examples in the suite
    "file_after_file": (file_after_file, files(), 60),
    "declared_types": (declared_types, files(), 30),
    "damaged_files": (whatever_is_in_a_file, damaged(), 25),
    "objects": (whatever_is_in_a_file, objects(), 25),
    "parquets": (whatever_is_in_a_file, parquets(), 25),
    "training_sets": (training_sets, learned(), 30),
    "shown": (shown, files(names=PRINTABLE), 3),
    "whole_loop": (whole_loop, learned(whole=True), 2),
}


def follow(law, first, data, zygote):
    more = [zygote] if "headrace" in inspect.signature(law).parameters else []
    with tempfile.TemporaryDirectory() as folder:
        return law(first, data, Path(folder), *more)


@pytest.mark.parametrize("law", LAWS)
def test_drawn(law, headrace):
    holds, firsts, examples = LAWS[law]

    @drawn(examples)
    @given(first=firsts, data=st.data())
    def one(first, data):
        follow(holds, first, data, headrace)

    one()


class OverError(KeyboardInterrupt):
    """There is no time left; hypothesis lets an interrupt through."""


def hunt(law, minutes, zygote):
    """Draws examples for so long; prints each kind of failure once. Gives how many kinds there are."""
    holds, firsts, _ = LAWS[law]
    until, count, kinds, ends = time.monotonic() + 60 * minutes, 0, {}, {}

    @settings(
        max_examples=10**9,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @seed(time.time_ns())
    @given(first=firsts, data=st.data())
    def one(first, data):
        nonlocal count
        if time.monotonic() > until:
            raise OverError
        count += 1
        try:
            end = follow(holds, first, data, zygote)
            ends[end] = ends.get(end, 0) + 1
        except (HypothesisException, StopTest, OverError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever a defect raises
            frames = traceback.extract_tb(error.__traceback__)[-2:]
            kind = (type(error).__name__, *(f"{each.filename}:{each.lineno}" for each in frames))
            if kind not in kinds:
                print(f"---- {law}: {kind}\n{str(error)[:2000]}\n{first!r}"[:6000], flush=True)
            kinds[kind] = kinds.get(kind, 0) + 1

    with suppress(OverError):
        one()
    print(f"{law}: {count} examples, {len(kinds)} kinds of failure {ends if any(ends) else ''}", flush=True)
    return len(kinds)


def main():
    asked = argparse.ArgumentParser(description="Draws projects and files for as long as there is time.")
    asked.add_argument("--minutes", type=float, default=10)
    asked.add_argument("--law", choices=LAWS, action="append")
    said = asked.parse_args()
    laws = said.law or list(LAWS)
    with tempfile.TemporaryDirectory() as scratch:
        zygote = Zygote(Path(scratch))
        failed = sum(hunt(law, said.minutes / len(laws), zygote) for law in laws)
        zygote.close()
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
