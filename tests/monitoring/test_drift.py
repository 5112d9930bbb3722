"""Two windows beside each other: what is told, what is not, and what is told first."""

import math

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from headrace.lakehouse.identifiers import column
from headrace.monitoring.binning import make_grids
from headrace.monitoring.blocks import MonitoredColumn
from headrace.monitoring.drift import compare, judge
from headrace.monitoring.histograms import collect


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect(config={"threads": 2}) as connection:
        yield connection


def watched(table):
    return [
        MonitoredColumn(
            name=field.name, expression=column(field.name), kind="string" if is_text(field.type) else "number"
        )
        for field in table.schema
    ]


def is_text(type_):
    return pa.types.is_string(type_) or pa.types.is_large_string(type_)


def drifted(connection, reference, current, **kept):
    """Column → how it drifted between two frames."""
    tables = [pa.Table.from_pandas(pd.DataFrame(each), preserve_index=False) for each in (reference, current)]
    return compared(connection, *tables, **kept)


def compared(connection, reference, current, slices=()):
    connection.register("before", reference)
    connection.register("after", current)
    columns = watched(reference)
    cuts = [each for each in columns if each.name in slices]
    grids = make_grids(connection, "before", columns)
    before, after = (collect(connection, name, grids, columns, slices=cuts) for name in ("before", "after"))
    found = compare(before, after)
    return found if slices else {each.column: each for each in found}


def verdicts(connection, reference, current, min_rows=500):
    found = drifted(connection, reference, current)
    return {each.drift.column: each for each in judge(list(found.values()), min_rows=min_rows)}


class TestAgainstScipy:
    def test_on_whole_numbers_everything_is_equal(self, connection):
        draw = np.random.default_rng(0)
        before, after = draw.poisson(5, 3_000).astype(float), draw.poisson(6, 2_000).astype(float)
        found = drifted(connection, {"x": before}, {"x": after})["x"]
        expected = stats.ks_2samp(before, after, method="asymp").statistic
        assert found.ks == found.ks_at_most == pytest.approx(expected, abs=1e-12)
        assert found.ks_p_value == pytest.approx(stats.kstwobign.sf(expected * math.sqrt(1_200)), abs=1e-10)
        assert found.wasserstein == pytest.approx(stats.wasserstein_distance(before, after), abs=1e-9)
        assert found.avg_delta == pytest.approx(after.mean() - before.mean(), abs=1e-9)

    @pytest.mark.parametrize("shape", ["normal", "lognormal", "exponential", "standard_cauchy"])
    def test_on_the_real_line_the_truth_is_within_the_bounds(self, connection, shape):
        draw = np.random.default_rng(1)
        before, after = getattr(draw, shape)(size=5_000), getattr(draw, shape)(size=4_000) * 1.1
        found = drifted(connection, {"x": before}, {"x": after})["x"]
        true = stats.ks_2samp(before, after, method="asymp").statistic
        assert found.ks - 1e-12 <= true <= found.ks_at_most + 1e-12
        assert found.ks_at_most - found.ks < 0.02
        widest = (np.quantile(before, 0.9995) - np.quantile(before, 0.0005)) / 1022
        true = stats.wasserstein_distance(before, after)
        assert found.wasserstein == pytest.approx(true, abs=widest, rel=0.02)

    def test_categories(self, connection):
        draw = np.random.default_rng(2)
        before, after = draw.choice(["a", "b", "c"], 900), draw.choice(["a", "b", "c", "d"], 700)
        found = drifted(connection, {"c": before}, {"c": after})["c"]
        expected = stats.chi2_contingency(
            pd.crosstab(np.r_[before, after], np.repeat([0, 1], [900, 700])), correction=False
        )
        assert found.chi_squared == pytest.approx(expected.statistic)
        assert found.chi_squared_p_value == pytest.approx(expected.pvalue, abs=1e-10)

    def test_the_index_is_that_of_deciles(self, connection):
        """The definition, on the raw values: ten groups of equal share of the reference, half a row added to each."""
        draw = np.random.default_rng(3)
        before, after = draw.normal(size=20_000), draw.normal(0.3, 1.1, 5_000)
        edges = [-np.inf, *np.quantile(before, np.arange(0.1, 1, 0.1)), np.inf]
        p, q = (np.histogram(each, edges)[0] + 0.5 for each in (before, after))
        p, q = p / p.sum(), q / q.sum()
        expected = ((q - p) * np.log(q / p)).sum()
        assert drifted(connection, {"x": before}, {"x": after})["x"].psi == pytest.approx(expected, rel=0.03)


