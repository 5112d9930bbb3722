"""People, roles and tokens as operations: what is returned, who may not, what is recorded."""

import pytest
from tests.operations.bare_project import BareProject

from headrace.core import vault
from headrace.core.errors import ConfigError, NotFoundError, RefusedError
from headrace.core.system import user
from headrace.operations import access


@pytest.fixture
def shop(tmp_path):
    return BareProject(tmp_path / "shop")


def test_whoever_is_alone_is_admin_and_nobody_was_granted_anything(shop):
    caller = access.current_caller(shop.at())
    assert caller.to_json() == {"name": user(), "roles": ["admin", "ml_engineer"], "simulated": False}
    assert access.list_grants(shop.at()) == []
    assert shop.audit() == []


def test_a_person_is_enrolled_and_known_by_a_token(shop):
    granted = access.grant_role(shop.at(), "maria", "ml_engineer")
    assert granted.to_json() == {"name": "maria", "role": "ml_engineer", "env": "dev", "doubt": ""}
    created = access.create_access_token(shop.at(), "maria")
    assert (created.name, created.by, created.bars_approval) == ("maria", user(), True)
    assert created.token not in repr(created)
    with vault.bearing(created.token):
        assert access.current_caller(shop.at()).to_json() == {
            "name": "maria",
            "roles": ["ml_engineer"],
            "simulated": False,
        }
    assert {(each.name, each.role, each.by) for each in access.list_grants(shop.at())} == {
        ("maria", "ml_engineer", user()),
        (user(), "admin", user()),
        (user(), "ml_engineer", user()),
    }
    recorded = [(action, name) for action, name, _ in shop.audit() if name == "maria"]
    assert recorded == [("role.granted", "maria"), ("access_token.created", "maria")]
    assert created.token not in str(shop.audit())


def test_who_is_enrolled_by_the_bootstrap_identity_can_approve(shop):
    first = access.bootstrap(shop.at(), simulated=True)
    assert (first.name, first.by, first.bars_approval) == ("bootstrap", user(), False)
    with vault.bearing(first.token):
        access.grant_role(shop.at(), "ana", "governance")
        assert not access.create_access_token(shop.at(), "ana").bars_approval
    labels = {each.name: each.label for each in access.list_grants(shop.at())}
    assert labels["ana"] == "ana (simulated)"
    assert labels[user()] == user()
    with pytest.raises(RefusedError, match="made once"):
        access.bootstrap(shop.at())


@pytest.mark.parametrize(
    ("role", "doubt"), [("ml_enginer", "did you mean 'ml_engineer'?"), ("qqq", "there is 'admin'")]
)
def test_a_role_that_nobody_asks_for_is_doubted(shop, role, doubt):
    granted = access.grant_role(shop.at(), "maria", role)
    assert doubt in granted.doubt
    assert f"headrace access revoke maria {role} --env dev" in granted.doubt


def test_a_program_that_cannot_be_loaded_raises_no_doubt(shop):
    (shop.folder / "shop.py").write_text("1 / 0")
    assert access.grant_role(shop.at(), "maria", "governance").doubt == ""


def test_roles_and_tokens_are_revoked(shop):
    access.grant_role(shop.at(), "maria", "governance")
    for _ in range(2):
        access.create_access_token(shop.at(), "maria")
    revoked = access.revoke_access(shop.at(), "maria", "governance", tokens=True)
    assert revoked.to_json() == {"name": "maria", "role": "governance", "tokens": 2}
    assert [action for action, _, _ in shop.audit()][-2:] == ["role.revoked", "access_token.revoked"]
    with pytest.raises(NotFoundError, match="governance"):
        access.revoke_access(shop.at(), "maria", "governance")
    with pytest.raises(ConfigError, match="nothing of maria"):
        access.revoke_access(shop.at(), "maria")


def test_who_may_not_is_refused_and_recorded(shop):
    tokens = shop.enrol(eng="ml_engineer")
    with vault.bearing(tokens["eng"]):
        for act in (
            lambda: access.grant_role(shop.at(), "eng", "admin"),
            lambda: access.revoke_access(shop.at(), user(), "admin"),
            lambda: access.create_access_token(shop.at(), "eng"),
        ):
            with pytest.raises(RefusedError, match="eng may not"):
                act()
        assert len(access.list_grants(shop.at())) == 4  # whoever is known may read
    refused = [(name, details["operation"]) for action, name, details in shop.audit() if action == "access.refused"]
    assert refused == [("eng", "access grant"), (user(), "access revoke"), ("eng", "access token")]
    with vault.bearing("hr_made_up"), pytest.raises(RefusedError, match="not known here"):
        access.current_caller(shop.at())
