"""Tables as operations: what is returned, who may not, what is recorded."""

import json
from datetime import UTC, datetime

import pytest
from tests.operations.loop_project import at, audit, guest

from headrace.core import vault
from headrace.core.errors import ConfigError, NotFoundError, RefusedError
from headrace.operations import drop_table, tables


def test_tables_are_listed_with_the_environment_that_is_read(deployed):
    listing = tables.list_tables(at(deployed))
    orders = next(report for report in listing.tables if report.table == "shop.orders")

    assert (listing.env, orders.env, orders.kind, orders.rows) == ("dev", "dev", "table", 120)
    assert orders.columns == len(tables.show_table(at(deployed), "shop.orders").columns)


def test_a_version_of_a_table_is_shown(deployed):
    latest = tables.show_table(at(deployed), "shop.orders", rows=2)
    details = tables.show_table(at(deployed), "shop.orders", rows=3, version=latest.version)

    assert (len(details.sample), details.version) == (3, latest.version)
    assert isinstance(latest.sample[0]["placed_at"], datetime)
    assert json.dumps(latest.to_json())
    assert tables.list_table_versions(at(deployed), "shop.orders")[0].version == latest.version
    with pytest.raises(NotFoundError, match="version of shop"):
        tables.show_table(at(deployed), "shop.orders", version=latest.version + 1)
    with pytest.raises(NotFoundError, match=r"shop\.orders"):
        tables.show_table(at(deployed), "shop.ordres")


def test_a_file_is_loaded_once_and_recorded_each_time(project, tmp_path):
    file = tmp_path / "My Cities.csv"
    file.write_text("city\nOulu\n")
    first = tables.load_table(at(project), file)
    again = tables.load_table(at(project), file, into=first.table)

    assert (first.table, first.env, first.rows, first.changed) == ("bronze.my_cities", "dev", 1, True)
    assert (again.rows, again.changed, again.version) == (0, False, first.version)
    assert audit(project)[-2:] == [("table.loaded", str(file))] * 2
    with pytest.raises(ConfigError):
        tables.load_table(at(project), tmp_path / "absent.csv")
    with pytest.raises(RefusedError, match="the project makes itself"):
        tables.load_table(at(project), file, into="shop.orders")


def test_a_table_is_dropped_after_somebody_confirmed_the_plan(project):
    plans = []

    def decline(plan):
        plans.append(plan)
        raise RefusedError("not confirmed.")

    with pytest.raises(RefusedError, match="not confirmed"):
        drop_table.drop_table(at(project), "shop.orders", confirm=decline)
    assert plans[0].rows == 120
    assert "model days is trained and scored on it" in plans[0].dependents
    assert "shop.orders" in [report.table for report in tables.list_tables(at(project)).tables]

    report = drop_table.drop_table(at(project), "shop.orders", confirm=plans.append)
    assert (report.dropped, report.dependents) == (("shop.orders",), plans[1].dependents)
    assert "shop.orders" not in [each.table for each in tables.list_tables(at(project)).tables]
    assert audit(project)[-1] == ("table.dropped", "shop.orders")


def test_who_may_not_neither_loads_nor_drops_and_reads(headrace, project, tmp_path):
    file = tmp_path / "cities.csv"
    file.write_text("city\nOulu\n")
    with vault.bearing(guest(headrace, project)):
        with pytest.raises(RefusedError, match="guest may not `headrace table load`"):
            tables.load_table(at(project), file)
        with pytest.raises(RefusedError, match="guest may not `headrace table drop`"):
            drop_table.drop_table(at(project), "shop.orders", confirm=lambda _: pytest.fail("it was planned"))
        assert tables.show_table(at(project), "shop.orders").rows == 120
    assert audit(project)[-2:] == [("access.refused", str(file)), ("access.refused", "shop.orders")]


def test_moments_of_versions_are_of_utc(deployed):
    assert tables.list_table_versions(at(deployed), "shop.orders")[0].at.tzinfo == UTC