@given(
    values=st.lists(st.one_of(st.none(), st.floats(), st.sampled_from([0.0, 1.0])), min_size=1, max_size=50),
    words=st.lists(st.one_of(st.none(), st.sampled_from("abc")), min_size=1, max_size=50),
)
@example(values=[-1.7e308, 1.7e308, 0.0, 1.7e308], words=["a"] * 4)
@settings(max_examples=60)
def test_a_column_is_not_far_from_itself(connection, values, words):
    count = min(len(values), len(words))
    table = pa.table({"x": pa.array(values[:count], pa.float64()), "c": pa.array(words[:count], pa.string())})
    for each in compared(connection, table, table).values():
        assert (each.psi, each.js_distance, each.tv_distance, each.l_infinity, each.p_value) == (0, 0, 0, 0, 1)
        assert each.ks in (0, None)
        assert each.ks_p_value in (1, None)
        assert each.wasserstein in (0, None)
        assert each.chi_squared_p_value in (1, None)
        assert each.null_share_delta == 0
        assert (each.new_categories, each.new_p_value, each.frozen) == ((), 1, None)


class TestVerdicts:
    draw = np.random.default_rng(7)

    def test_nothing_is_told_of_windows_alike(self, connection):
        before, after = ({"x": self.draw.normal(size=n), "c": self.draw.choice(["a", "b"], n)} for n in (5_000, 2_000))
        assert {each.verdict for each in verdicts(connection, before, after).values()} == {"ok"}

    def test_a_moved_column_is_told(self, connection):
        before = {"much": self.draw.normal(size=5_000), "little": self.draw.normal(size=5_000)}
        after = {"much": self.draw.normal(1, 1, 5_000), "little": self.draw.normal(0.37, 1, 5_000)}
        found = verdicts(connection, before, after)
        assert {name: each.verdict for name, each in found.items()} == {"much": "alert", "little": "warn"}
        assert next(iter(found)) == "much"
        assert found["much"].reasons[0].startswith("PSI ")

    def test_what_is_certain_and_small_is_not_told(self, connection):
        before, after = self.draw.normal(size=200_000), self.draw.normal(0.1, 1, 200_000)
        found = verdicts(connection, {"x": before}, {"x": after})["x"]
        assert found.drift.ks_p_value < 1e-50
        assert found.verdict == "ok"

    def test_small_windows_are_shown_and_not_judged(self, connection):
        before, after = self.draw.normal(size=5_000), self.draw.normal(3, 1, 499)
        found = verdicts(connection, {"x": before}, {"x": after})["x"]
        assert found.verdict == "not judged"
        assert found.drift.psi > 1
        assert found.reasons == ("499 rows; 500 are needed (min_rows=…)",)
        found = verdicts(connection, {"x": after}, {"x": before})["x"]
        assert found.reasons == ("499 rows in the reference; 500 are needed (min_rows=…)",)

    @pytest.mark.parametrize("kind", ["null", "nan", "text"])
    def test_a_jump_of_the_missing_share_is_seen(self, connection, kind):
        """From 2 % to 8 %: too little for the index alone."""
        tables = []
        for rows, holes_of_50 in ((20_000, 1), (5_000, 4)):
            holes = np.arange(rows) % 50 < holes_of_50
            if kind == "text":
                values = pa.array(self.draw.choice(["a", "b"], rows), pa.string(), mask=holes)
            else:
                values = self.draw.normal(size=rows)
                values = pa.array(np.where(holes, np.nan, values)) if kind == "nan" else pa.array(values, mask=holes)
            tables.append(pa.table({"x": values}))
        (found,) = judge(list(compared(connection, *tables).values()), min_rows=500)
        assert found.drift.psi < 0.1
        assert found.verdict == "warn"
        assert found.reasons == ("8.0% missing, 2.0% before",)

    def test_a_new_category_is_told_however_rare(self, connection):
        before = self.draw.choice([f"k{place}" for place in range(12)], 50_000)
        after = np.where(self.draw.random(50_000) < 0.001, "new", self.draw.choice(before, 50_000))
        found = verdicts(connection, {"c": before}, {"c": after})["c"]
        assert found.drift.psi < 0.1
        assert found.drift.new_categories == ("new",)
        assert found.verdict == "warn"
        assert found.reasons == (f"new: new ({(after == 'new').mean():.2%} of the rows)",)

    def test_in_a_long_tail_there_is_always_something_new_and_that_is_no_news(self, connection):
        shares = 1 / np.arange(1, 10_001)
        before, after = (
            np.char.add("id", self.draw.choice(10_000, n, p=shares / shares.sum()).astype(str)) for n in (5_000, 1_000)
        )
        found = verdicts(connection, {"c": before}, {"c": after})["c"]
        assert len(found.drift.new_categories) == 5
        assert found.drift.new_share > 0.02
        assert (found.verdict, found.reasons) == ("ok", ())

    def test_ids_that_no_row_shares_do_not_drift(self, connection):
        before, after = ({"c": [f"{n}-{place}" for place in range(n)]} for n in (3_000, 2_000))
        assert verdicts(connection, before, after)["c"].verdict == "ok"

    def test_ids_of_another_format_are_told(self, connection):
        before = {"c": [f"UA{place % 900}" for place in range(9_000)]}
        after = {"c": [f"ua {place % 900}" for place in range(2_000)]}
        assert verdicts(connection, before, after)["c"].verdict == "alert"

    def test_infinities_are_values_at_the_ends(self, connection):
        before = self.draw.normal(size=2_000)
        found = verdicts(connection, {"x": before}, {"x": np.where(before > 0, np.inf, before)})["x"]
        assert found.verdict == "alert"
        assert math.isfinite(found.drift.wasserstein)

    def test_a_column_that_was_empty_and_one_that_went_empty(self, connection):
        nothing, something = pa.nulls(1_000, pa.float64()), pa.array(self.draw.normal(size=1_000))
        before = pa.table({"came": nothing, "went": something, "never": nothing})
        after = pa.table({"came": something, "went": nothing, "never": nothing})
        found = {
            each.drift.column: each for each in judge(list(compared(connection, before, after).values()), min_rows=500)
        }
        assert {name: each.verdict for name, each in found.items()} == {"came": "alert", "went": "alert", "never": "ok"}
        assert "100.0% missing, 0.0% before" in found["went"].reasons

    def test_a_column_only_one_side_has_is_left_out(self, connection):
        rows = pa.table({"x": [1.0], "y": [1.0]})
        connection.register("rows", rows)
        grids = make_grids(connection, "rows", watched(rows))
        both, one = (collect(connection, "rows", grids, watched(rows)[:many]) for many in (2, 1))
        assert [each.column for each in compare(both, one)] == [each.column for each in compare(one, both)] == ["x"]

    def test_slices_are_compared_with_their_like(self, connection):
        n = 2_000
        shop = np.repeat(["north", "south"], n)
        before = pa.table({"x": self.draw.normal(size=2 * n), "shop": shop})
        after = pa.table({"x": np.r_[self.draw.normal(size=n), self.draw.normal(2, 1, n)], "shop": shop})
        found = compared(connection, before, after, slices=["shop"])
        assert {(each.slice_key, each.slice_value): each.psi > 0.2 for each in found if each.column == "x"} == {
            (None, None): True,
            ("shop", "north"): False,
            ("shop", "south"): True,
        }


