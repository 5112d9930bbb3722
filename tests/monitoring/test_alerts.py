"""Alerts follow from the windows alone: told once, whoever looks how often, and whatever kills them."""

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import headrace as hr
from headrace.core.clock import frozen, now
from headrace.core.errors import NotFoundError, RefusedError
from headrace.core.events import Outbox
from headrace.core.state import State
from headrace.monitoring.alert_windows import Measured
from headrace.monitoring.alerts import Alerts

START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
RULE = hr.alert("roc_auc", below=0.73, for_="2 of 3", cool_down="3d")
GOOD, BAD = 0.8, 0.7


@pytest.fixture
def state(tmp_path):
    opened = State(f"sqlite:///{tmp_path}/state.db")
    yield opened
    opened.close()


@pytest.fixture
def alerts(state):
    return Alerts(state)


def days(text, *, reach=0.01):
    """One window a day: `.` unbroken, `x` broken, `?` not judged, `-` without a value."""
    values = {".": GOOD, "x": BAD, "?": BAD, "-": None}
    return [
        Measured(
            start=START + place * DAY,
            end=START + (place + 1) * DAY,
            value=values[each],
            low=None if each == "-" else values[each] - reach,
            high=None if each == "-" else values[each] + reach,
            judged=each != "?",
        )
        for place, each in enumerate(text)
    ]


def told(alerts):
    return [(event.name, event.payload["alert"]) for event in Outbox(alerts.state).events()]


def seen(alerts):
    """Opening day, last day and status of each alert, the first one first."""
    return [
        ((each.window - START).days, each.better_since and (each.better_since - START).days, each.status)
        for each in reversed(alerts.list())
    ]


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        ("....", []),
        ("x...", []),
        ("x.x", [(2, None, "open")]),
        ("xx", [(1, None, "open")]),
        ("x..x", []),
        ("xx..", [(1, None, "open")]),
        ("xx...", [(1, 4, "closed")]),
        ("xx..x..", [(1, None, "open")]),
        ("xx..x...", [(1, 7, "closed")]),
        ("x?x", [(2, None, "open")]),
        ("x-x", [(2, None, "open")]),
        ("???", []),
        ("xx.??", [(1, None, "open")]),
        ("xx...xxx", [(1, 4, "closed")]),  # silent until day 8 begins
        ("xx...xxxx", [(1, 4, "closed"), (8, None, "open")]),
        ("xx....xx.", [(1, 4, "closed")]),  # an alert opens with a broken window only
    ],
)
def test_two_of_three(alerts, windows, expected):
    alerts.evaluate("late", 1, RULE, days(windows))

    assert seen(alerts) == expected


WINDOWS = st.text(alphabet=".x?-", max_size=24)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(WINDOWS, st.lists(st.integers(0, 24), max_size=6), st.sampled_from(["1 of 1", "2 of 3", "2 of 2", "3 of 5"]))
def test_one_by_one_in_batches_or_twice_the_alerts_are_the_same(tmp_path_factory, windows, batches, often):
    rule = hr.alert("roc_auc", below=0.73, for_=often, cool_down="2d")
    outcomes = []
    for stops in ([len(windows)], range(len(windows) + 1), sorted(batches) + [len(windows)] * 2):
        state = State(f"sqlite:///{tmp_path_factory.mktemp('state')}/state.db")
        alerts = Alerts(state)
        for stop in stops:
            alerts.evaluate("late", 1, rule, days(windows)[:stop])
        outcomes.append((seen(alerts), told(alerts), [each.evidence for each in alerts.list()]))
        state.close()
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert sum(status == "open" for *_, status in outcomes[0][0]) <= 1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(WINDOWS, min_size=1, max_size=5))
@example(["???xx", "?????xx?"])  # closed with a window that is not judged any more
@example(["???xx", "xx"])  # another one is told in its stead
def test_however_late_labels_change_the_past_an_alert_holds_exactly_when_the_windows_say_so(tmp_path_factory, pasts):
    state = State(f"sqlite:///{tmp_path_factory.mktemp('state')}/state.db")
    alerts = Alerts(state)
    longest = max(len(past) for past in pasts)
    for past in pasts:
        windows = days(past.ljust(longest, "."))
        holding = alerts.evaluate("late", 1, RULE, windows)
        fresh = State(f"sqlite:///{tmp_path_factory.mktemp('state')}/state.db")
        assert len(holding) == len(Alerts(fresh).evaluate("late", 1, RULE, windows))
        fresh.close()
    for alert in alerts.list():  # of each alert it is told in turn that it opened and that it closed
        names = [name for name, number in told(alerts) if number == alert.id]
        assert names == (["alert.opened", "alert.closed"] * len(names))[: len(names)]
        assert alert.active == (names[-1] == "alert.opened")
    state.close()


