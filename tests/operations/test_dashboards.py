"""Dashboards: drafts with a conflict check, files that come back as they were, stored answers, and tiles that fail alone."""

import json
import subprocess
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
from tests.operations.bare_project import BareProject

import headrace.examples
from headrace.core import vault
from headrace.core.clock import frozen, now
from headrace.core.errors import ConfigError, ConflictError, NotFoundError, RefusedError, SqlError
from headrace.operations import dashboard_files as files
from headrace.operations import dashboard_tiles
from headrace.operations import dashboards as boards
from headrace.operations.dashboard_schedule import DashboardSchedule
from headrace.operations.dashboards import Dashboard, Tile
from headrace.operations.saved_queries import Chart, Parameter, delete_query, save_query
from headrace.operations.tables import load_table
from headrace.queries.dashboard_file import read, write

ODD = 'it\'s "the" <b>best</b> of 50% & 🚀 \\'
SHIPPED = Path(headrace.examples.__file__).parent / "flights" / "dashboards"
BY_TEXT = "select t, n from bronze.orders where n >= :least order by n"
LEAST = Parameter(name="least", kind="number", default="2")


@pytest.fixture
def shop(tmp_path):
    project = BareProject(tmp_path / "shop")
    file = tmp_path / "orders.csv"
    file.write_text("n,t\n1,a\n2,b\n3,c\n4,o'd\n")
    load_table(project.at(), file)
    save_query(project.at(), "late", BY_TEXT, parameters=[LEAST], chart=Chart(kind="bar", x="t", y=("n",)))
    return project


def sales(**more):
    tiles = (
        Tile(title="On a saved query", query="late", width=6),
        Tile(title=ODD, sql="select count(*) as n\nfrom bronze.orders", width=4),
        Tile(title="Fixed", query="late", values={"least": "4"}, width=2),
    )
    return Dashboard(**{"name": "sales", "title": ODD, "description": "a\nb", "owner": "me", "tiles": tiles, **more})


def put(project, text, name="sales"):
    folder = project.folder / "dashboards"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.toml").write_text(text)


def answers(report):
    return [each.result.rows() if each.result is not None else each.error for each in report.tiles]


def test_a_draft_is_kept_asked_and_stored(shop):
    made = boards.save_dashboard(shop.at(), sales())
    assert (made.origin, made.version, made.differs, made.written) == ("draft", 1, None, sales())
    assert [each.refreshed for each in made.tiles] == [None, None, None]
    assert [each.name for each in made.parameters] == ["least"]

    after = boards.refresh_dashboard(shop.at(), "sales")
    assert answers(after) == [
        [{"t": "b", "n": 2}, {"t": "c", "n": 3}, {"t": "o'd", "n": 4}],
        [{"n": 4}],
        [{"t": "o'd", "n": 4}],
    ]
    assert all(each.refreshed is not None for each in after.tiles)
    assert after.tiles[0].chart == Chart(kind="bar", x="t", y=("n",))
    assert boards.show_dashboard(shop.at(), "sales") == after
    assert json.dumps(after.to_json())
    (listed,) = boards.list_dashboards(shop.at())
    assert (listed.refreshed, listed.tiles) == (min(each.refreshed for each in after.tiles), 3)
    assert boards.list_dashboards(shop.at("prod")) == []
    assert [entry[:2] for entry in shop.audit()][-2:] == [
        ("dashboard.saved", "sales"),
        ("dashboard.refreshed", "sales"),
    ]


def test_values_are_asked_anew_and_not_stored(shop):
    boards.save_dashboard(shop.at(), sales())
    asked = boards.ask_dashboard(shop.at(), "sales", {"least": "3"})
    assert [len(each) for each in answers(asked)] == [2, 1, 1]  # the fixed one keeps its value
    assert [each.refreshed for each in boards.show_dashboard(shop.at(), "sales").tiles] == [None] * 3
    assert answers(boards.ask_dashboard(shop.at(), "sales", {"least": "x"}))[0].startswith("the value of :least is no")
    with pytest.raises(NotFoundError, match=r"no parameter 'leas'.*'least'"):
        boards.ask_dashboard(shop.at(), "sales", {"leas": "3"})


def test_one_broken_tile_does_not_take_the_others(shop):
    boards.save_dashboard(shop.at(), sales())
    delete_query(shop.at(), "late")
    after = boards.refresh_dashboard(shop.at(), "sales")
    assert "no saved query 'late'" in answers(after)[0]
    assert answers(after)[1] == [{"n": 4}]
    files.pull_dashboards(shop.at())
    assert read(shop.folder / "dashboards" / "sales.toml").tiles[0].sql is None


