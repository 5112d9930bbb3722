"""Rules on saved queries: one alert that holds, whoever asks how often, and one that says why none can be judged."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from tests.operations.bare_project import BareProject

from headrace.core import vault
from headrace.core.clock import frozen, now
from headrace.core.errors import ConfigError, ConflictError, HeadraceError, NotFoundError, RefusedError
from headrace.operations import alerts, schedule
from headrace.operations import query_alerts as rules
from headrace.operations import saved_queries as saved
from headrace.operations.alerts import list_alerts, mute_alert, resolve_alert, show_alert_history
from headrace.operations.drop_table import drop_table
from headrace.operations.status import show_status
from headrace.operations.tables import load_table
from headrace.queries.alert_rules import condition

ODD = 'it\'s "the" <b>best</b>/of 50% & 🚀'
LATEST = "select late, t from bronze.late where n = (select max(n) from bronze.late) order by i"
START = datetime(2030, 1, 1, 10, 5, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture
def shop(tmp_path):
    project = BareProject(tmp_path / "shop")
    project.load = lambda *values: load(project, tmp_path, values)
    project.load(0.05)
    return project


def load(project, tmp_path, values):
    """`LATEST` reads these values, and nothing else."""
    number = len(list(tmp_path.glob("late*.csv")))
    file = tmp_path / f"late{number}.csv"
    rows = "".join(f"{number},{place},{float(each)},a\n" for place, each in enumerate(values))
    file.write_text(f"n,i,late,t\n{rows}")
    load_table(project.at(), file, into="bronze.late")


def rule(project, when="late > 0.1", *, sql=LATEST, name="share", **more):
    if name not in [each.name for each in saved.list_queries(project.at())]:
        saved.save_query(project.at(), name, sql)
    return rules.declare_query_alert(project.at(), name, when, **more)


def evaluate(project, at=START, **how):
    """Evaluates every rule at a moment; gives the rules of the alerts that hold."""
    with frozen(at):
        return [each.rule for each in rules.monitor_queries(project.at(), **how).alerts]


def seen(project):
    return [(each.rule, each.status) for each in reversed(list_alerts(project.at(), closed=True))]


def events(project):
    with project.open() as workspace:
        return [(each.name, each.payload["alert"]) for each in workspace.outbox.events() if "alert" in each.name]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("late > 0.1", "late > 0.1"),
        ("  late>=.5 ", "late >= 0.5"),
        ("rows > 0", "rows > 0"),
        ("ROWS == 0", "rows = 0"),
        ('"rows" <> 3', '"rows" != 3'),
        ('"late share" < -1e3', '"late share" < -1000'),
        ('"a ""b""" > 1', '"a ""b""" > 1'),
        ("späť <= 12345678901234567", "späť <= 12345678901234567"),
    ],
)
def test_a_condition_is_kept_in_one_way(text, kept):
    assert str(condition(text)) == kept
    assert str(condition(kept)) == kept


@pytest.mark.parametrize(
    "text",
    ["", "late", "late >", "> 1", "late > nan", "late > 1e999", "late > x", "late > 1 or 1=1", "a b > 1", "x" * 200 + " > 1",
     "late => 1", "late > 1; drop table x", '"" > 1'],
)  # fmt: skip
def test_what_is_no_condition_is_refused(shop, text):
    saved.save_query(shop.at(), "share", "select * from bronze.late")
    with pytest.raises(ConfigError, match="is no condition"):
        rules.declare_query_alert(shop.at(), "share", text)


def test_an_alert_opens_when_the_rule_begins_to_hold_and_closes_when_it_no_longer_does(shop):
    made = rule(shop, severity="critical", owner="ann", every="1h")
    assert (made.holds, made.reason, made.owner) == (False, "late is 0.05", "ann")
    assert evaluate(shop) == []

    shop.load(0.2, 0.01)
    assert evaluate(shop, START + HOUR) == ["late > 0.1"]
    assert evaluate(shop, START + HOUR) == ["late > 0.1"]
    assert evaluate(shop, START + 2 * HOUR) == ["late > 0.1"]
    (alert,) = list_alerts(shop.at())
    assert (alert.query, alert.model, alert.version, alert.severity, alert.owner) == (
        "share",
        None,
        None,
        "critical",
        "ann",
    )
    assert alert.window == datetime(2030, 1, 1, 11, tzinfo=UTC)
    assert alert.evidence["windows"][0]["value"] == 0.2
    assert alert.evidence["windows"][0]["start"].startswith("2030-01-01T11:05")
    assert "query 'share': late > 0.1" in [each.what for each in show_status(shop.at()).needs_a_person]

    shop.load(0.1)
    assert evaluate(shop, START + 3 * HOUR) == []
    (alert,) = list_alerts(shop.at(), closed=True)
    assert (alert.status, alert.evidence["windows"][-1]["value"]) == ("closed", 0.1)
    assert alert.better_since == datetime(2030, 1, 1, 13, tzinfo=UTC)
    assert events(shop) == [("alert.opened", 1), ("alert.closed", 1)]
    (shown,) = saved.show_query(shop.at(), "share").alerts
    assert (shown.rule, shown.outcome, shown.evaluated > START + 3 * HOUR) == ("late > 0.1", "late is 0.1", True)


