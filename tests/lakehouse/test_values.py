import datetime as dt

import duckdb

from headrace.lakehouse.values import rows_of


def test_moments_that_python_has_none_for_are_text():
    rows = rows_of(
        duckdb.sql(
            "select 'infinity'::timestamptz as a, '-infinity'::date as b, [timestamp '12024-01-02 03:04:05'] as c, "
            "{'x': date '0044-03-15 (BC)', 'y': 1} as d, date '2024-01-05' as e, null::timestamp as f"
        ).to_arrow_table()
    )

    assert rows == [
        {
            "a": "infinity",
            "b": "-infinity",
            "c": ["12024-01-02 03:04:05.000000"],
            "d": {"x": "-0043-03-15", "y": 1},
            "e": dt.date(2024, 1, 5),
            "f": None,
        }
    ]