def test_an_answer_is_stored_in_part_and_counted_whole(shop):
    text = "select range as n, repeat('x', 100) as t from range(3000)"
    huge = "select repeat('x', 3000000) as t"
    tiles = (Tile(title="many", sql=text), Tile(title="huge", sql=huge), Tile(title="more", sql="from range(20000)"))
    boards.save_dashboard(shop.at(), Dashboard(name="big", title="big", tiles=tiles))
    many, large, more = boards.refresh_dashboard(shop.at(), "big").tiles
    assert (many.count, many.result.count) == (3000, 1000)
    assert (large.result, "too large to be stored" in large.error) == (None, True)
    assert (more.result, "more than 10,000 rows" in more.error) == (None, True)


def test_an_answer_that_nobody_asks_for_any_more_is_forgotten(shop):
    boards.save_dashboard(shop.at(), sales())
    boards.refresh_dashboard(shop.at(), "sales")
    boards.save_dashboard(shop.at(), sales(tiles=sales().tiles[:1]), replaces=1)
    boards.refresh_dashboard(shop.at(), "sales")
    with shop.open() as workspace:
        assert len(boards.dashboard_store(workspace).answers("sales")) == 1


def test_of_two_who_save_at_once_one_is_told(shop):
    boards.save_dashboard(shop.at(), sales())
    with pytest.raises(ConflictError, match="there is a draft 'sales' already"):
        boards.save_dashboard(shop.at(), sales())
    assert boards.save_dashboard(shop.at(), sales(title="second"), replaces=1).version == 2
    with pytest.raises(ConflictError, match="version 2 now, not 1"):
        boards.save_dashboard(shop.at(), sales(title="third"), replaces=1)
    with pytest.raises(ConflictError, match="version 2 now, not 1"):
        boards.delete_dashboard(shop.at(), "sales", version=1)
    boards.delete_dashboard(shop.at(), "sales", version=2)
    with pytest.raises(ConflictError, match="somebody has deleted it"):
        boards.save_dashboard(shop.at(), sales(), replaces=2)
    with pytest.raises(NotFoundError, match="no dashboard 'sales'"):
        boards.show_dashboard(shop.at(), "sales")


@pytest.mark.parametrize(
    ("tile", "error", "told"),
    [
        ({"query": "lat"}, NotFoundError, "did you mean 'late'"),
        ({"query": "late", "values": {"leas": "1"}}, NotFoundError, "no parameter 'leas'"),
        ({"query": "late", "values": {"least": "x"}}, ConfigError, "is no number"),
        ({"sql": "drop table bronze.orders"}, SqlError, "is not a SELECT"),
        ({"sql": "select * from read_csv('/etc/passwd')"}, SqlError, "not a declared table"),
        ({"sql": "select :n"}, SqlError, "n"),
    ],
    ids=lambda given: next(iter(given)) + str(len(str(given))) if isinstance(given, dict) else None,
)
def test_a_tile_that_cannot_be_answered_is_not_saved(shop, tile, error, told):
    with pytest.raises(error, match=told):
        boards.save_dashboard(shop.at(), Dashboard(name="x", title="x", tiles=(Tile(title="t", **tile),)))
    assert boards.list_dashboards(shop.at()) == []


@pytest.mark.parametrize("name", ["", "A", "../x", "a/b", "a.b", "-a", "ä", "a" * 81, "a\n", "<b>"])
def test_a_name_is_that_of_a_file(name):
    with pytest.raises(ConfigError, match="cannot be the name of a dashboard"):
        Dashboard(name=name, title="x")


def test_a_draft_becomes_a_file_with_each_select_and_comes_back(shop):
    boards.save_dashboard(shop.at(), sales())
    (written,) = files.pull_dashboards(shop.at(), "sales")
    text = written.file.read_text()
    assert (written.result, written.file) == ("written", shop.folder / "dashboards" / "sales.toml")
    assert f"sql = '''\n{BY_TEXT}\n'''" in text
    assert files.pull_dashboards(shop.at())[0].result == "unchanged"
    assert write(read(written.file)) == text

    both = boards.list_dashboards(shop.at())
    assert [(each.origin, each.differs) for each in both] == [("project", None), ("draft", ())]
    assert boards.show_dashboard(shop.at(), "sales").origin == "project"
    with pytest.raises(NotFoundError):  # it is not released
        boards.show_dashboard(shop.at("prod"), "sales")

    boards.delete_dashboard(shop.at(), "sales")
    assert files.push_dashboards(shop.at())[0].result == "saved"
    assert boards.show_dashboard(shop.at(), "sales", draft=True).written.tiles == tuple(
        Tile(**{**vars(each), "chart": each.chart or (Chart(kind="bar", x="t", y=("n",)) if each.query else None)})
        for each in sales().tiles
    )
    assert files.push_dashboards(shop.at())[0].result == "unchanged"


