"""Two versions side by side: what was stored of each, and what a gate found on the same rows."""

import json
import logging
import shutil

import pytest
from tests.operations.loop_project import at

from headrace.core.errors import DeclarationError, NotFoundError
from headrace.operations import comparison, models, sql


def test_two_versions_are_shown_side_by_side(monitored):
    compared = comparison.compare_versions(at(monitored), "days", 1, 2)
    first, second = models.show_version(at(monitored), "days", version=1), models.show_version(at(monitored), "days")

    assert (compared.a.stage, compared.b.stage) == ("Archived", "Production")
    assert [(each.name, each.a, each.b, each.differs) for each in compared.parameters] == [
        ("depth", 3, 4, True),
        ("robust", None, True, True),
        ("rate", 0.1, 0.1, False),
    ]
    assert (compared.features.added, compared.features.removed, compared.features.same) == (
        (),
        ("orders",),
        ("amount",),
    )
    assert {each.table: (each.a, each.b) for each in compared.tables} == {
        name: (first.inputs.get(name), second.inputs.get(name)) for name in first.inputs
    }
    assert [each.b for each in compared.tables if each.table == "stats.customers"] == [None]
    assert {each.metric: (each.a, each.b) for each in compared.metrics} == {
        name: (value, second.metrics[name]) for name, value in first.metrics.items()
    }
    assert compared.to_json() == json.loads(json.dumps(compared.to_json()))


def test_slices_of_both_stand_beside_each_other(monitored):
    compared = comparison.compare_versions(at(monitored), "days", 1, 2)
    kept = sql.query(
        at(monitored),
        "select run_id, slice_value, value, rows from metrics.evaluations where slice_key = 'customer' and metric = 'rmse'",
    ).rows()

    for side, version in (("a", compared.a), ("b", compared.b)):
        stored = {row["slice_value"]: (row["rows"], row["value"]) for row in kept if row["run_id"] == version.run_id}
        shown = {
            each.value: (getattr(each, f"rows_{side}"), getattr(metric, side))
            for each in compared.slices
            for metric in each.metrics
            if metric.metric == "rmse" and getattr(each, f"rows_{side}") is not None
        }
        assert shown == stored
        assert len(shown) > 3


def test_what_was_found_on_the_same_rows_does_not_depend_on_which_comes_first(monitored):
    forth = comparison.compare_versions(at(monitored), "days", 1, 2)
    back = comparison.compare_versions(at(monitored), "days", 2, 1)

    (found,) = forth.same_rows
    assert (found.version, found.champion, found.metric, found.result) == (2, 1, "rmse", "passed")
    assert found.rows > 5
    assert found in comparison.list_comparisons(at(monitored), "days")
    assert len(comparison.list_comparisons(at(monitored), "days")) == 2  # the first version, with a constant
    assert back.same_rows == forth.same_rows
    assert (back.features.added, back.features.removed) == (forth.features.removed, forth.features.added)
    assert [(each.b, each.a) for each in back.metrics] == [(each.a, each.b) for each in forth.metrics]


@pytest.mark.parametrize(
    ("name", "numbers", "kind", "says"),
    [
        ("dayz", (1, 2), NotFoundError, "did you mean 'days'"),
        ("days", (1, 9), NotFoundError, "no version of days '9'"),
        ("days", (2, 2), DeclarationError, "days/2 cannot be compared with itself"),
    ],
)
def test_versions_that_cannot_be_compared(monitored, name, numbers, kind, says):
    with pytest.raises(kind, match=says):
        comparison.compare_versions(at(monitored), name, *numbers)


def test_a_version_whose_files_are_gone_is_compared_by_what_is_left(monitored, tmp_path, caplog):
    """Its features are not known any more: that is a warning, and no feature is said to have been added."""
    folder = shutil.copytree(monitored, tmp_path / "mini", symlinks=True)
    root = folder / ".headrace" / "dev"
    gone = [path.parent for path in root.rglob("spec.json")]
    assert len(gone) >= 2
    for each in gone:
        shutil.rmtree(each)
    with caplog.at_level(logging.WARNING, "headrace.operations"):
        compared = comparison.compare_versions(at(folder), "days", 1, 2)

    assert compared.features is None
    assert compared.parameters[0].name == "depth"
    assert len(compared.same_rows) == 1
    assert "the features of days/1 and days/2 cannot be compared" in caplog.text
