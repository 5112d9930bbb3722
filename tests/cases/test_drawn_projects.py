"""Projects and files that hypothesis draws: no input of a user is a defect of Headrace, and what is taken is right."""

import json
from datetime import datetime
import os
import re
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from tests.cases.drawn import ANY_NAMES, ARROW, LABEL_TYPES, PLACE, instant, cell, File, damaged, files, kind_of, learned, objects, parquets, same

import headrace as hr
from headrace.core.errors import HeadraceError
from headrace.core.schema import TYPES, Schema
from headrace.lakehouse.declarations import Source, Table, expect
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.lakehouse.materialize import materialize
from headrace.lakehouse.source import load
from headrace.lakehouse.commit import Overwrite
from headrace.features.declarations import FeatureTable
from headrace.features.plan import plan
from headrace.training import training_set
from headrace.training.labels import check_label

MANY = float(os.environ.get("HEADRACE_DRAW_MINUTES", "0"))
INTERNALS = re.compile(r"Traceback|Arrow(Invalid|NotImplemented|Key|Type)|(Binder|Parser|Conversion|Catalog|Internal|InvalidInput) (Error|Exception)|<class |DeltaError|object at 0x|NoneType|std::")


def drawn(examples):
    """So many examples, always the same; by hand, as many others as there is time for."""
    return settings(
        max_examples=10**9 if MANY else examples,
        derandomize=not MANY,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        print_blob=True,
    )


def refused(error):
    """An error for a person: a sentence or more, none from inside."""
    said = str(error)
    note(said)
    assert not INTERNALS.search(said), said
    assert len(said.splitlines()[0]) > 20, said
    return said


def read(lake, name, file):
    rows = [row for row in lake.snapshot(name).to_arrow().to_pylist() if row["_file"] == file.name]
    return sorted(rows, key=lambda row: row[PLACE])


def check(lake, name, file):
    rows = read(lake, name, file)
    assert [row[PLACE] for row in rows] == list(range(file.rows))
    for column, cells in file.columns.items():
        for row, cell in zip(rows, cells, strict=True):
            assert same(cell, row[column], text_file=kind_of(file.name) == "csv"), (column, cell, row[column])


@drawn(150)
@given(first=files(), data=st.data())
def test_files(first, data):
    with tempfile.TemporaryDirectory() as scratch:
        go_files(first, data, Path(scratch))


SCHEMAS = st.none() | st.sampled_from(TYPES)


def go_whatever(first, data, folder):
    """No file is a defect, whatever is in it."""
    lake = Lakehouse("dev", str(folder / "lake"))
    declared = data.draw(SCHEMAS)
    names = [name for name in first.kinds if name != PLACE] or ["a"]
    schema = Schema(**{names[0]: declared}) if declared and names[0] else None
    note(f"{first!r} {schema!r}")
    (folder / first.name).write_bytes(first.written)
    try:
        load(lake, Source("bronze.t", files="[ab].*", schema=schema), folder)
        lake.snapshot("bronze.t").to_arrow().to_pylist()
        with lake.connect({"bronze.t": None}) as connection:
            connection.sql("from bronze.t").to_arrow_table()
    except HeadraceError as error:
        refused(error)
        return str(error).split(":")[-1][:40]
    return "ok"


