"""The point-in-time join: 1M decisions, two tables of 10M rows, 10 features of each, nothing older than a day.

Beside us: DuckDB's ASOF JOIN by the same rule, and the limit, a scan of the columns used. All read the same files of
the same Delta tables, and the two joins leave an Arrow table in memory. Ours goes the way that training goes:
`Lakehouse.connect`, then `features.point_in_time.join`, with the time of writing to break ties, which ASOF JOIN has not.

Feast is a peer that is left out here: it needs a virtual environment of its own, and the engine that it offers for one
machine, dask, lost 55 % of the rows of data like these when it was last tried.
"""

from __future__ import annotations

import hashlib
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import harness

if TYPE_CHECKING:
    from collections.abc import Callable

    import duckdb
    import pyarrow as pa

    from headrace.lakehouse.lakehouse import Lakehouse

DAY = 86_400_000_000  # µs
START = 1_700_000_000_000_000
SPAN = 90 * DAY
ENTITIES = 100_000
FILES = 10
SIZES = {"full": (1_000_000, 10_000_000), "quick": (100_000, 1_000_000)}  # decisions, rows of each table
FEATURES = {f"features.f{t}": [f"f{t}_{n}" for n in range(10)] for t in (1, 2)}
SPINE = "gold.decisions"
LOOK_BACK = timedelta(days=1)


# ---------------------------------------------------------------------------------------------- data


def make(folder: Path) -> None:
    """Events arrive in the order of time, a file at a time; text, whole numbers and floats."""
    import numpy as np
    import pyarrow as pa

    decisions, rows = SIZES[folder.name]
    lakehouse = _lakehouse(folder)
    for seed, (table, names) in enumerate(FEATURES.items(), 1):
        chance = np.random.default_rng(seed)
        times = np.sort(chance.integers(START, START + SPAN, rows))
        for number, chunk in enumerate(np.array_split(times, FILES)):
            columns = {
                "entity_id": pa.array(chance.integers(0, ENTITIES, len(chunk))),
                "event_ts": pa.array(chunk, pa.timestamp("us", "UTC")),
                **{name: pa.array(chance.standard_normal(len(chunk))) for name in names[:8]},
                names[8]: pa.array(chance.integers(0, 1000, len(chunk)).astype(np.int32)),
                names[9]: pa.array(
                    np.array(["aa", "bb", "cc", "dd", "ee", "ff", "gg", "hh"])[chance.integers(0, 8, len(chunk))]
                ),
                "_written_at": pa.array(chunk + DAY, pa.timestamp("us", "UTC")),
            }
            _append(lakehouse, table, number, pa.table(columns))
    chance = np.random.default_rng(3)
    spine = {
        "row_id": pa.array(np.arange(decisions)),
        "entity_id": pa.array(chance.integers(0, ENTITIES, decisions)),
        "event_ts": pa.array(chance.integers(START + 10 * DAY, START + SPAN, decisions), pa.timestamp("us", "UTC")),
    }
    _append(lakehouse, SPINE, 0, pa.table(spine))


def _append(lakehouse: Lakehouse, table: str, number: int, rows: pa.Table) -> None:
    from headrace.lakehouse.writes import Append

    lakehouse.commit(table, f"{table}.{number}", lambda _: Append(rows))


def _lakehouse(folder: Path) -> Lakehouse:
    from headrace.lakehouse.lakehouse import Lakehouse

    return Lakehouse("benchmark", str(folder))


# ---------------------------------------------------------------------------------------------- contestants


def headrace(folder: Path) -> Callable[[], pa.Table]:
    import pandas as pd  # noqa: F401 - pyarrow loads it when it is given a numpy array; whoever trains has it loaded

    from headrace.features import point_in_time
    from headrace.lakehouse.identifiers import quoted

    lookups = [
        point_in_time.JoinSpec(
            relation=quoted(table),
            on={"entity_id": "entity_id"},
            time="event_ts",
            columns={name: name for name in names},
            look_back=LOOK_BACK,
            written="_written_at",
        )
        for table, names in FEATURES.items()
    ]
    lakehouse = _lakehouse(folder)

    def job() -> pa.Table:
        with lakehouse.connect(dict.fromkeys((SPINE, *FEATURES))) as connection:
            return point_in_time.join(
                connection, quoted(SPINE), at="event_ts", lookups=lookups, keep=["row_id", "entity_id", "event_ts"]
            )

    return job