def test_an_alert_whose_beginning_late_labels_moved_stays_the_same_alert(alerts):
    alerts.evaluate("late", 1, RULE, days("..xx"))
    alerts.evaluate("late", 1, RULE, days(".xxx"))

    assert seen(alerts) == [(3, None, "open")]
    assert told(alerts) == [("alert.opened", 1)]


def test_looking_at_an_earlier_moment_changes_nothing(alerts):
    alerts.evaluate("late", 1, RULE, days("xx...."))
    alerts.evaluate("late", 2, RULE, days("....xx"))
    before = alerts.list()
    for stop in range(6):
        alerts.evaluate("late", 1, RULE, days("xx....")[:stop])
        alerts.evaluate("late", 2, RULE, days("....xx")[:stop])

    assert alerts.list() == before


def test_evidence_says_what_was_seen_and_what_chance_could_not_have_done(alerts):
    (alert,) = alerts.evaluate("late", 1, RULE, [*days("x.", reach=0.05), *days("..x")[2:]], owner="ann")

    assert alert.evidence["reason"] == (
        "roc_auc was below 0.73 in 2 of the last 3 judged windows, in 1 of them with the whole 95 % interval"
    )
    assert [(each["broken"], each["significant"]) for each in alert.evidence["windows"]] == [
        (True, False),
        (False, False),
        (True, True),
    ]
    (event,) = Outbox(alerts.state).events()
    assert (event.name, event.subject, event.payload["owner"]) == ("alert.opened", "late/1", "ann")
    assert event.payload["evidence"] == alert.evidence


def test_a_rule_on_drift_or_coverage_has_no_interval(alerts):
    rule = hr.alert("psi", above=0.2, for_="1 of 1")
    window = Measured(start=START, end=START + DAY, value=0.3, explanation="temp: psi 0.3")
    (alert,) = alerts.evaluate("late", 1, rule, [window])

    assert alert.evidence["reason"] == "psi was above 0.2 in 1 of the last 1 judged windows"
    assert alert.evidence["windows"][0]["explanation"] == "temp: psi 0.3"


def test_models_versions_and_rules_do_not_share_alerts(alerts):
    other = hr.alert("roc_auc", below=0.75)
    for model, version, rule in (("late", 1, RULE), ("late", 2, RULE), ("late", 1, other), ("lost", 1, RULE)):
        (alert,) = alerts.evaluate(model, version, rule, days("xx"))
        assert (alert.model, alert.version, alert.rule) == (model, version, rule.name)

    assert len(alerts.active("late")) == 3
    assert len(alerts.active()) == 4


def test_what_is_not_judged_any_more_is_closed_and_opens_again_when_it_is(alerts):
    alerts.evaluate("late", 1, RULE, days("xx"))
    alerts.evaluate("late", 2, RULE, days("xx"))
    (closed,) = alerts.retire("late", {(2, RULE.name)})
    assert (closed.version, closed.status, alerts.retire("late", {(2, RULE.name)})) == (1, "closed", [])

    (again,) = alerts.evaluate("late", 1, RULE, days("xxx"))

    assert (again.id, again.status) == (closed.id, "open")
    assert told(alerts) == [("alert.opened", 1), ("alert.opened", 2), ("alert.closed", 1), ("alert.opened", 1)]


def test_acknowledged_it_stands_and_closes_by_itself(alerts):
    alerts.evaluate("late", 1, RULE, days("xx"))
    acknowledged = alerts.ack(1, by="ann", reason="looking")
    assert (acknowledged.status, acknowledged.acknowledged_by, acknowledged.reason) == (
        "acknowledged",
        "ann",
        "looking",
    )
    later = replace(acknowledged, looked_at=START + 2 * DAY)
    assert alerts.evaluate("late", 1, RULE, days("xxx")) == [later]

    assert alerts.evaluate("late", 1, RULE, days("xxx...")) == []
    assert (alerts.get(1).status, alerts.get(1).acknowledged_by) == ("closed", "ann")
    assert [name for name, _ in told(alerts)] == ["alert.opened", "alert.acknowledged", "alert.closed"]
    with pytest.raises(RefusedError, match="alert 1 was closed"):
        alerts.ack(1, by="bob", reason="")
    with pytest.raises(NotFoundError, match="no alert '7'"):
        alerts.ack(7, by="bob")