def go_declared(first, data, folder):
    """Types that are declared."""
    lake = Lakehouse("dev", str(folder / "lake"))
    types = {name: data.draw(SCHEMAS) for name in first.kinds if name != PLACE}
    schema = {name: each for name, each in types.items() if each}
    note(f"{first!r} {schema!r}")
    (folder / first.name).write_bytes(first.written)
    try:
        load(lake, Source("bronze.t", files="[ab].*", schema=Schema(**schema) if schema else None), folder)
    except HeadraceError as error:
        refused(error)
        return "refused"
    rows = read(lake, "bronze.t", first)
    for column, cells in first.columns.items():
        for row, cell in zip(rows, cells, strict=True):
            if column not in schema:
                assert same(cell, row[column], text_file=kind_of(first.name) == "csv"), (column, cell, row[column])
            elif cell.value is None or row[column] is None:
                assert (cell.value is None) == (row[column] is None) or cell.text in ("", "NA", "NULL", "null"), (column, cell)
            elif schema[column] == "string":
                assert same(cell, row[column], text_file=kind_of(first.name) == "csv"), (column, cell, row[column])
            elif schema[column] not in ("float32",) and first.kinds[column] not in ("text",):
                got = row[column]
                assert declared_same(cell, got), (column, schema[column], cell, got)
    return "ok"


def declared_same(cell, got):
    from tests.cases.drawn import instant, number
    from datetime import datetime, date
    import math
    wrote = cell.value
    if isinstance(got, datetime) and isinstance(wrote, datetime):
        return instant(got) == instant(wrote)
    if isinstance(got, datetime):
        return isinstance(wrote, date) and (got.year, got.month, got.day, got.hour) == (wrote.year, wrote.month, wrote.day, 0)
    if isinstance(got, date):
        return (wrote if not isinstance(wrote, datetime) else wrote.date()) == got and (not isinstance(wrote, datetime) or str(wrote.time())=="00:00:00")
    if isinstance(got, bool) or isinstance(wrote, bool):
        return bool(wrote) == got and (wrote in (0, 1))
    if isinstance(got, float):
        return got == float(wrote) or math.isnan(got)
    return number(got) == number(wrote)


STRATEGIES = {"go_damaged": damaged(), "go_objects": objects(), "go_parquets": parquets(), "go_declared": files(), "go_files": files()}
go_damaged = go_objects = go_parquets = go_whatever


def go_files(first, data, folder):
    lake = Lakehouse("dev", str(folder / "lake"))
    source = Source("bronze.t", files="[ab].*")
    (folder / first.name).write_bytes(first.written)
    note(repr(first))
    try:
        load(lake, source, folder)
    except HeadraceError as error:
        refused(error)
        return
    check(lake, "bronze.t", first)
    second = data.draw(files(like=first))
    note(repr(second))
    (folder / second.name).write_bytes(second.written)
    try:
        load(lake, source, folder)
    except HeadraceError as error:
        refused(error)
    else:
        check(lake, "bronze.t", second)
    check(lake, "bronze.t", first)


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def table(lake, name, rows, types):
    lake.commit(name, name, lambda _: Overwrite(pa.table({each: pa.array([row[each] for row in rows], kind) for each, kind in types.items()})))


