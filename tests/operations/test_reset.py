"""`env reset` as an operation: the person is asked first, what went is returned, and a new record begins with it."""

import pytest
from tests.operations.bare_project import BareProject

from headrace.core import vault
from headrace.core.errors import RefusedError
from headrace.operations.reset import reset

COMMITTED = '[project]\nname = "shop"\nmodule = "shop"\n\n[env.dev]\n[env.prod]\ncode = "commit"\n'


@pytest.fixture
def shop(tmp_path):
    shop = BareProject(tmp_path / "shop")
    with shop.open() as workspace:
        assert workspace.lakehouse.names() == []
    return shop


def decline(plan):
    raise RefusedError(f"not {plan.env}")


def test_who_declines_loses_nothing_and_it_is_recorded(shop):
    with pytest.raises(RefusedError, match="not dev"):
        reset(shop.at(), confirm=decline)
    assert (shop.folder / ".headrace/dev/lakehouse/headrace-state.json").exists()
    assert [(action, name) for action, name, _ in shop.audit()] == [
        ("environment.reset", "dev"),
        ("access.refused", "dev"),
    ]


def test_what_went_is_returned_and_the_new_record_begins_with_it(shop):
    with shop.open() as workspace:
        workspace.access.grant("ana", "governance")
    plans = []
    report = reset(shop.at(), confirm=plans.append)
    (plan,) = plans
    root = shop.folder / ".headrace" / "dev"
    assert plan.to_json() == {"env": "dev", "root": root.as_posix(), "left": []}
    assert report.env == "dev"
    assert f"state: {root / 'state.db'}" in report.removed
    assert report.left == ()
    assert set(report.to_json()) == {"env", "removed", "left"}
    assert [(action, name) for action, name, _ in shop.audit()] == [("environment.reset", "dev")]
    with shop.open() as workspace:
        assert workspace.access.grants() == []


def test_a_store_elsewhere_stays_and_is_named_without_its_password(shop, tmp_path, monkeypatch):
    outside = tmp_path / "artifacts"
    outside.mkdir()
    monkeypatch.setenv("HEADRACE_ENV__dev__artifacts", str(outside))
    report = reset(shop.at())
    assert [(each.what, each.where) for each in report.left] == [("artifacts", str(outside))]
    assert "outside" in report.left[0].reason
    assert outside.is_dir()


def test_who_may_not_is_refused_before_anybody_is_asked(shop):
    tokens = shop.enrol(eng="ml_engineer")
    with vault.bearing(tokens["eng"]), pytest.raises(RefusedError, match="eng may not `headrace env reset`"):
        reset(shop.at(), confirm=decline)
    assert shop.audit()[-1][:2] == ("access.refused", "dev")


def test_what_was_made_to_be_kept_is_not_reset(shop):
    (shop.folder / "headrace.toml").write_text(COMMITTED)
    with pytest.raises(RefusedError, match="in 'prod' only committed code does"):
        reset(shop.at("prod"), confirm=decline)


def test_a_state_database_that_cannot_be_read_is_reset_once_it_is_named_as_lost(shop, caplog):
    with shop.open() as workspace:
        lost = workspace.owner.state
    root = shop.folder / ".headrace" / "dev"
    for name in ("state.db", "state.db-wal", "state.db-shm"):
        (root / name).unlink(missing_ok=True)
    (root / "state.db").write_bytes(b"no database" * 1000)
    with pytest.raises(RefusedError, match=f"--lost-state {lost}"):
        reset(shop.at())
    assert "this is not in the audit record" in caplog.text
    assert f"state: {root / 'state.db'}" in reset(shop.at(), lost_state=lost).removed
    assert shop.audit() == []
