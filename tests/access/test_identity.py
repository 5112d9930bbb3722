"""Who acts: the local user until somebody is granted something, a token's bearer otherwise."""

import getpass
import os
from datetime import timedelta

import pytest

from headrace.access.audit import Audit
from headrace.access.identity import Access
from headrace.core.errors import ConfigError, NotFoundError, RefusedError
from headrace.core.state import State
from headrace.core.system import user


@pytest.fixture
def access(state_url):
    state = State(state_url)
    yield Access(state)
    state.close()


def bear(monkeypatch, token):
    monkeypatch.setenv("HEADRACE_TOKEN", token)


def test_alone_on_a_machine_one_is_admin_and_stays_it_after_the_first_grant(access):
    assert access.me().holds("admin")
    access.grant("olga", "governance")
    assert access.me().name == getpass.getuser()
    assert access.me().roles == {"admin", "ml_engineer"}


def test_a_token_is_its_bearer_and_nobody_else(access, monkeypatch):
    access.grant("olga", "governance")
    token = access.token("olga")
    bear(monkeypatch, token)
    assert (access.me().name, access.me().roles) == ("olga", {"governance"})
    with pytest.raises(RefusedError, match="olga may not grant roles"):
        access.grant("olga", "admin")
    with pytest.raises(RefusedError, match="olga may not make tokens"):
        access.token("olga")


def test_a_token_that_is_unknown_expired_or_revoked_is_refused(access, monkeypatch):
    access.grant("olga", "governance")
    late, revoked = access.token("olga", life=timedelta(microseconds=1)), access.token("olga")
    access.revoke_tokens("olga")
    for token, said in (("hr_made_up", "not known"), (late, "revoked|expired"), (revoked, "revoked")):
        bear(monkeypatch, token)
        with pytest.raises(RefusedError, match=said):
            access.me()


def test_the_token_itself_is_kept_nowhere(access, tmp_path):
    access.grant("olga", "governance")
    token = access.token("olga")
    access.state.close()
    assert all(token.encode() not in file.read_bytes() for file in tmp_path.iterdir())


def test_the_last_admin_stays(access):
    access.grant("olga", "governance")
    with pytest.raises(RefusedError, match="only admin"):
        access.revoke(getpass.getuser(), "admin")
    access.revoke("olga", "governance")
    with pytest.raises(NotFoundError):
        access.revoke("olga", "governance")


def test_names_and_roles_are_checked(access):
    for name, role in (("", "governance"), ("olga; drop", "governance"), ("olga", "Governance!")):
        with pytest.raises(ConfigError):
            access.grant(name, role)
    assert access.grants() == []
    with pytest.raises(NotFoundError, match="Grant a role first"):
        access.token("nobody")


def test_what_was_granted_is_in_the_audit_record(access):
    access.grant("olga", "governance")
    access.grant("olga", "governance")
    assert [(e.action, e.object) for e in Audit(access.state).entries() if e.object == "olga"] == [
        ("role.granted", "olga")
    ]


def test_who_one_is_says_the_system_and_no_variable(monkeypatch):
    import pwd

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody-else")
    assert user() == pwd.getpwuid(os.getuid()).pw_name
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000 - 7)  # a container's number without a name
    assert user() == "3999999993"
