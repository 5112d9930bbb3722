"""API keys as operations: what is returned, who may not, what is recorded first."""

import pytest
from tests.operations.bare_project import BareProject

from headrace.core import vault
from headrace.core.errors import ConflictError, NotFoundError, RefusedError
from headrace.operations import api_keys


@pytest.fixture
def shop(tmp_path):
    return BareProject(tmp_path / "shop")


def test_a_key_is_returned_once_and_listed_without_its_text(shop):
    created = api_keys.create_api_key(shop.at(), "check-out", scopes=("predict", "metrics"), days=30)
    assert created.to_json() == {"name": "check-out", "scopes": ["predict", "metrics"], "key": created.key}
    assert created.key.startswith("hr_")
    assert created.key not in repr(created)
    (listed,) = api_keys.list_api_keys(shop.at())
    assert (listed.name, listed.scopes) == ("check-out", ("predict", "metrics"))
    assert listed.expires is not None
    assert listed.expires > listed.created
    assert created.key not in str(listed.to_json())
    assert api_keys.list_api_keys(shop.at("prod")) == []


def test_what_is_made_and_revoked_is_recorded_first_without_its_text(shop):
    created = api_keys.create_api_key(shop.at(), "check-out", days=30)
    with pytest.raises(ConflictError, match="there is an API key 'check-out' already"):
        api_keys.create_api_key(shop.at(), "check-out")
    api_keys.revoke_api_key(shop.at(), "check-out")
    with pytest.raises(NotFoundError, match="no API key 'check-out'"):
        api_keys.revoke_api_key(shop.at(), "check-out")
    assert api_keys.list_api_keys(shop.at()) == []

    recorded = shop.audit()
    assert [(action, name) for action, name, _ in recorded] == [
        ("api_key.created", "check-out"),
        ("api_key.created", "check-out"),
        ("command.failed", "check-out"),
        ("api_key.revoked", "check-out"),
        ("api_key.revoked", "check-out"),
        ("command.failed", "check-out"),
    ]
    assert recorded[0][2]["days"] == 30
    assert created.key not in str(recorded)


def test_who_may_not_makes_and_revokes_none(shop):
    api_keys.create_api_key(shop.at(), "check-out")
    tokens = shop.enrol(sue="data_scientist")
    with vault.bearing(tokens["sue"]):
        with pytest.raises(RefusedError, match="sue may not `headrace api-key create`"):
            api_keys.create_api_key(shop.at(), "mine")
        with pytest.raises(RefusedError, match="sue may not `headrace api-key revoke`"):
            api_keys.revoke_api_key(shop.at(), "check-out")
        assert [each.name for each in api_keys.list_api_keys(shop.at())] == ["check-out"]
    refused = [name for action, name, _ in shop.audit() if action == "access.refused"]
    assert refused == ["mine", "check-out"]