EVALUATING = """
import sys
from datetime import UTC, datetime, timedelta
import headrace as hr
from headrace.core.state import State
from headrace.monitoring.alert_windows import Measured
from headrace.monitoring.alerts import Alerts

start, day = datetime(2024, 1, 1, tzinfo=UTC), timedelta(days=1)
windows = [Measured(start=start + n * day, end=start + n * day + day, value=0.7) for n in range(3)]
state = State(sys.argv[1])
alerts = Alerts(state)
print("ready", flush=True)
sys.stdin.readline()
alerts.evaluate("late", 1, hr.alert("roc_auc", below=0.73), windows)
state.close()
"""


def evaluating(state, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", EVALUATING, str(state.engine.url)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def test_killed_inside_or_two_at_once_there_is_one_alert(state, alerts):
    killed = evaluating(state, HEADRACE_FAILPOINT="alerts.evaluated:roc_auc < 0.73, 2 of 3")
    killed.communicate("go\n")
    assert killed.returncode == -9
    assert alerts.list() == []
    assert told(alerts) == []

    both = [evaluating(state), evaluating(state)]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in both:
        process.communicate()
        assert process.returncode == 0

    assert seen(alerts) == [(1, None, "open")]
    assert told(alerts) == [("alert.opened", 1)]


class TestByHand:
    """What a person does about the alert of a version, beside acknowledging it."""

    @pytest.mark.parametrize(
        ("before", "after", "expected"),
        [
            ("xx", "xx", [(1, None, "closed")]),  # the same windows, however often
            ("xx", "xx.", [(1, None, "closed")]),
            ("xx", "xxx", [(1, None, "open")]),
            ("xx", "xx.x", [(1, None, "open")]),
            ("xx", "xx..x", [(1, None, "closed")]),  # once in three windows is not often enough
            ("xx", "xx...", [(1, None, "closed")]),
            ("xx", "xx......xx", [(1, None, "closed"), (9, None, "open")]),
            ("xx?", "xxx", [(1, None, "closed")]),  # labels of a window that was looked at came late
            ("xx?", ".xx", [(1, None, "closed")]),
        ],
    )
    def test_what_is_resolved_opens_again_with_a_later_window(self, alerts, before, after, expected):
        alerts.evaluate("late", 1, RULE, days(before))
        done = alerts.resolve(1, by="ann", reason="a holiday")
        assert (done.status, done.resolved_by, done.resolution) == ("closed", "ann", "a holiday")
        for _ in range(2):
            alerts.evaluate("late", 1, RULE, days(after))
        assert seen(alerts) == expected
        assert sum(name == "alert.opened" for name, _ in told(alerts)) == 1 + (expected[-1][2] == "open")
        assert "alert.closed" not in [name for name, _ in told(alerts)]

    def test_muted_it_is_judged_as_ever_and_its_events_say_so(self, alerts):
        alerts.evaluate("late", 1, RULE, days("xx"))
        later = now() + DAY
        done = alerts.mute(1, by="ann", until=later, reason="known")
        assert (done.muted, done.muted_until, done.muted_by, done.mute_reason) == (True, later, "ann", "known")
        alerts.evaluate("late", 1, RULE, days("xx...."))
        alerts.evaluate("late", 1, RULE, days("xx.......xx"))
        alerts.evaluate("slow", 1, RULE, days("xx"))
        assert [(each.model, each.muted) for each in alerts.active()] == [("slow", False), ("late", True)]
        said = [(each.name, each.payload["muted"]) for each in Outbox(alerts.state).events()]
        assert said == [
            ("alert.opened", False),
            ("alert.muted", False),
            ("alert.closed", True),
            ("alert.opened", True),
            ("alert.opened", False),
        ]
        with frozen(later + DAY):
            assert not any(each.muted for each in alerts.active())

    def test_what_is_retired_or_of_another_version_is_not_mixed_up(self, alerts):
        alerts.evaluate("late", 1, RULE, days("xx"))
        alerts.evaluate("late", 2, RULE, days("xx"))
        alerts.resolve(1, by="ann", reason="x")
        assert [each.version for each in alerts.active("late")] == [2]
        alerts.retire("late", set())
        alerts.evaluate("late", 2, RULE, days("xx"))
        assert [each.version for each in alerts.active("late")] == [2]
        assert [each.name for each in alerts.history(2)] == ["alert.opened", "alert.closed", "alert.opened"]