def test_what_a_draft_has_changed_is_said(shop):
    boards.save_dashboard(shop.at(), sales())
    files.pull_dashboards(shop.at())
    one, two, three = sales().tiles
    changed = (three, Tile(**{**vars(one), "width": 3}), Tile(title="new", sql="select 1 as a"))
    boards.save_dashboard(shop.at(), sales(owner="you", tiles=changed), replaces=1)
    assert boards.show_dashboard(shop.at(), "sales").differs == (
        "another owner",
        "a new tile 'new'",
        f"no tile {two.title!r}",
        "'On a saved query' with another width",
        "another order",
    )
    with pytest.raises(ConflictError, match="drafts that differ from the files") as refused:
        files.push_dashboards(shop.at())
    assert refused.value.findings[0].startswith("sales: version 2")
    assert files.push_dashboards(shop.at(), replace_drafts=True)[0].result == "saved"
    assert boards.show_dashboard(shop.at(), "sales").differs == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('titel = "x"', "unknown key 'titel'(.|\n)*Did you mean 'title'"),
        ("[[tile]]\nwidht = 3", "unknown key 'widht' in tile 1.*\nDid you mean 'width'"),
        ('[[tile]]\nsql = "select 1"\nchart = { knd = "line" }', "unknown key 'knd' in the chart of tile 1"),
        ('[[tile]]\nsql = "select 1"', "the title is empty"),
        ('[[tile]]\ntitle = "a"', "the tile 'a' asks nothing"),
        ('[[tile]]\ntitle = "a"\nquery = "q"\nwidth = 13', "is 13 columns wide"),
        ('[[tile]]\ntitle = "a"\nquery = "q"\nwidth = true', "columns wide"),
        ('[[tile]]\ntitle = "a"\nquery = "q"\nwidth = "6"', "'width' is '6'"),
        ('[[tile]]\ntitle = "a"\nquery = "q"\nchart = "pie"', "'pie' is no kind of chart"),
        ('[[tile]]\ntitle = "a"\nquery = "q"\nvalues = { a = [1] }', "'a' is .1"),
        ('[[tile]]\ntitle = "a"\nquery = "q"\n[[tile]]\ntitle = "a"\nquery = "q"', "two tiles are called 'a'"),
        ('refresh = "1s"', "refresh = '1s' is not possible"),
        ('refresh = "hourly"', "'hourly' is not a duration"),
        ("tile = 3", "tiles are written as"),
        ("title = 3", "'title' is 3"),
        ('title = "\\u0007"', "characters that cannot be seen"),
        ('title = "' + "x" * 201 + '"', "has 201 characters"),
        ("title = ", "this is not TOML"),
        ("x = " + "[" * 5000, "deep|not TOML|unknown key"),
        ('[[tile]]\ntitle = "a"\nsql = "select :n"\nparameters = [{ name = "n", kind = "int" }]', "'int' is no kind"),
    ],
    ids=range(20),
)
def test_a_file_that_is_wrong_says_where_and_takes_no_other(shop, text, told):
    put(shop, text)
    put(shop, 'title = "Fine"', "fine")
    with pytest.raises(ConfigError, match=told) as refused:
        boards.show_dashboard(shop.at(), "sales")
    assert "sales.toml" in refused.value.what
    fine, wrong = boards.list_dashboards(shop.at())
    assert (fine.error, wrong.error.splitlines()[0]) == (None, refused.value.what.splitlines()[0])
    with pytest.raises(ConfigError):
        files.push_dashboards(shop.at())


def test_a_link_in_the_folder_is_not_written_through(shop, tmp_path):
    boards.save_dashboard(shop.at(), sales())
    (shop.folder / "dashboards").mkdir()
    (shop.folder / "dashboards" / "sales.toml").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="is a link"):
        files.pull_dashboards(shop.at())
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    "text", ["it's", "a'''b", "tab\there", "\\n \\u0000", "bell\x07", "del\x7f", "ends with '", "🚀\r\nx"]
)
def test_every_text_comes_back_from_a_file(tmp_path, text):
    made = Dashboard(
        name="x",
        title="x",
        tiles=(Tile(title="t", sql=f"select '{text}' as a", values={"a b": text, "n": '"'}),),
    )
    (tmp_path / "x.toml").write_bytes(write(made).encode())
    assert read(tmp_path / "x.toml") == made


def test_a_dashboard_of_the_project_is_that_of_the_code_which_runs(shop):
    toml = shop.folder / "headrace.toml"
    toml.write_text(toml.read_text().replace("[env.prod]", '[env.prod]\ncode = "commit"'))
    put(shop, 'title = "Committed"')
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "a"]):
        subprocess.run(["git", *words], cwd=shop.folder, check=True)
    put(shop, 'title = "Changed"')
    assert boards.show_dashboard(shop.at(), "sales").title == "Changed"
    assert boards.show_dashboard(shop.at("prod"), "sales").title == "Committed"


