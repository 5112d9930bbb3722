"""Bins and histograms: what falls where, and that any split of the rows adds up to the whole."""

import itertools
import json
import math
from datetime import UTC, datetime

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.lakehouse.identifiers import column
from headrace.monitoring import binning, blocks, histograms, windows
from headrace.monitoring.binning import Bins, Categories, make_grids
from headrace.monitoring.blocks import MonitoredColumn
from headrace.monitoring.histograms import Histograms, collect, merge

VALUES = st.one_of(st.none(), st.floats(), st.sampled_from([0.0, -0.5, math.nan, math.inf, -math.inf]))
WORDS = st.one_of(st.none(), st.sampled_from(["a", "b", "", "O'Hare", "ü"]))


def of_window(histograms, window):
    chosen = [each == window for each in histograms.rows.column("window_start").to_pylist()]
    return Histograms(rows=histograms.rows.filter(pa.array(chosen, pa.bool_())), grids=histograms.grids)


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect(config={"threads": 2}) as connection:
        connection.execute("set timezone = 'UTC'")
        yield connection


def number(name="x"):
    return MonitoredColumn(name=name, expression=column(name), kind="number")


def text(name="c"):
    return MonitoredColumn(name=name, expression=column(name), kind="string")


def numbers(connection, values, reference=None, name="x"):
    """The one column of a table with these values, over bins of a reference."""
    rows, before = (pa.table({name: pa.array(each, pa.float64())}) for each in (values, reference or values))
    connection.register("before", before)
    connection.register("rows", rows)
    grids = make_grids(connection, "before", [number(name)])
    return collect(connection, "rows", grids, [number(name)]).columns[name]


