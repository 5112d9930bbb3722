"""The dashboards that come with the example of flights answer on tables of its names, made as its own are."""

from pathlib import Path

import pytest
from tests.docs import flights_project

import headrace.examples
from headrace.console.shown_tiles import shown_tiles
from headrace.operations.dashboard_files import push_dashboards
from headrace.operations.dashboards import list_dashboards, refresh_dashboard
from headrace.operations.operation import At
from headrace.operations.sql import query
from headrace.queries.dashboard_file import read

EXAMPLE = Path(headrace.examples.__file__).parent / "flights"
SHIPPED = sorted((EXAMPLE / "dashboards").glob("*.toml"))
MONTHS = (("2013-01-01", "2013-04-30"), ("2013-05-01", "2013-05-31"), ("2013-06-01", "2013-06-30"))
PLANES = """
planes = hr.Table(
    "silver.planes",
    key="tailnum",
    sql="select carrier as tailnum, case carrier when 'AA' then 8 else 100 end as seats from bronze.flights group by carrier",
    expect=[hr.expect("seats > 22", otherwise="quarantine")],
)
arrival_delay = """


@pytest.fixture(scope="module")
def flights(headrace, tmp_path_factory):
    """A project with the names of the example, of which a version is in Production, scored and monitored."""
    folder = flights_project.write(tmp_path_factory.mktemp("shipped") / "flights")
    program = folder / "flights.py"
    text = program.read_text()
    for before, after in {
        "origin, distance from": "origin, distance, case when distance > 300 then carrier end as tailnum from",
        "known_at, late from": "known_at, late, case when late then 40 else 0 end as arr_delay from",
        "\narrival_delay = ": PLANES,
        "alerts=[": f"kpis=[hr.kpi('saved_minutes', {(EXAMPLE / 'flights' / 'saved_minutes.sql').read_text()!r}, better='higher')], alerts=[",
    }.items():
        assert before in text
        text = text.replace(before, after, 1)
    program.write_text(text)

    def run(*arguments):
        done = headrace.run(folder, "run", *arguments, "--env", "prod")
        assert done.code == 0, done.stderr

    for number, month in enumerate(MONTHS):
        flights_project.arrive(folder, *month)
        run("refresh")
        if number:
            run("train", "--as-of", month[0])
            run("deploy", "--as-of", month[0])
    run("score", "--since", "2013-05-01")
    run("monitor")
    (folder / "dashboards").mkdir()
    for each in SHIPPED:
        (folder / "dashboards" / each.name).write_bytes(each.read_bytes())
    return At(env="prod", folder=folder)


def test_there_is_one_a_persona(flights):
    assert [each.name for each in list_dashboards(flights)] == [
        "business-value",
        "data-quality",
        "governance",
        "model-health",
    ]
    assert {each.origin for each in list_dashboards(flights)} == {"project"}
    push_dashboards(flights)
    assert [each.differs for each in list_dashboards(flights) if each.origin == "draft"] == [()] * 4


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_each_tile_answers_and_its_picture_can_be_drawn(flights, path):
    report = refresh_dashboard(flights, path.stem)
    assert [(each.title, each.error) for each in report.tiles] == [(each.title, None) for each in read(path).tiles]
    for tile in shown_tiles(report):
        assert tile.answer is not None
        assert tile.answer.count > 0, tile.title
        if tile.answer.picture is not None:
            assert tile.answer.picture.svg or tile.answer.picture.heat_map, (tile.title, tile.answer.picture.notes)


def test_an_expectation_that_holds_is_not_among_those_that_are_broken(flights):
    (tile,) = [each for each in refresh_dashboard(flights, "data-quality").tiles if "broken" in each.title]
    found = query(flights, "select count(*) as n from metrics.expectations where broken = 0").rows()
    assert found[0]["n"] > 0
    assert all(each["broken"] > 0 for each in tile.result.rows())