def test_within_one_step_of_its_rule_an_alert_opens_once(shop):
    rule(shop, every="1h")
    for value, minutes in ((0.2, 0), (0.0, 5), (0.3, 10)):
        shop.load(value)
        evaluate(shop, START + minutes * MINUTE)
    assert seen(shop) == [("late > 0.1", "open")]
    assert [each.what for each in show_alert_history(shop.at(), 1)] == ["opened again", "closed", "opened"]


def test_many_evaluations_at_once_make_one_alert(shop):
    shop.load(0.2)
    rule(shop)

    def once(_):
        try:
            rules.monitor_queries(shop.at())
        except HeadraceError as error:
            return type(error).__name__
        return "done"

    with ThreadPoolExecutor(4) as pool:
        outcomes = set(pool.map(once, range(4)))
    assert "done" in outcomes
    assert outcomes <= {"done", "BusyError"}
    assert seen(shop) == [("late > 0.1", "open")]


@pytest.mark.parametrize(
    ("sql", "when", "reason"),
    [
        ("select late from bronze.late where late > 9", "late > 0.1", "the answer has no row"),
        ("select 'nan'::double as late from bronze.late", "late > 0.1", "late is NaN"),
        ("select null::double as late", "late < 1", "late is null"),
    ],
)
def test_an_answer_without_a_value_is_told_and_neither_holds_nor_not(shop, sql, when, reason):
    made = rule(shop, when, sql=sql)
    assert reason in made.reason
    assert evaluate(shop) == evaluate(shop) == [f"{when}: cannot be evaluated"]
    (alert,) = list_alerts(shop.at())
    assert reason in alert.evidence["reason"]
    assert alert.evidence["windows"][0]["value"] is None


@pytest.mark.parametrize(
    ("when", "told"),
    [
        ("lat > 0.1", "the answer has no column 'lat': it has late, t"),
        ("t > 1", "t is no number: 'a'"),
    ],
)
def test_a_rule_that_no_answer_can_say_is_refused(shop, when, told):
    with pytest.raises(ConfigError, match=told):
        rule(shop, when)
    assert saved.show_query(shop.at(), "share").alerts == ()


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        ("select 'inf'::double as late", "inf"),
        ("select 12.5::decimal(9,2) as LATE", 12.5),
        ("select 3::hugeint as late", 3.0),
    ],
)
def test_every_kind_of_number_is_compared(shop, sql, value):
    rule(shop, sql=sql)
    assert evaluate(shop) == ["late > 0.1"]
    (alert,) = list_alerts(shop.at())
    assert alert.evidence["windows"][0]["value"] == value


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ("late > 0.1", False),
        ("late >= 0.1", True),
        ("late < 0.1", False),
        ("late <= 0.1", True),
        ("late = 0.1", True),
        ("late != 0.1", False),
        ("late < 1", True),
        ("late > 1e-20", True),
    ],
)
def test_a_decimal_is_compared_with_the_limit_as_it_is_written(shop, when, holds):
    assert rule(shop, when, sql="select 0.1 as late").holds is holds


def test_rows_are_counted(shop):
    rule(shop, "rows > 1")
    assert evaluate(shop) == []
    shop.load(1, 2)
    assert evaluate(shop, START + HOUR) == ["rows > 1"]


def test_a_query_that_fails_opens_an_alert_that_says_why_and_leaves_the_other_as_it_is(shop, tmp_path):
    shop.load(0.2)
    rule(shop)
    evaluate(shop)
    saved.save_query(shop.at(), "share", "select late / 0 + :x as late from bronze.late",
                     parameters=[saved.Parameter(name="x", kind="number")], replaces=1)  # fmt: skip
    assert sorted(evaluate(shop, START + HOUR)) == ["late > 0.1", "late > 0.1: cannot be evaluated"]
    assert "there is no value for :x" in list_alerts(shop.at())[0].evidence["reason"]

    saved.save_query(shop.at(), "share", LATEST, replaces=2)
    assert evaluate(shop, START + 2 * HOUR) == ["late > 0.1"]
    drop_table(shop.at(), "bronze.late")
    evaluate(shop, START + 3 * HOUR)
    assert "bronze.late" in list_alerts(shop.at())[0].evidence["reason"]
    assert seen(shop) == [
        ("late > 0.1", "open"),
        ("late > 0.1: cannot be evaluated", "closed"),
        ("late > 0.1: cannot be evaluated", "open"),
    ]