def test_a_scheduler_renews_what_is_due_the_oldest_first(shop):
    boards.save_dashboard(shop.at(), sales(refresh="1h"))
    boards.save_dashboard(shop.at(), sales(name="by-hand"))
    put(shop, 'title = "File"\nrefresh = "2h"\n[[tile]]\ntitle = "t"\nsql = "select 1 as a"', "file")
    began = now()
    with shop.open() as workspace:
        schedule = DashboardSchedule(workspace)
        assert schedule.due() == [("file", False), ("sales", True)]
        assert len(schedule.run_due()) == 2
        assert (schedule.due(), schedule.run_due()) == ([], [])
        with frozen(began + timedelta(minutes=90)):
            assert schedule.due() == [("sales", True)]
    assert boards.show_dashboard(shop.at(), "file").tiles[0].result.rows() == [{"a": 1}]
    assert boards.show_dashboard(shop.at(), "by-hand").tiles[0].refreshed is None


HEAVY = """select count(*) as n from (select unnest(range(n)) as x from bronze.orders) a, (select unnest(range(n)) as x from bronze.orders) b
where (a.x * b.x) % 7 = 1"""


@pytest.fixture
def heavy(shop, tmp_path):
    """A dashboard whose one answer was quick and takes long from now on, and that answer."""
    tiles = (Tile(title="heavy", sql=HEAVY),)
    boards.save_dashboard(shop.at(), Dashboard(name="heavy", title="heavy", refresh="1m", tiles=tiles))
    before = boards.refresh_dashboard(shop.at(), "heavy").tiles
    assert before[0].error is None
    more = tmp_path / "more.csv"
    more.write_text("n,t\n1000000,z\n")
    load_table(shop.at(), more, into="bronze.orders")
    return before


def cancelled_after(asked):
    number = count()
    return lambda: next(number) >= asked


@pytest.mark.parametrize(
    "how", [{"seconds": 0.5}, {"seconds": 100.0, "cancelled": cancelled_after(3)}], ids=["late", "cancelled"]
)
def test_a_tile_that_is_cut_short_keeps_its_answer_and_stays_due(shop, heavy, how):
    with shop.open() as workspace, frozen(now() + timedelta(minutes=2)):
        assert boards.renew(workspace, "heavy", draft=True, **how).tiles == heavy
        assert DashboardSchedule(workspace).due() == [("heavy", True)]
    assert boards.show_dashboard(shop.at(), "heavy").tiles == heavy


def test_a_tile_that_is_cut_short_before_its_first_answer_says_so_and_stays_due(shop, heavy):
    slow = replace(boards.show_dashboard(shop.at(), "heavy").written, name="slow")
    boards.save_dashboard(shop.at(), slow)
    with shop.open() as workspace:
        (tile,) = boards.renew(workspace, "slow", draft=True, seconds=0.5).tiles
        assert (tile.refreshed, "took longer than" in tile.error) == (None, True)
        assert DashboardSchedule(workspace).due() == [("slow", True)]


def test_a_tile_that_takes_longer_than_a_tile_may_says_so_with_its_time(shop, heavy, monkeypatch):
    monkeypatch.setattr(dashboard_tiles, "SECONDS", 0.5)
    (tile,) = boards.refresh_dashboard(shop.at(), "heavy").tiles
    assert (tile.refreshed > heavy[0].refreshed, tile.result) == (True, None)
    assert "took longer than 0.5 seconds" in tile.error


def test_a_dashboard_of_which_no_tile_can_be_asked_is_not_due(shop):
    boards.save_dashboard(shop.at(), sales(tiles=sales().tiles[:1], refresh="1m"))
    with shop.open() as workspace:
        assert DashboardSchedule(workspace).due() == [("sales", True)]
        delete_query(shop.at(), "late")
        assert DashboardSchedule(workspace).due() == []


def test_who_holds_no_role_looks_and_changes_nothing(shop):
    boards.save_dashboard(shop.at(), sales())
    tokens = shop.enrol(ana="data_scientist")
    with vault.bearing(tokens["bootstrap"]):
        assert boards.show_dashboard(shop.at(), "sales").version == 1
        for change in (
            lambda: boards.save_dashboard(shop.at(), sales(name="other")),
            lambda: boards.refresh_dashboard(shop.at(), "sales"),
            lambda: boards.delete_dashboard(shop.at(), "sales"),
            lambda: files.push_dashboards(shop.at()),
        ):
            with pytest.raises(RefusedError):
                change()
    with vault.bearing(tokens["ana"]):
        assert boards.save_dashboard(shop.at(), sales(name="other")).saved_by == "ana"


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.toml")), ids=lambda path: path.stem)
def test_a_shipped_dashboard_is_written_as_pull_writes_it(path):
    made = read(path)
    assert write(made) == path.read_text()
    assert (len(made.tiles) > 2, made.refresh is not None) == (True, True)
