"""Two at once on PostgreSQL, where a transaction does not see what another one has not committed: one of them waits."""

import shutil
import threading
import time
from contextlib import contextmanager

import pytest
from sqlalchemy import create_engine, select, text
from tests.registry.test_move import logged
from tests.registry.test_registry import WHAT
from tests.registry.test_traffic import PLAN
from tests.support.states import new_state

from headrace.access.identity import Access, Identity
from headrace.access.people import GRANTS
from headrace.core.errors import RefusedError
from headrace.core.folders import folder_digest
from headrace.core.state import WRITING, State
from headrace.environments.policy import Floor
from headrace.registry.registry import Registry
from headrace.tracking.tracking import Tracking
from headrace.workspace import floor

ROLES = frozenset({"governance", "business"})
OLGA = Identity(name="olga", roles=ROLES)
PIET = Identity(name="piet", roles=ROLES, hands=frozenset({"olga"}))


@pytest.fixture
def url(postgres_server, tmp_path):
    return new_state(postgres_server, tmp_path)


@pytest.fixture
def registry(url, tmp_path, empty_store):
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    made = Registry(State(url), Tracking(f"sqlite:///{tmp_path}/mlflow.db", f"{tmp_path}/artifacts"))
    for number in (1, 2):
        folder = logged(tmp_path, number)
        hashes = {"artifact_hash": folder_digest(folder / "data" / "package"), "logged_hash": folder_digest(folder)}
        made.register("days", step_key=f"k{number}", model_uri=str(folder), **{**WHAT, **hashes})
    for each in ("requests", "rollouts", "policies", "traffic"):
        getattr(made, each)  # they make their tables at first use
    yield made
    made.state.close()


@contextmanager
def stopped(state, number):
    """Nobody passes this advisory lock meanwhile; gives what waits until so many transactions do."""
    engine = create_engine(state.engine.url)
    waiting = text("select count(*) from pg_locks where not granted")

    def wait(count):
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with engine.connect() as looking:
                if looking.execute(waiting).scalar_one() >= count:
                    return
            time.sleep(0.01)
        raise AssertionError(f"fewer than {count} wait")

    with engine.connect() as connection:
        connection.execute(text(f"select pg_advisory_xact_lock({number})"))
        yield wait
        connection.rollback()
    engine.dispose()


def at_once(state, *acts, lock=WRITING):
    """Runs each until it waits for a lock, then lets them go; gives what each gave or raised."""
    given = [None] * len(acts)

    def run(place, act):
        try:
            given[place] = act()
        except Exception as error:  # noqa: BLE001
            given[place] = error

    threads = [threading.Thread(target=run, args=each) for each in enumerate(acts)]
    with stopped(state, lock) as wait:
        for count, thread in enumerate(threads, start=1):
            thread.start()
            wait(count)
    for thread in threads:
        thread.join(30)
    return given


def ask(registry, version=1, **more):
    found = registry.get("days", version)
    asked = {"by": "ada", "hands": (), "evidence": {}, "roles": ("governance", "business"), **more}
    return registry.requests.ask(found, "Production", key=f"{version}", **asked)


def test_two_of_the_same_hands_sign_two_roles_at_once(registry):
    request = ask(registry)
    first, second = at_once(
        registry.state,
        lambda: registry.requests.approve(request.id, OLGA),
        lambda: registry.requests.approve(request.id, PIET),
    )
    assert first is None
    assert isinstance(second, RefusedError)
    assert "made the other's token" in second.what
    assert registry.requests.get(request.id).status == "open"


def test_one_person_signs_twice_at_once(registry):
    request = ask(registry)
    given = at_once(registry.state, *[lambda: registry.requests.approve(request.id, OLGA)] * 2)
    assert isinstance(given[1], RefusedError)
    assert "has signed request" in given[1].what


def test_two_who_sign_at_once_decide(registry):
    request = ask(registry)
    ben = Identity(name="ben", roles=ROLES)
    given = at_once(
        registry.state, *[lambda who=who: registry.requests.approve(request.id, who) for who in (OLGA, ben)]
    )
    assert given[0] is None
    assert given[1].by == ("olga", "ben")


def test_the_gates_decide_twice_and_a_rejection_is_reopened_twice_at_once(registry):
    request = ask(registry, roles=())
    decide = [lambda: registry.requests.by_gates(request.id, approved=False, reason="red")] * 2
    one, other = at_once(registry.state, *decide)
    assert one == other
    again = [lambda: registry.requests.reopen(request.id, OLGA, reason="mended")] * 2
    one, other = at_once(registry.state, *again)
    assert one == other


def test_one_request_is_asked_for_twice_at_once(registry):
    one, other = at_once(registry.state, *[lambda: ask(registry)] * 2)
    assert one == other


def test_a_rollout_that_begins_while_other_gates_are_declared_is_ended(registry):
    plan = {"plan": PLAN.to_json()}
    request = ask(registry, roles=(), evidence=plan)
    decision = registry.requests.by_gates(request.id, approved=True, reason="green")
    version = registry.get("days", 1)
    other = {"gates": ["at_least"], "roles": ["legal"], "rollout": None, "code": "c2", "by": "ada"}
    at_once(
        registry.state,
        lambda: registry.rollouts.begin(version, decision, PLAN, by="ada", reason="approved"),
        lambda: registry.policies.declare("days", **other),
    )
    assert registry.requests.get(request.id).status == "replaced"
    assert [each.status for each in registry.rollouts.list("days")] == ["ended"]


def test_nothing_is_required_of_nobody():
    with pytest.raises(RefusedError, match="no role that is missing"):
        OLGA.require(to="sign")


def test_two_come_first_and_write_one_floor(url):
    state = State(url)
    first = Floor(code="release", releases="v*", approvals=(), order=("prod",))
    floor.read(state)
    Access(state)
    keep = [lambda by=by: floor.keep(state, "prod", None, first, by=by) for by in ("ada", "ben")]
    assert sorted(at_once(state, *keep)) == [False, True]
    assert floor.written(state)["by"] == "ada"
    state.close()


def test_one_person_is_granted_one_role_twice_at_once(url):
    state = State(url)
    access = Access(state)
    access.grant("olga", "admin")
    assert at_once(state, *[lambda: access.grant("eve", "governance")] * 2) == [None, None]
    state.close()


def test_the_last_two_admins_do_not_take_each_other_away(url):
    state = State(url)
    access = Access(state)
    access.grant("olga", "admin")
    me = access.me().name
    given = at_once(state, *[lambda name=name: access.revoke(name, "admin") for name in ("olga", me)])
    assert [type(each) for each in given] == [type(None), RefusedError]
    state.close()


def test_what_is_read_together_is_of_one_moment(url):
    state = State(url)
    access = Access(state)
    count = select(GRANTS.c.name)
    with state.read() as connection:
        before = connection.execute(count).all()
        access.grant("olga", "admin")
        assert connection.execute(count).all() == before
    with state.read() as connection:
        assert connection.execute(count).all() != before
    state.close()