def test_with_the_query_go_its_rules_and_their_alerts(shop):
    shop.load(0.2)
    rule(shop, name=ODD)
    assert evaluate(shop) == ["late > 0.1"]
    saved.delete_query(shop.at(), ODD)
    assert seen(shop) == [("late > 0.1", "closed")]
    assert evaluate(shop, START + HOUR) == []

    rule(shop, name=ODD)
    assert [each.rule for each in saved.show_query(shop.at(), ODD).alerts] == ["late > 0.1"]


def test_a_rule_that_is_removed_while_its_query_is_asked_opens_nothing(shop):
    shop.load(0.2)
    rule(shop)
    with shop.open() as workspace:
        from headrace.queries.alert_rules import Outcome
        from headrace.queries.alert_store import QueryAlertRules

        (read,) = QueryAlertRules(workspace.state).list()
        rules.remove_query_alert(shop.at(), "share", "late>0.10")
        assert workspace.alerts.judge(read, Outcome(holds=True, value=1.0, reason="late is 1"), now()) == []
    assert seen(shop) == []
    with pytest.raises(NotFoundError, match=r"no rule on 'share' 'late > 0.1'"):
        rules.remove_query_alert(shop.at(), "share", "late > 0.1")
    with pytest.raises(NotFoundError, match="no saved query 'shore': did you mean 'share'"):
        rules.declare_query_alert(shop.at(), "shore", "late > 0.1")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"every": "59s"}, "is too often"),
        ({"every": "1y"}, "is not a duration"),
        ({"every": "9999999d"}, "is too rare"),
        ({"severity": "bad"}, "'bad' is no severity"),
        ({"owner": "a\x1b[31m"}, "cannot be an owner"),
        ({"owner": "a" * 201}, "cannot be an owner"),
    ],
)
def test_what_a_rule_cannot_be_is_told(shop, more, told):
    with pytest.raises(ConfigError, match=told):
        rule(shop, **more)


def test_rules_are_due_by_their_own_step_and_the_scheduler_runs_those(shop):
    rule(shop, every="1h")
    rule(shop, "rows = 0", every="1d")
    with shop.open() as workspace:
        (job,) = schedule.due(workspace, since=now())
        assert job.arguments == ("monitor", "--queries", "--due")
        assert job.reason == "2 rules on saved queries to be evaluated"
        assert rules.monitor_queries(shop.at(), due=True).rules == 2
        assert schedule.due(workspace, since=now()) == []
        assert rules.monitor_queries(shop.at(), due=True).rules == 0
        with frozen(now() + HOUR + MINUTE):
            assert [each.rule for each in rules.due_rules(workspace)] == ["late > 0.1"]


