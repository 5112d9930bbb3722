"""Access: who holds which role, what each may do, granting and revoking; and that no token or key is ever shown."""

import re

import pytest
from tests.cli import mini
from tests.console.conftest import Browser

from headrace.access.rights import OPERATIONS, ROLES
from headrace.console.app import create_app
from headrace.core import vault
from headrace.operations import access
from headrace.operations.access import list_grants
from headrace.operations.api_keys import create_api_key, list_api_keys
from headrace.operations.operation import At
from headrace.operations.roles import list_roles

PAGE = "/dev/access"


def grants(tmp_path):
    return {(each.name, each.role) for each in list_grants(At(folder=tmp_path / "mini"))}


def test_it_says_who_i_am_and_who_granted_what(console):
    browser, tokens = console
    with vault.bearing(tokens["ana"]):
        text = browser.get(PAGE).text
    assert "You are <strong>ana</strong> in dev, with the role data_scientist." in text
    assert "<td>gov</td><td>governance</td><td>bootstrap</td>" in text
    assert not any(token in text for token in tokens.values())
    assert "headrace access token NAME --env dev" in text


def test_who_is_alone_is_told_so_and_who_is_simulated_is_labelled(tmp_path):
    at = At(folder=mini.write(tmp_path / "mini"))
    browser = Browser(create_app(at.folder))
    assert "Nobody was granted a role yet" in browser.get(PAGE).text
    first = access.bootstrap(at, simulated=True).token
    with vault.bearing(first):
        access.grant_role(at, "sim", "governance")
        token = access.create_access_token(at, "sim").token
    with vault.bearing(token):
        text = browser.get(PAGE).text
    assert "You are <strong>sim</strong> (simulated)" in text
    assert "<td>sim (simulated)</td>" in text


def test_a_role_is_granted_and_taken_away(console, tmp_path):
    browser, tokens = console
    with vault.bearing(tokens["admin"]):
        form = browser.form(PAGE)
        assert browser.post(f"{PAGE}/grant", form=form, name="boss", role="admin").headers["location"] == PAGE
        boss = access.create_access_token(At(folder=tmp_path / "mini"), "boss").token
    with vault.bearing(boss):
        assert browser.post(f"{PAGE}/revoke", form=form, name="ana", role="data_scientist").status == 303
        assert ("ana", "data_scientist") not in grants(tmp_path)
        assert browser.post(f"{PAGE}/end-tokens", form=form, name="eng").status == 303
        last = browser.post(f"{PAGE}/revoke", form=form, name="zoe", role="admin")
        assert (last.status, "zoe" in last.text) == (404, True)
    with vault.bearing(tokens["eng"]):
        assert browser.get(PAGE).status == 403


@pytest.mark.parametrize("who", ["eng", "gov", "ana"])
@pytest.mark.parametrize("what", ["grant", "revoke", "end-tokens"])
def test_who_may_not_is_told_and_keeps_what_was_written(console, tmp_path, who, what):
    browser, tokens = console
    with vault.bearing(tokens[who]):
        before = grants(tmp_path)
        found = browser.post(f"{PAGE}/{what}", form=browser.form(PAGE), name="gov", role="governance")
        assert (found.status, f"{who} may not" in found.text) == (403, True)
        assert ('value="gov"' in found.text) is True
        assert grants(tmp_path) == before
        assert browser.post(f"{PAGE}/{what}", form="0" * 64, name="gov", role="governance").status == 403


@pytest.mark.parametrize(
    ("name", "role", "told"),
    [
        ("", "admin", "the field name is empty"),
        ("joe", " ", "the field role is empty"),
        ("<script>x", "admin", "&lt;script&gt;x"),
        ("a\x1b[31m", "admin", "is no name"),
        ("\N{PILE OF POO}", "admin", "is no name"),
        ("scheduler", "admin", "scheduler"),
    ],
)
def test_what_is_no_name_or_role_is_told(console, tmp_path, name, role, told):
    browser, tokens = console
    with vault.bearing(tokens["admin"]):
        before = grants(tmp_path)
        found = browser.post(f"{PAGE}/grant", form=browser.form(PAGE), name=name, role=role)
        assert found.status == 422, found.text
        assert told in found.text
        assert "<script>x" not in found.text
        assert grants(tmp_path) == before


def test_a_role_that_nothing_asks_for_stands_out(console):
    browser, tokens = console
    with vault.bearing(tokens["admin"]):
        browser.post(f"{PAGE}/grant", form=browser.form(PAGE), name="joe", role="governence")
        text = browser.get(PAGE).text
    assert text.count("is it misspelt?") == 1
    assert re.search(r"<td>governence <span[^<]+</span></td>\s*<td>joe</td>", text)


@pytest.mark.parametrize("env", ["dev", "live"])
def test_what_a_role_may_is_what_operations_ask_for(console, tmp_path, env):
    browser, tokens = console
    with vault.bearing(tokens["ana"] if env == "dev" else None):
        found = {each.role: each for each in list_roles(At(env=env, folder=tmp_path / "mini"))}
        text = browser.get(f"/{env}/access").text
    assert set(ROLES) <= found.keys()
    for role, report in found.items():
        may = {
            name
            for name, right in OPERATIONS.items()
            if right.does == "changes" and not right.signs and right.held_by(frozenset({role}), lowest=env == "dev")
        }
        assert set(report.may) == may
        assert ", ".join(report.may) in text
        assert ({"query save", "query delete", "dashboard push", "dashboard refresh"} <= may) is (role != "enroller")
    assert ("run train" in found["data_scientist"].may) is (env == "dev")


def test_a_role_of_a_gate_signs_what_asks_for_it(console, tmp_path):
    browser, tokens = console
    with vault.bearing(tokens["ana"]):
        found = {each.role: each for each in list_roles(At(folder=tmp_path / "mini"))}
        text = browser.get(PAGE).text
    governance = found["governance"]
    assert governance.may == ("query save", "query delete", "dashboard push", "dashboard delete", "dashboard refresh")
    assert governance.is_known
    assert governance.signs == ("traffic waive", "request approve", "request reject", "request reopen")
    assert f"<td>{', '.join(governance.may)}; {', '.join(governance.signs)}: of what asks for this role</td>" in text
    assert found["ml_engineer"].signs == ()


def test_an_api_key_is_listed_without_its_text_and_revoked(console, tmp_path):
    browser, tokens = console
    at = At(folder=tmp_path / "mini")
    with vault.bearing(tokens["eng"]):
        key = create_api_key(at, "shop").key
        text = browser.get(PAGE).text
        assert "<td>shop</td><td>predict</td>" in text
        assert key not in text
        with vault.bearing(tokens["ana"]):
            assert browser.post(f"{PAGE}/revoke-key", form=browser.form(PAGE), name="shop").status == 403
        assert [each.name for each in list_api_keys(at)] == ["shop"]
        assert browser.post(f"{PAGE}/revoke-key", form=browser.form(PAGE), name="shop").status == 303
        assert list_api_keys(at) == []
        assert browser.post(f"{PAGE}/revoke-key", form=browser.form(PAGE), name="shop").status == 404