class TestBins:
    def test_whole_numbers_have_a_bin_each_far_around_those_seen(self, connection):
        found = numbers(connection, [-300.0, 0.0, 3.0, 3.0, 4.0, 300.0], reference=[0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
        filled = found.counts > 0
        assert found.counts[filled].tolist() == [1, 1, 2, 1, 1]
        assert found.means[filled].tolist() == [-300, 0, 3, 4, 300]
        assert (found.lows[filled] == found.highs[filled]).all()

    def test_a_long_tail_gets_the_other_scale(self, connection):
        draw = np.random.default_rng(0)
        connection.register("rows", pa.table({"x": draw.lognormal(0, 2, 5_000), "n": draw.normal(size=5_000)}))
        grids = make_grids(connection, "rows", [number("x"), number("n")])
        assert {name: each.scale for name, each in grids.items()} == {"x": "log", "n": "linear"}
        counts = collect(connection, "rows", grids, [number("x")]).columns["x"].counts
        assert counts[1] + counts[-2] < 20  # outside of the inner bins
        assert counts.max() < 250  # 5 %: a decile is several bins

    @given(values=st.lists(VALUES, min_size=1, max_size=30), reference=st.lists(VALUES, min_size=1, max_size=30))
    @settings(max_examples=60)
    def test_every_value_has_its_place_whatever_the_reference(self, connection, values, reference):
        found = numbers(connection, values, reference)
        known = [value for value in values if value is not None and not math.isnan(value)]
        finite = [value for value in known if math.isfinite(value)]
        assert found.rows == len(values)
        assert found.nulls == values.count(None)
        assert found.nans == sum(value is not None and math.isnan(value) for value in values)
        assert found.counts[0] == known.count(-math.inf)
        assert found.counts[-1] == known.count(math.inf)
        assert found.zeros == known.count(0.0)
        inner = found.counts[1:-1] > 0
        assert found.lows[1:-1][inner].min(initial=math.inf) == min(finite, default=math.inf)
        assert found.highs[1:-1][inner].max(initial=-math.inf) == max(finite, default=-math.inf)
        # bins are in order: none begins before the one below has ended
        assert (found.lows[1:-1][inner][1:] > found.highs[1:-1][inner][:-1]).all()

    def test_null_is_not_nan(self, connection):
        found = numbers(connection, [1.0, None, math.nan, math.nan])
        assert (found.nulls, found.nans, found.missing) == (1, 2, 3)

    @pytest.mark.parametrize("value", [0.0, -0.5, 7.0, 0.3, 1e-300, -1e300])
    def test_a_constant_is_one_inner_bin(self, connection, value):
        found = numbers(connection, [value] * 9)
        assert np.flatnonzero(found.counts).size == 1
        assert found.counts[2:-2].sum() == 9
        assert found.means[found.counts > 0] == pytest.approx(value)

    def test_a_column_without_a_value_has_bins_too(self, connection):
        found = numbers(connection, [1.0, 5.0, None], reference=[None, math.nan, math.inf])
        assert (found.counts.sum(), found.nulls) == (2, 1)

    @pytest.mark.parametrize(
        "reference",
        [
            [1.7976931348623157e308],
            [-1.7e308, 0.0, 1.7e308],
            [1e308, 1.1e308, 1.2e308],
            [0.0, 1e-308, 1e308] + [1e-5] * 9,
            [5e-324, 0.0, 0.1],
        ],
    )
    def test_the_largest_and_smallest_numbers_have_their_place(self, connection, reference):
        values = [*reference, -1.7976931348623157e308, 1.7976931348623157e308, 5e-324, 0.0, 1.0, -1.0, 1e300]
        found = numbers(connection, values, reference)
        inner = found.counts > 0
        assert found.counts.sum() == len(values)
        assert (found.lows[inner][1:] > found.highs[inner][:-1]).all()

    @pytest.mark.parametrize(
        "name", ["select", "a b", 'quo"te', "dot.ted", "per%cent", "semi;--", "größe", "bin", "value"]
    )
    def test_any_name_will_do(self, connection, name):
        assert numbers(connection, [1.0, 2.0, 2.0], name=name).counts.sum() == 3

    def test_a_number_needs_bins(self, connection):
        connection.register("rows", pa.table({"x": [1.0]}))
        with pytest.raises(KeyError, match="x"):
            collect(connection, "rows", {}, [number()])


class TestCategories:
    def collected(self, connection, values, grids=None):
        connection.register("rows", pa.table({"c": pa.array(values, pa.string())}))
        grids = grids or make_grids(connection, "rows", [text()])
        return collect(connection, "rows", grids, [text()])

    def test_every_value_has_a_bin(self, connection):
        found = self.collected(connection, ["a", "b", "b", None, "", "O'Hare"]).columns["c"]
        assert found.counts == {"a": 1, "b": 2, "": 1, "O'Hare": 1}
        assert (found.missing, found.others, found.shortest, found.longest, found.length) == (1, 0, 0, 6, 9)

    def test_of_too_many_values_the_frequent_ones_have(self, connection, monkeypatch):
        monkeypatch.setattr(binning, "VALUES", 50)
        monkeypatch.setattr(binning, "LISTED", 3)
        values = [f"id'{place}" for place in range(200)] + ["id'7"] * 9 + ["id'8"] * 8 + ["id'9"] * 7
        kept = self.collected(connection, values)
        assert kept.grids["c"].values == ("id'7", "id'8", "id'9")
        found = self.collected(connection, [*values, "newcomer", None], kept.grids).columns["c"]
        assert found.counts == {"id'7": 10, "id'8": 9, "id'9": 8}
        assert (found.others, found.missing) == (198, 1)
        assert found.rows == len(values) + 2

    def test_a_flood_of_new_values_stays_bounded(self, connection, monkeypatch):
        known = self.collected(connection, ["a", "b"])
        monkeypatch.setattr(histograms, "NEW_VALUES", 10)
        found = self.collected(connection, ["a"] * 5 + [str(place) for place in range(300)], known.grids).columns["c"]
        assert len(found.counts) == 10
        assert found.counts["a"] == 5
        assert found.rows == 305


def test_bins_survive_the_ledger():
    for each in (
        Bins(column="x", scale="log", low=-0.1, width=1 / 3, shift=1e-7, spread=2.0),
        Categories(column="c"),
        Categories(column="c", values=("a", "b")),
    ):
        again = binning.from_json(json.loads(json.dumps(each.to_json())))
        assert again == each
        assert again.id == each.id


def test_other_bins_have_another_id():
    kinds = [Categories(column="c"), Categories(column="c", values=("a",)), Categories(column="d")]
    assert len({each.id for each in kinds}) == 3


class TestMerge:
    ROWS = st.lists(st.tuples(VALUES, WORDS, st.integers(0, 2)), min_size=1, max_size=40)

    @given(
        rows=ROWS, cuts=st.lists(st.integers(0, 40), max_size=4), reference=st.lists(VALUES, min_size=1, max_size=20)
    )
    @settings(max_examples=40)
    def test_any_split_of_the_rows_adds_up_to_the_whole(self, connection, rows, cuts, reference):
        columns = [number(), text()]
        connection.register(
            "before", pa.table({"x": pa.array(reference, pa.float64()), "c": pa.nulls(len(reference), pa.string())})
        )
        grids = make_grids(connection, "before", columns)
        ends = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
        parts = [self.of(connection, rows[begin:end], grids, columns) for begin, end in itertools.pairwise(ends)]
        self.same(merge(parts), self.of(connection, rows, grids, columns))
        self.same(merge([merge(parts[:1]), merge(parts)]), merge([*parts, parts[0]]))

    @staticmethod
    def of(connection, rows, grids, columns):
        values, words, slices = zip(*rows, strict=True) if rows else ((), (), ())
        table = {
            "x": pa.array(values, pa.float64()),
            "c": pa.array(words, pa.string()),
            "s": pa.array(slices, pa.int64()),
        }
        connection.register("rows", pa.table(table))
        return collect(connection, "rows", grids, columns, slices=[text("s")])

    @staticmethod
    def same(one, other):
        exact = [*histograms.IDENTITY, "count", "zeros", "min", "max"]
        order = [(name, "ascending") for name in histograms.IDENTITY]
        tables = [each.rows.sort_by(order) for each in (one, other)]
        assert tables[0].select(exact).equals(tables[1].select(exact))
        for name in ("sum", "squares"):
            mine, theirs = (np.nan_to_num(table.column(name).to_numpy(), nan=-1.0) for table in tables)
            np.testing.assert_allclose(mine, theirs, rtol=1e-9)

    def test_hours_add_up_to_days(self, connection):
        draw = np.random.default_rng(1)
        times = pa.array(draw.integers(0, 2 * 86_400_000_000, 3_000), pa.timestamp("us", "UTC"))
        connection.register("rows", pa.table({"at": times, "x": draw.normal(size=3_000)}))
        grids = make_grids(connection, "rows", [number()])
        hours, days = (
            collect(connection, "rows", grids, [number()], window=windows.sql('"at"', length))
            for length in ("1h", "1d")
        )
        first, second = (datetime(1970, 1, day, tzinfo=UTC) for day in (1, 2))
        assert len(set(hours.rows.column("window_start").to_pylist())) == 48
        began = [start for start in hours.rows.column("window_start").unique().to_pylist() if start < second]
        day = merge([of_window(hours, start) for start in began], window=first)
        self.same(day, of_window(days, first))

    def test_other_bins_do_not_add_up(self, connection):
        connection.register("rows", pa.table({"x": [1.5, 2.5, 9.5]}))
        one = collect(connection, "rows", make_grids(connection, "rows", [number()]), [number()])
        connection.register("rows", pa.table({"x": [1.5, 2.5, 9.6]}))
        other = collect(connection, "rows", make_grids(connection, "rows", [number()]), [number()])
        with pytest.raises(ValueError, match="different bins"):
            merge([one, other])


class TestSlices:
    def test_each_value_is_counted_apart_and_all_together(self, connection):
        connection.register("rows", pa.table({"x": [1.0, 2.0, 3.0], "c": ["a", None, "a"]}))
        grids = make_grids(connection, "rows", [number()])
        made = collect(connection, "rows", grids, [number()], slices=[text()])
        found = {(key, value): each.columns["x"].rows for key, value, each in made.slices()}
        assert found == {(None, None): 3, ("c", "(missing)"): 1, ("c", "a"): 2}
        assert next(made.slices())[:2] == (None, None)

    def test_windows_and_slices_together(self, connection):
        at = pa.array([0, 1, 86_400_000_000], pa.timestamp("us", "UTC"))
        connection.register("rows", pa.table({"at": at, "x": [1.0, 2.0, 3.0], "c": ["a", "b", "a"]}))
        grids = make_grids(connection, "rows", [number()])
        made = collect(connection, "rows", grids, [number()], window=windows.sql('"at"', "1d"), slices=[text()])
        first = of_window(made, datetime(1970, 1, 1, tzinfo=UTC))
        assert {value: each.columns["x"].rows for _, value, each in first.slices()} == {None: 2, "a": 1, "b": 1}


class TestTheRowsAlone:
    """Neither order, files, threads, row groups nor the size of a block make a difference, to the last bit."""

    COLUMNS = (number("a"), number("b"), number("huge"), text("c"), text("d"))

    def rows(self):
        draw = np.random.default_rng(5)
        count = 30_000
        return pa.table(
            {
                "a": pa.array(
                    draw.lognormal(0, 2, count) * draw.choice([-1, 1], count), mask=draw.random(count) < 0.01
                ),
                "b": draw.normal(0.1, 0.3, count),
                "huge": np.where(
                    draw.random(count) < 0.01, draw.choice([1.7e308, -1e300, math.nan, math.inf, -0.0], count), 0.1
                ),
                "c": draw.choice(["x", "y", "z"], count),
                "d": [f"id{place % 20_000}" for place in range(count)],
                "s": draw.integers(0, 3, count),
            }
        )

    def counted(self, relation, threads, tmp_path):
        with duckdb.connect(config={"threads": threads, "preserve_insertion_order": False}) as connection:
            slices = [MonitoredColumn(name="s", expression="s", kind="string")]
            grids = make_grids(connection, relation, self.COLUMNS)
            return grids, collect(connection, relation, grids, self.COLUMNS, slices=slices).rows

    def test_bins_and_histograms_are_the_same(self, tmp_path, monkeypatch):
        rows = self.rows()
        draw = np.random.default_rng(6)
        found = []
        for place, (files, group, threads, block) in enumerate(
            [(1, 30_000, 1, 2**23), (5, 3_000, 4, 60_000), (2, 700, 2, 1)]
        ):
            monkeypatch.setattr(blocks, "VALUES_AT_ONCE", block)
            folder = tmp_path / str(place)
            folder.mkdir()
            mixed = rows if place == 0 else rows.take(pa.array(draw.permutation(rows.num_rows)))
            size = -(-rows.num_rows // files)
            for file in range(files):
                pq.write_table(mixed.slice(file * size, size), folder / f"{file}.parquet", row_group_size=group)
            found.append(self.counted(f"read_parquet('{folder}/*.parquet')", threads, tmp_path))
        assert found[0][0]["d"].values is not None
        for grids, table in found[1:]:
            assert grids == found[0][0]
            assert json.dumps(table.to_pylist()[:50], default=str) == json.dumps(
                found[0][1].to_pylist()[:50], default=str
            )
            assert table.equals(found[0][1])

    def test_sums_are_right(self, connection):
        values = self.rows().column("b").to_numpy()
        column = numbers(connection, values)
        assert column.moved == pytest.approx(math.fsum(values - self.shift(connection)), rel=1e-14)

    def shift(self, connection):
        connection.register("rows", self.rows())
        return make_grids(connection, "rows", [number("b")])["b"].shift


def test_each_column_is_read_once_however_many_there_are(monkeypatch):
    monkeypatch.setattr(blocks, "VALUES_AT_ONCE", 100)
    read = []
    with duckdb.connect() as connection:
        connection.register("rows", pa.table({f"f{place}": [1.0] * 10 for place in range(25)}))
        columns = [number(f"f{place}") for place in range(25)]
        for _, block in blocks.read_blocks(connection, "rows", columns):
            read.append(list(block))
    assert [len(each) for each in read] == [10, 10, 5]
    assert [name for each in read for name in each] == [each.name for each in columns]