def go_learned(first, data, folder):
    """The training set is what loops over all labels and all rows of features say."""
    note(repr(first))
    lake = Lakehouse("dev", str(folder / "lake"))
    keys = {name: ARROW[kind] for name, kind in first.keys.items()}
    plain, kind = next(iter(first.features.items()))
    key = next(iter(keys))
    table(lake, "raw.d", first.decisions, {**keys, first.at: ARROW["instant"], plain: pa.string() if kind == "null" else ARROW[kind]})
    table(lake, "raw.l", first.labels, {**keys, first.known: ARROW["instant"], first.label: LABEL_TYPES[first.task]})
    table(lake, "raw.f", first.rows, {key: keys[key], first.available: ARROW["instant"], first.looked_up: pa.float64()})
    try:
        d = Table("silver.d", key=list(keys), sql="select * from raw.d")
        truth = Table("gold.l", key=list(keys), time=first.known, sql="select * from raw.l")
        f = FeatureTable("features.f", key=key, time=first.available, sql="select * from raw.f")
        for each in (d, truth, f):
            materialize(lake, each, id=each.name, versions={"raw." + each.name[-1]: None})
        model = hr.Model("m", fit=lambda data, params: None, task=getattr(hr, first.task)(label=truth[first.label]), spine=d.at(first.at),
                         features=[d.select(plain), f.select(first.looked_up)], evaluate=hr.Evaluate(test="1d"))
        names = ("silver.d", "gold.l", "features.f")
        schemas = {name: lake.snapshot(name).schema for name in names}
        check_label(model, schemas)
        planned = plan(model.spine, model.features, schemas)
        versions = {name: lake.snapshot(name).version for name in names}
        training_set.build(lake, model, planned, versions, as_of=first.as_of, id="x")
        read = training_set.TrainingSet(lake, model, planned, {}, lake.snapshot("training.m").version)
        assert len(read.computed) == len(read.y)
    except HeadraceError as error:
        said = refused(error)
        return said.split(":")[-1][:50] if "no labelled" not in said else "none"
    made = {str([same_key(row[name]) for name in keys]): row for row in lake.snapshot("training.m").to_arrow().to_pylist()}
    wanted = {str([same_key(row[name]) for name in keys]): row for row in first.decisions if first.label_of(row) is not None}
    assert set(made) <= set(wanted), (set(made) - set(wanted))
    assert not [row for row in wanted.values() if first.label_of(row) is not None and str([same_key(row[name]) for name in keys]) not in made]
    for each, row in made.items():
        decision = wanted[each]
        assert row["_label"] == as_label(first.label_of(decision), first.task), (row, decision)
        got, want = row[first.looked_up], first.feature_of(decision)
        assert got == want or (got != got and want != want), (row, want)
        cell_ = cell(decision[plain])
        assert same(cell_, row[plain], text_file=False), (row, cell_)
    return "ok"


def as_label(value, task):
    return float(value) if task != "Multiclass" else value


def same_key(value):
    return instant(value).isoformat() if isinstance(value, datetime) else str(value)


STRATEGIES["go_learned"] = learned()


SHOWN = ("sql|--json|select * from bronze.t", "sql|select * from bronze.t", "table|show|bronze.t", "table|show|bronze.t|--json", "table|list", "status", "table|history|bronze.t", "sql|--json|select * from silver.t", "sql|describe bronze.t", "sql|summarize bronze.t")


def go_shown(first, data, folder):
    """The command line shows every value."""
    (folder / first.name).write_bytes(first.written)
    note(repr(first))
    names = [name for name in first.kinds]
    predicate = f"{quoted(names[-1])} is not null"
    otherwise = data.draw(st.sampled_from(["fail", "quarantine", "warn"]))
    (folder / "headrace.toml").write_text('[project]\nname = "p"\nmodule = "proj"\n\n[env.dev]\n')
    (folder / "proj.py").write_text(
        f"import headrace as hr\nraw = hr.Source('bronze.t', files='[ab].*')\n"
        f"t = hr.Table('silver.t', key='n_', sql='select * exclude (_file, _digest) from bronze.t', expect=[hr.expect({predicate!r}, otherwise={otherwise!r})])\n", encoding="utf-8"
    )
    done = zygote().run(folder, "run", "refresh")
    bad(done, "refresh")
    for said in data.draw(st.lists(st.sampled_from(SHOWN), min_size=2, max_size=3, unique=True)):
        bad(zygote().run(folder, *said.split("|")), said)
    return done.code


def bad(done, what):
    assert done.code in (0, 1, 2, 3), (what, done.code, done.stderr[-1500:])
    found = INTERNALS.search(done.stderr + done.stdout)
    assert not found, (what, found, done.stderr[-1500:])


ZYGOTE = []


def zygote():
    if not ZYGOTE:
        from tests.support.zygote import Zygote
        ZYGOTE.append(Zygote(Path(tempfile.mkdtemp())))
    return ZYGOTE[0]


STRATEGIES["go_shown"] = files(names=ANY_NAMES.filter(lambda name: name.strip() and not name.startswith("_")))


