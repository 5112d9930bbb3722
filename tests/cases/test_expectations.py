"""A promise about a number is broken by NaN, as it is by null."""

import shutil
from pathlib import Path

CASES = Path(__file__).parent


def test_nan_and_null_break_an_expectation_about_a_number(headrace, tmp_path):
    folder = shutil.copytree(CASES / "expect_nan", tmp_path / "project")
    assert headrace.run(folder, "run", "refresh").code == 0
    kept = headrace.run(folder, "sql", "select id from silver.o order by id", "--json").json()
    assert [row["id"] for row in kept] == [1]
    reasons = headrace.run(folder, "sql", "select id, _reason from quarantine.silver_o order by id", "--json").json()
    assert [(row["id"], row["_reason"]) for row in reasons] == [(place, "amount >= 0") for place in (2, 3, 4)]