class TestFrozen:
    """A feature that stops moving is named first, before those that drift with the season."""

    draw = np.random.default_rng(8)

    def window(self, rows, *, warmer=0.0):
        return {
            "temperature": self.draw.normal(10 + warmer, 5, rows),
            "rain": np.where(self.draw.random(rows) < 0.9, 0.0, self.draw.exponential(1, rows)),
            "delay": np.round(self.draw.gamma(2, 2, rows), 1),
            "late": self.draw.random(rows) < 0.4,
            "carrier": self.draw.choice(["UA", "DL", "AA"], rows),
        }

    @pytest.mark.parametrize(
        ("name", "value", "said"),
        [
            ("temperature", 11.5, "11.5"),
            ("temperature", None, "missing"),
            ("temperature", -999.0, "-999"),
            ("delay", 0.1, "0.1"),
            ("late", True, "1"),
            ("carrier", "DL", "'DL'"),
            ("carrier", None, "missing"),
        ],
    )
    def test_it_is_the_worst_column(self, connection, name, value, said):
        before, after = pa.table(self.window(5_000)), pa.table(self.window(1_000, warmer=20))
        place, field = after.schema.get_field_index(name), before.schema.field(name)
        after = after.set_column(place, field, pa.array([value] * 1_000, field.type))
        worst = judge(list(compared(connection, before, after).values()), min_rows=500)[0]
        assert (worst.drift.column, worst.verdict) == (name, "alert")
        assert worst.reasons[0] == f"{said} in all 1,000 rows"
        assert worst.to_json()["frozen"] == said

    def test_what_is_nearly_always_so_is_not_frozen(self, connection):
        after = {**self.window(1_000), "rain": np.zeros(1_000)}
        assert drifted(connection, self.window(5_000), after)["rain"].frozen is None

    def test_what_never_moved_is_not_frozen(self, connection):
        found = drifted(connection, {"x": np.full(900, 0.3)}, {"x": np.full(900, 0.3)})["x"]
        assert found.frozen is None

    def test_a_handful_of_rows_alike_is_not_frozen(self, connection):
        found = drifted(connection, {"x": np.arange(9.0) % 3}, {"x": np.ones(5)})["x"]
        assert found.frozen is None