def duckdb_asof(folder: Path) -> Callable[[], pa.Table]:
    """Whoever is too old keeps its decision and loses its values: the latest row at all is also the latest in a day."""
    columns = ["s.row_id", "s.entity_id", "s.event_ts"]
    joins = ""
    for table, names in FEATURES.items():
        columns += [
            f"case when s.event_ts - {names[0]}t.event_ts <= interval 1 day then {name} end as {name}" for name in names
        ]
        joins += f"""
            asof left join {table} {names[0]}t
              on s.entity_id = {names[0]}t.entity_id and s.event_ts >= {names[0]}t.event_ts"""
    connect = _duckdb(folder)

    def job() -> pa.Table:
        with connect() as connection:
            return connection.sql(f"select {', '.join(columns)} from {SPINE} s {joins}").to_arrow_table()

    return job


def scan(folder: Path) -> Callable[[], None]:
    """Decodes every column that a join needs, and keeps one number of each."""
    connect = _duckdb(folder)

    def job() -> None:
        with connect() as connection:
            for table, names in {SPINE: ["row_id"], **FEATURES}.items():
                greatest = ", ".join(f"max({name})" for name in ("entity_id", "event_ts", *names))
                connection.sql(f"select {greatest} from {table}").to_arrow_table()

    return job


def _duckdb(folder: Path) -> Callable[[], duckdb.DuckDBPyConnection]:
    """Plain DuckDB over the files of the tables."""
    import duckdb
    from deltalake import DeltaTable

    def connect() -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect()
        connection.execute("set timezone = 'UTC'")
        for table in (SPINE, *FEATURES):
            schema, name = table.split(".")
            connection.execute(f"create schema if not exists {schema}")
            files = DeltaTable(folder / schema / name).file_uris()
            connection.execute(f"create view {table} as from read_parquet({files})")
        return connection

    return connect


def _summed(found: pa.Table | None) -> harness.Answer:
    """Counts, sums, and a digest of every value of every row."""
    import pyarrow.compute as pc

    if found is None:
        return {}
    ordered = found.take(pc.sort_indices(found, [("row_id", "ascending")]))
    digest = hashlib.sha256()
    for name in ordered.column_names:
        values = ordered[name].combine_chunks()
        digest.update(pc.is_valid(values).to_numpy(zero_copy_only=False).tobytes())
        empty = "" if name.endswith("_9") else 0
        filled = values.cast("int64") if name == "event_ts" else values.fill_null(empty)
        digest.update(
            filled.to_numpy(zero_copy_only=False)
            .astype("U2" if name.endswith("_9") else filled.type.to_pandas_dtype())
            .tobytes()
        )
    return {
        "rows": found.num_rows,
        "found": {names[0]: found.num_rows - found[names[0]].null_count for names in FEATURES.values()},
        "sums": {names[8]: pc.sum(found[names[8]]).as_py() for names in FEATURES.values()},
        "sha256": digest.hexdigest(),
    }


CONTESTANTS: dict[str, harness.Contestant] = {"headrace": headrace, "duckdb_asof": duckdb_asof, "scan": scan}


def main() -> int:
    parser = harness.arguments(__doc__)
    options = parser.parse_args()
    if options.child:
        who, data = options.child
        if who == "data":
            make(Path(data))
        else:
            harness.be_contestant(CONTESTANTS[who], Path(data), _summed)
        return 0
    size = "quick" if options.quick else "full"
    data = harness.WORK / "point_in_time" / size
    harness.made(__file__, data)
    found = harness.compete(__file__, list(CONTESTANTS), data, options.runs)
    return _tell(size, found, options.runs, as_json=options.json)


def _tell(size: str, found: dict[str, list[harness.Figures]], runs: int, *, as_json: bool) -> int:
    middle = {
        who: {figure: harness.median(each, figure) for figure in ("wall_s", "cpu_s", "peak_rss_mb")}
        for who, each in found.items()
    }
    us, asof, limit = (middle[who] for who in CONTESTANTS)
    ratios = {
        "duckdb_asof": asof["cpu_s"] / us["cpu_s"],
        "duckdb_asof_wall": asof["wall_s"] / us["wall_s"],
        "duckdb_asof_peak_rss": asof["peak_rss_mb"] / us["peak_rss_mb"],
        "limit": limit["cpu_s"] / us["cpu_s"],
        "limit_wall": limit["wall_s"] / us["wall_s"],
    }
    answers = [each.answer for who in ("headrace", "duckdb_asof") for each in found[who]]
    rows = [{"who": who, **figures} for who, figures in middle.items()]
    decisions, table_rows = SIZES[size]
    name = f"point-in-time join, {decisions:,} decisions x 2 tables of {table_rows:,} rows x 10 features"
    return harness.tell(name, rows, ratios=ratios, agreed=harness.agree(answers), runs=runs, as_json=as_json)


if __name__ == "__main__":
    sys.exit(main())