class TestByHand:
    @pytest.fixture
    def broken(self, shop):
        shop.load(0.2)
        rule(shop)
        evaluate(shop)
        return shop

    def test_what_is_resolved_stays_closed_in_its_window_and_opens_again_in_a_later_one(self, broken):
        with frozen(START + MINUTE):
            done = resolve_alert(broken.at(), 1, reason="the source was late")
        assert (done.status, done.resolution) == ("closed", "the source was late")
        assert evaluate(broken, START + 2 * MINUTE) == []
        assert evaluate(broken, START + HOUR) == ["late > 0.1"]
        assert [each.what for each in show_alert_history(broken.at(), 1)] == ["opened again", "resolved", "opened"]
        (alert,) = list_alerts(broken.at())
        assert (alert.alert, alert.resolved_by, alert.resolution) == (1, None, "")

    def test_what_was_better_after_it_was_resolved_is_another_alert(self, broken):
        with frozen(START + MINUTE):
            resolve_alert(broken.at(), 1, reason="x")
        broken.load(0)
        evaluate(broken, START + HOUR)
        broken.load(1)
        evaluate(broken, START + 2 * HOUR)
        assert seen(broken) == [("late > 0.1", "closed"), ("late > 0.1", "open")]

    def test_of_two_who_resolve_at_once_one_is_told(self, broken):
        def once(reason):
            try:
                return resolve_alert(broken.at(), 1, reason=reason).resolution
            except ConflictError as error:
                return error

        with ThreadPoolExecutor(2) as pool:
            outcomes = list(pool.map(once, ["a", "b"]))
        (won,) = [each for each in outcomes if isinstance(each, str)]
        (lost,) = [each for each in outcomes if not isinstance(each, str)]
        assert f": {won}" in lost.what
        assert "was closed at" in lost.what
        assert [action for action, *_ in broken.audit()].count("alert.resolved") == 1

    def test_muted_nobody_is_notified_until_then_and_it_is_listed_as_muted(self, broken, tmp_path, monkeypatch):
        from headrace.environments.config import Environment
        from headrace.operations.sync import tell

        sent = []
        monkeypatch.setattr(Environment, "channels", lambda *_: {"desk": lambda event: sent.append(event.name)})
        with frozen(START + MINUTE):
            done = mute_alert(broken.at(), 1, until=START + 3 * HOUR, reason="known")
            assert (done.status, done.muted, done.mute_reason) == ("open", True, "known")
            assert [each.muted for each in list_alerts(broken.at())] == [True]
            assert [each for each in show_status(broken.at()).needs_a_person if "share" in each.what] == []
        for value, hours in ((0, 1), (1, 2)):  # another alert of the rule, while it is muted
            broken.load(value)
            evaluate(broken, START + hours * HOUR)
        assert seen(broken) == [("late > 0.1", "closed"), ("late > 0.1", "open")]
        with frozen(START + 2 * HOUR + MINUTE):
            assert [each.mute_reason for each in list_alerts(broken.at()) if each.muted] == ["known"]
        broken.load(0)
        evaluate(broken, START + 4 * HOUR)
        with broken.open() as workspace:
            tell(workspace)
            assert [each.name for each in workspace.outbox.events()].count("alert.opened") == 2
        assert sent == ["alert.opened", "alert.muted", "alert.closed"]

    @pytest.mark.parametrize(
        ("until", "reason", "told"),
        [
            (START - HOUR, "x", "that has passed"),
            (START + HOUR, " \n", "muted for a reason"),
            (START.replace(tzinfo=None, year=2029), "x", "passed"),
        ],
    )
    def test_neither_in_the_past_nor_without_a_reason(self, broken, until, reason, told):
        with frozen(START), pytest.raises(ConfigError, match=told):
            mute_alert(broken.at(), 1, until=until, reason=reason)
        assert not list_alerts(broken.at())[0].muted

    def test_what_is_closed_or_not_there_is_neither_muted_nor_resolved(self, broken):
        with pytest.raises(ConfigError, match="resolved for a reason"):
            resolve_alert(broken.at(), 1, reason="")
        resolve_alert(broken.at(), 1, reason="done")
        with pytest.raises(ConflictError, match=r"was closed at .* by .*: done"):
            mute_alert(broken.at(), 1, until=START + HOUR, reason="x")
        with pytest.raises(RefusedError, match="alert 1 was closed"):
            alerts.acknowledge_alert(broken.at(), 1)
        with pytest.raises(NotFoundError, match="no alert '9'"):
            resolve_alert(broken.at(), 9, reason="x")


def test_who_may(shop):
    tokens = shop.enrol(eng="ml_engineer", ana="governance")
    with vault.bearing(tokens["ana"]):
        with pytest.raises(RefusedError, match="ana may not `headrace query alert`"):
            rule(shop, "late < 1")
        assert saved.save_query(shop.at(), "share", LATEST, replaces=1).version == 2  # while no rule is on it
    with vault.bearing(tokens["eng"]):
        rule(shop, "late < 1")
        rules.monitor_queries(shop.at())
    with vault.bearing(tokens["ana"]):
        with pytest.raises(RefusedError):
            resolve_alert(shop.at(), 1, reason="x")
        with pytest.raises(RefusedError):
            mute_alert(shop.at(), 1, until=now() + HOUR, reason="x")
        with pytest.raises(RefusedError):
            rules.remove_query_alert(shop.at(), "share", "late < 1")
        with pytest.raises(RefusedError, match="ana may not delete the query 'share', on which alerts stand"):
            saved.delete_query(shop.at(), "share")
        with pytest.raises(RefusedError, match="ana may not replace the query 'share', on which alerts stand"):
            saved.save_query(shop.at(), "share", "select 9 as late", replaces=2)
        assert list_alerts(shop.at())[0].status == "open"
    with vault.bearing(tokens["eng"]):
        assert saved.save_query(shop.at(), "share", LATEST, replaces=2).version == 3
        assert resolve_alert(shop.at(), 1, reason="x").resolved_by == "eng"
    actions = [(action, details.get("rule")) for action, _, details in shop.audit()]
    assert ("query.alert_declared", "late < 1") in actions
    assert ("alert.resolved", "late < 1") in actions
