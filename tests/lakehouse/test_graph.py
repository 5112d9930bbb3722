"""Each table after what it reads; a circle is shown as it stands in the program."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import DeclarationError, SqlError
from headrace.lakehouse.declarations import Source, Table, check_name, quarantine_name
from headrace.lakehouse.graph import inputs, order


def table(name, *reads):
    columns = " cross join ".join(reads)
    return Table(name, key="x", sql=f"select 1 as x from {columns}" if reads else "select 1 as x")


def names(tables):
    return [each.name for each in tables]


def test_inputs_come_first_and_otherwise_the_declared_order_holds():
    raw = Source("bronze.raw", files="raw.csv")
    made = [
        table("gold.report", "silver.b", "silver.a"),
        table("silver.a", "bronze.raw"),
        table("silver.b", "silver.a"),
        raw,
    ]
    assert names(order(made)) == ["bronze.raw", "silver.a", "silver.b", "gold.report"]
    assert names(order([table("silver.z"), table("silver.a")])) == ["silver.z", "silver.a"]


def test_a_table_made_elsewhere_has_no_inputs_and_may_be_read():
    shared = Table("shared.weather", key="airport")
    assert names(order([table("silver.a", "shared.weather"), shared])) == ["shared.weather", "silver.a"]
    assert names(order([table("silver.a", "loaded.force")], elsewhere=["loaded.force"])) == ["silver.a"]
    assert inputs(shared, {"shared.weather"}) == ()


def test_a_missing_table_is_named_with_the_nearest():
    with pytest.raises(SqlError, match=r"no table 'silver.ordres': did you mean 'silver.orders'\?"):
        order([table("gold.report", "silver.ordres"), table("silver.orders")])


def test_a_circle_is_shown_in_reading_direction_with_file_and_line():
    a, b, c = table("silver.a", "silver.b"), table("silver.b", "silver.c"), table("silver.c", "silver.a")
    with pytest.raises(DeclarationError) as refused:
        order([table("silver.outside", "silver.a"), a, b, c])
    path = str(refused.value).splitlines()[0]
    for reader, read in (("silver.a", "silver.b"), ("silver.b", "silver.c"), ("silver.c", "silver.a")):
        assert f"{reader} → {read}" in path
    assert set(refused.value.findings) == {
        f"{a.where}: silver.a reads silver.b",
        f"{b.where}: silver.b reads silver.c",
        f"{c.where}: silver.c reads silver.a",
    }
    assert "test_graph.py:" in str(refused.value)


def test_a_table_that_reads_itself_is_a_circle():
    with pytest.raises(DeclarationError, match=r"silver\.a → silver\.a"):
        order([table("silver.a", "silver.a")])


def test_one_name_twice_is_refused_but_one_declaration_under_two_names_is_one():
    first = table("silver.a")
    assert names(order([first, first])) == ["silver.a"]
    with pytest.raises(DeclarationError, match="declared twice"):
        order([first, table("silver.a")])


@given(st.data())
def test_in_any_acyclic_graph_every_table_follows_its_inputs(data):
    size = data.draw(st.integers(1, 8))
    tables = [
        table(f"silver.t{i}", *(f"silver.t{j}" for j in range(i) if data.draw(st.booleans()))) for i in range(size)
    ]
    done = set()
    known = set(names(tables))
    for each in order(data.draw(st.permutations(tables))):
        assert set(inputs(each, known)) <= done
        done.add(each.name)
    assert done == known


def test_two_tables_do_not_share_a_quarantine():
    names = ["sales.north_orders", "sales_north.orders", "s.t", f"{'a' * 60}.b", f"{'a' * 60}.c"]
    kept = [quarantine_name(name) for name in names]
    assert kept[0] == "quarantine.sales_north_orders"
    assert len(set(kept)) == len(names)
    assert [check_name(name, declared=False) for name in kept] == kept