PROGRAM = """\
import headrace as hr

names = {names!r}
keys, at, known, label, plain, looked_up, available = names
d = hr.Table("silver.d", key=keys, sql="select * exclude (_file, _digest) from bronze.d", schema=None)
truth = hr.Table("gold.l", key=keys, time=known, sql="select * exclude (_file, _digest) from bronze.l")
f = hr.FeatureTable("features.f", key=keys[0], time=available, sql="select * exclude (_file, _digest) from bronze.f", online=True)
sources = [hr.Source("bronze." + name, files=name + ".parquet") for name in "dlf"]
D, L, F = sources


class Mean:
    def __init__(self, y):
        self.y = y

    def predict(self, X):
        return [self.y] * len(X)


class Even(Mean):
    def __init__(self, classes):
        self.classes_ = classes

    def predict(self, X):
        return [self.classes_[0]] * len(X)

    def predict_proba(self, X):
        import numpy as np

        return np.full((len(X), len(self.classes_)), 1 / len(self.classes_))


def fit(data, params):
    return Mean(1.5) if {task!r} == "Regression" else Even([0, 1] if {task!r} == "Binary" else sorted(data.y.unique()))


m = hr.Model("m", fit=fit, task=hr.{task}(label=truth[label]), spine=d.at(at), features=[d.select(plain), f.select(looked_up, optional=True)],
             evaluate=hr.Evaluate(test="1d"))
p = hr.Deployment(m, score=hr.Score(into="gold.p"), serve=hr.Serve(), monitor=hr.Monitor(window="1d", min_rows=1))
"""


def parquet(folder, name, rows, types):
    pa.parquet.write_table(pa.table({each: pa.array([row[each] for row in rows], kind) for each, kind in types.items()}), folder / f"{name}.parquet")


def go_loop(first, data, folder):
    """From files to a published and monitored version."""
    note(repr(first))
    keys = {name: ARROW[kind] for name, kind in first.keys.items()}
    plain, kind = next(iter(first.features.items()))
    key = next(iter(keys))
    parquet(folder, "d", first.decisions, {**keys, first.at: ARROW["instant"], plain: pa.string() if kind == "null" else ARROW[kind]})
    parquet(folder, "l", first.labels, {**keys, first.known: ARROW["instant"], first.label: LABEL_TYPES[first.task]})
    parquet(folder, "f", first.rows, {key: keys[key], first.available: ARROW["instant"], first.looked_up: pa.float64()})
    (folder / "headrace.toml").write_text('[project]\nname = "p"\nmodule = "proj"\n\n[env.dev]\n')
    names = (list(keys), first.at, first.known, first.label, plain, first.looked_up, first.available)
    (folder / "proj.py").write_text(PROGRAM.format(names=names, task=first.task), encoding="utf-8")
    ended = ""
    for command in ("refresh", "train --as-of 2024-01-03T12:00:00Z", "deploy --as-of 2024-01-03T12:00:00Z", "score --since 2024-01-01 --until 2024-01-05", "publish", "monitor --as-of 2024-01-04"):
        done = zygote().run(folder, "run", *command.split())
        bad(done, command)
        note(f"{command} {done.code} {done.stderr[-300:]}")
        if done.code:
            ended = ended or f"{command.split()[0]}: {done.stderr.strip()[-150:]}"
            if command.split()[0] in ("refresh", "train", "deploy"):
                return ended
        elif command.startswith("score"):
            from deltalake import DeltaTable
            from headrace.scoring.columns import key_columns
            scored = DeltaTable(str(folder / ".headrace/dev/lakehouse/gold/p")).to_pyarrow_table().to_pylist()
            kept = key_columns(list(keys))
            assert sorted(str([same_key(row[kept[name]]) for name in keys]) for row in scored) == sorted(str([same_key(row[name]) for name in keys]) for row in first.decisions)
    return ended or "ok"


STRATEGIES["go_loop"] = learned(("int", "float", "decimal", "bool", "text"))
