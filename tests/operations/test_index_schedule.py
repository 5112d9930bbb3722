"""A vector index is brought up to date by its schedule, or when its table has changed, and never twice for one change."""

from datetime import timedelta

import pytest
from tests.operations.bare_project import BareProject

import headrace as hr
from headrace.core.clock import now
from headrace.core.errors import DeclarationError, HeadraceError, NotFoundError
from headrace.lakehouse.declarations import Source, Table
from headrace.lakehouse.materialize import materialize
from headrace.lakehouse.source import load
from headrace.operations import schedule
from headrace.operations.drop_table import drop_table
from headrace.operations.refresh import plan_refresh, refresh
from headrace.operations.runs import list_runs
from headrace.operations.schedule_status import list_schedules
from headrace.operations.scheduler import run_scheduler
from headrace.operations.tables import list_table_versions, list_tables, load_table, show_table

PROGRAM = """
def embed(texts):
    if any("poison" in text for text in texts):
        raise ValueError("poison")
    return [[1.0, len(text), text.count("a")] for text in texts]

raw = hr.Source("bronze.docs", files="data/*.csv")
docs = hr.Table("silver.docs", key="id", sql="SELECT id, body FROM bronze.docs", change_feed=True)
index = hr.VectorIndex("features.docs_index", table=docs, text="body", refresh=REFRESH,
                       embed=hr.Embedding(function=embed, dimension=3))
other = hr.VectorIndex("features.other_index", table=docs, text="body", embed=hr.Embedding(function=embed, dimension=3))
"""
NAME = "features.docs_index"


def made(folder, how="hr.on_change_of(docs)"):
    project = BareProject(folder, program=PROGRAM.replace("REFRESH", how))
    (folder / "data").mkdir()
    write(project, "first", "a,an apple\nb,a bee\n")
    return project


@pytest.fixture
def project(tmp_path):
    return made(tmp_path / "shop")


def write(project, name, rows):
    (project.folder / "data" / f"{name}.csv").write_text(f"id,body\n{rows}")


def change(project, rows):
    """The table changes, and no refresh comes to the index."""
    write(project, str(len(list((project.folder / "data").iterdir()))), rows)
    with project.open() as workspace:
        load(workspace.lakehouse, workspace.project.find(Source, "bronze.docs"), project.folder)
        materialize(
            workspace.lakehouse, workspace.project.find(Table, "silver.docs"), id=rows, versions={"bronze.docs": None}
        )


def due(project):
    with project.open() as workspace:
        jobs = [job.arguments for job in schedule.due(workspace, since=now())]
    (report,) = list_schedules(project.at()).schedules
    assert report.due == bool(jobs)  # what people are told is what is done
    return jobs


def rows(project, name=NAME):
    with project.open() as workspace:
        return sorted(workspace.lakehouse.snapshot(name).to_arrow(["key"])["key"].to_pylist())


def up_once(project):
    lines, warnings = [], []
    report = run_scheduler(project.at(), once=True, stopping=lambda _: False, say=lines.append, warn=warnings.append)
    return report, lines, warnings


ONLY = [("refresh", "--index", NAME)]


def test_a_change_of_the_table_is_followed_once(project):
    assert due(project) == []  # there is no table yet
    refresh(project.at())
    assert due(project) == []  # a refresh brings every index up to date
    change(project, "c,a cat\n")
    assert due(project) == ONLY
    report, lines, warnings = up_once(project)
    assert (report.round_failed, warnings) == (False, [])
    assert lines[0] == f"rows of silver.docs have changed: headrace run refresh --index {NAME}"
    assert (rows(project), rows(project, "features.other_index")) == (["a", "b", "c"], ["a", "b"])
    assert due(project) == []
    with project.open() as workspace:
        workspace.lakehouse.optimize("silver.docs")
    assert due(project) == []  # no row has changed
    jobs = [run.job for run in list_runs(project.at()).runs]
    assert sorted(jobs) == [f"index {NAME}", "refresh"]
    (step,) = refresh(project.at(), index=NAME).steps
    assert step.summary == "3 rows, recall@10 1.000"  # nothing was new


def test_an_update_that_failed_waits_for_the_next_change(project):
    refresh(project.at())
    change(project, "p,poison\n")
    report, _, _ = up_once(project)
    assert report.round_failed
    assert due(project) == []
    (told,) = list_schedules(project.at()).schedules
    assert (told.last_status, told.because, len(told.waits_for)) == ("failed", "rows of silver.docs have changed", 1)
    with pytest.raises(HeadraceError):  # the poison is still there
        refresh(project.at(), index=NAME)
    change(project, "d,a dog\n")
    assert due(project) == ONLY


def test_a_schedule_by_the_clock(tmp_path, monkeypatch):
    project = made(tmp_path / "shop", 'hr.cron("0 4 * * *")')
    (told,) = list_schedules(project.at()).schedules
    assert (told.model, told.activity, told.trigger, told.due) == (NAME, "indexing", "0 4 * * *", False)
    assert told.commands == (f"headrace run refresh --index {NAME}",)
    later, began = now() + timedelta(days=1), now()
    with project.open() as workspace:
        assert schedule.due(workspace, since=began) == []
        monkeypatch.setattr(schedule, "now", lambda: later)
        assert [job.arguments for job in schedule.due(workspace, since=began)] == ONLY


def test_one_index_is_planned_and_an_unknown_one_is_refused(project):
    (planned,) = plan_refresh(project.at(), index=NAME)
    assert (planned.step, planned.reads, planned.writes) == (f"index {NAME}", "silver.docs", NAME)
    with pytest.raises(NotFoundError, match=r"features\.none"):
        refresh(project.at(), index="features.none")


def test_another_table_cannot_be_followed():
    docs = hr.Table("silver.docs", key="id", sql="SELECT 1")
    with pytest.raises(DeclarationError, match=r"another table than 'silver\.docs'"):
        hr.VectorIndex(
            NAME, table=docs, text="body", embed=hr.Embedding("minilm"), refresh=hr.on_change_of("bronze.docs")
        )


def test_the_table_of_an_index_is_listed_and_shown_with_what_it_is_made_of(project):
    refresh(project.at())
    kinds = {each.table: each.kind for each in list_tables(project.at()).tables}
    assert kinds[NAME] == "vector index"
    shown = show_table(project.at(), NAME)
    assert shown.properties["headrace.source"] == "silver.docs"
    assert {"key", "text", "vector"} <= shown.sample[0].keys()
    assert list_table_versions(project.at(), NAME)[0].rows == 2
    (project.folder / "x.csv").write_text("id\n1\n")
    with pytest.raises(HeadraceError, match="which the project makes itself"):
        load_table(project.at(), project.folder / "x.csv", into=NAME)


def test_a_table_that_an_index_is_made_of_says_so_before_it_is_dropped(project):
    refresh(project.at())
    dropped = drop_table(project.at(), "silver.docs")
    assert f"vector index {NAME} is made of it" in dropped.dependents
    gone = drop_table(project.at(), NAME)
    assert not any("does not make it anew" in each for each in gone.dependents)
