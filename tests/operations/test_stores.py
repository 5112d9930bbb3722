"""The stores that an environment knows as its own, as an operation."""

import pytest
from tests.operations.bare_project import BareProject

from headrace.core import vault
from headrace.core.errors import ConfigError, RefusedError
from headrace.operations.stores import environment_stores


@pytest.fixture
def shop(tmp_path):
    return BareProject(tmp_path / "shop")


def test_a_store_is_known_from_its_first_use_on(shop):
    before = environment_stores(shop.at())
    assert [(each.kind, each.id, each.since) for each in before] == [
        ("lakehouse", None, None),
        ("tracking", None, None),
        ("online", None, None),
    ]
    with shop.open() as workspace:
        _ = workspace.lakehouse
    lakehouse, tracking, _ = environment_stores(shop.at())
    assert lakehouse.id
    assert lakehouse.since
    assert tracking.id is None
    assert set(lakehouse.to_json()) == {"kind", "where", "id", "since"}


def test_no_password_is_shown(shop, monkeypatch):
    monkeypatch.setenv("HEADRACE_ENV__dev__online", "redis://:s3cr3t@localhost:6379/0")
    assert environment_stores(shop.at())[2].where == "the secret HEADRACE_ENV__dev__online"


def test_an_admin_takes_over_another_store_with_a_reason(shop, tmp_path, monkeypatch):
    with shop.open() as workspace:
        _ = workspace.lakehouse
    known = environment_stores(shop.at())[0].id
    monkeypatch.setenv("HEADRACE_ENV__dev__lakehouse", str(tmp_path / "other"))
    with pytest.raises(ConfigError, match="--reason is why"):
        environment_stores(shop.at(), reason="it moved")
    with pytest.raises(ConfigError, match="there is no reason"):
        environment_stores(shop.at(), take_over="lakehouse")
    taken = environment_stores(shop.at(), take_over="lakehouse", reason="it moved")[0]
    assert taken.id not in (None, known)
    assert taken.where == str(tmp_path / "other")
    action, kind, details = shop.audit()[-1]
    assert (action, kind, details["reason"]) == ("store.taken_over", "lakehouse", "it moved")
    with shop.open() as workspace:
        assert workspace.lakehouse.names() == []


def test_only_an_admin_takes_over(shop):
    tokens = shop.enrol(eng="ml_engineer")
    with vault.bearing(tokens["eng"]):
        assert len(environment_stores(shop.at())) == 3
        with pytest.raises(RefusedError, match="eng may not `headrace env stores --take-over`"):
            environment_stores(shop.at(), take_over="online", reason="mine")
    assert shop.audit()[-1][0] == "access.refused"
