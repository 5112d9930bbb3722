"""Who enrols whom: through whose hands a token came, the bootstrap identity, and who is simulated."""

import getpass
from datetime import timedelta

import pytest

from headrace.access.audit import Audit
from headrace.access.identity import Access
from headrace.core.errors import ConfigError, RefusedError
from headrace.core.state import State

ROOT = getpass.getuser()


@pytest.fixture
def access(state_url):
    state = State(state_url)
    yield Access(state)
    state.close()


@pytest.fixture
def bear(monkeypatch):
    """Shows a token from here on; none: the operating system's user."""

    def show(token):
        if token is None:
            monkeypatch.delenv("HEADRACE_TOKEN", raising=False)
        else:
            monkeypatch.setenv("HEADRACE_TOKEN", token)

    return show


def enrolled(access, name, role):
    access.grant(name, role)
    return access.token(name)


class TestHands:
    def test_a_token_has_those_of_its_maker_and_of_everybody_before(self, access, bear):
        bear(enrolled(access, "ana", "admin"))
        assert access.me().hands == {ROOT}
        bear(enrolled(access, "ben", "admin"))
        assert access.me().hands == {"ana", ROOT}
        bear(enrolled(access, "cyd", "governance"))
        assert access.me().hands == {"ben", "ana", ROOT}

    def test_they_stay_when_the_token_between_was_revoked(self, access, bear):
        bear(enrolled(access, "ana", "admin"))
        bens = enrolled(access, "ben", "governance")
        bear(None)
        access.revoke_tokens("ana")
        bear(bens)
        assert access.me().hands == {"ana", ROOT}

    def test_whoever_makes_their_own_token_again_does_not_lose_them(self, access, bear):
        bear(enrolled(access, "ana", "admin"))
        for _ in range(3):
            bear(access.token("ana"))
        assert access.me().hands == {"ana", ROOT}

    def test_they_are_those_of_the_token_shown_not_of_the_name(self, access, bear):
        bear(access.bootstrap())
        access.grant("ana", "admin")
        first, second = access.token("ana"), access.token("ana")
        bear(first)
        bens = enrolled(access, "ben", "admin")
        bear(bens)
        third = access.token("ana")
        for token, hands in ((second, {"bootstrap"}), (third, {"ben", "ana", "bootstrap"})):
            bear(token)
            assert access.me().hands == hands

    def test_the_systems_user_has_none_and_is_who_the_name_says(self, access, bear):
        assert access.me().hands == frozenset()
        mine = enrolled(access, ROOT, "governance")
        bear(mine)
        assert (access.me().name, access.me().hands) == (ROOT, {ROOT})


class TestBootstrap:
    def test_it_enrols_people_who_are_not_in_the_hands_of_whoever_made_it(self, access, bear):
        bear(access.bootstrap())
        olgas = enrolled(access, "olga", "governance")
        bear(olgas)
        assert access.me().hands == {"bootstrap"}

    def test_whoever_makes_it_keeps_what_they_had(self, access):
        access.bootstrap()
        assert access.me().roles == {"admin", "ml_engineer"}
        assert access.people() == {ROOT}

    def test_it_is_made_once_and_before_anybody_else(self, access, bear):
        token = access.bootstrap()
        with pytest.raises(RefusedError, match="made once"):
            access.bootstrap()
        access.revoke("bootstrap", "enroller")
        access.revoke_tokens("bootstrap")
        with pytest.raises(RefusedError, match="made once"):
            access.bootstrap()
        bear(token)
        with pytest.raises(RefusedError, match="revoked"):
            access.grant("olga", "governance")

    def test_whoever_keeps_its_token_has_it_before_the_identity_is_there(self, access, bear):
        kept = []

        def keep(token):
            kept.append(token)
            raise OSError("the disk is full")

        with pytest.raises(OSError, match="full"):
            access.bootstrap(keep=keep)
        assert access.bootstrap(keep=kept.append) == kept[1]
        bear(kept[0])
        with pytest.raises(RefusedError, match="not known"):
            access.me()
        bear(kept[1])
        assert access.me(enrolling=True).name == "bootstrap"

    def test_not_after_somebody_was_granted_something(self, access):
        access.grant("olga", "governance")
        with pytest.raises(RefusedError, match="made once"):
            access.bootstrap()

    def test_it_does_nothing_else(self, access, bear):
        token = access.bootstrap()
        access.grant("olga", "governance")
        bear(token)
        for attempt in (
            access.me,
            lambda: access.revoke("olga", "governance"),
            lambda: access.revoke_tokens("olga"),
            access.bootstrap,
        ):
            with pytest.raises(RefusedError, match="enrols people and does nothing else"):
                attempt()
        assert access.me(enrolling=True).roles == {"enroller"}

    @pytest.mark.parametrize(
        "name", ["bootstrap", "Bootstrap", "gates", "rollout", "headrace", "HeadRace", "scheduler"]
    )
    def test_nobody_takes_its_name_or_another_one_that_acts(self, access, bear, name):
        bear(access.bootstrap())
        with pytest.raises(ConfigError, match="Headrace acts as"):
            access.grant(name, "admin")
        with pytest.raises(ConfigError, match="Headrace acts as"):
            access.token(name)

    def test_nobody_has_its_role(self, access):
        access.bootstrap()
        with pytest.raises(RefusedError, match="bootstrap alone"):
            access.grant("olga", "enroller")

    def test_it_expires_like_any_other_token(self, access, bear):
        bear(access.bootstrap(life=timedelta(microseconds=1)))
        with pytest.raises(RefusedError, match="expired"):
            access.grant("olga", "governance")

    def test_the_record_shows_who_made_it_and_whom_it_enrolled(self, access, bear):
        bear(access.bootstrap())
        enrolled(access, "olga", "governance")
        said = [(each.who, each.action, each.object) for each in reversed(Audit(access.state).entries())]
        assert said == [
            (ROOT, "role.granted", ROOT),
            (ROOT, "role.granted", ROOT),
            (ROOT, "role.granted", "bootstrap"),
            (ROOT, "access_token.created", "bootstrap"),
            ("bootstrap", "role.granted", "olga"),
            ("bootstrap", "access_token.created", "olga"),
        ]


class TestSimulated:
    def test_whoever_is_enrolled_by_a_simulated_identity_is_and_stays_so(self, access, bear):
        bear(access.bootstrap(simulated=True))
        bear(enrolled(access, "maria", "admin"))
        assert access.me().simulated
        olgas = enrolled(access, "olga", "governance")
        bear(None)
        access.grant("olga", "legal")
        access.grant("piet", "governance")
        bear(olgas)
        assert access.me().simulated
        assert access.simulated() == {"bootstrap", "maria", "olga"}
        entries = [each for each in Audit(access.state).entries() if each.who in ("maria", "bootstrap")]
        assert all(each.details["simulated"] for each in entries)

    def test_it_makes_no_token_and_no_role_for_somebody_who_is_not(self, access, bear):
        token = access.bootstrap(simulated=True)
        access.grant("olga", "governance")
        bear(token)
        for attempt in (lambda: access.token("olga"), lambda: access.grant(ROOT, "governance")):
            with pytest.raises(RefusedError, match=r"bootstrap is simulated and .* is not"):
                attempt()


class TestWhoIsHere:
    def test_alone_then_whoever_holds_a_role(self, access):
        assert access.people() == {ROOT}
        access.grant("olga", "governance")
        assert access.people() == {ROOT, "olga"}

    def test_the_way_to_a_second_person_is_told_while_there_is_none(self, access):
        assert "headrace access bootstrap" in access.advice("governance", asked_by=ROOT)
        access.grant(ROOT, "governance")
        assert "one who asks and one who signs" in access.advice("governance", asked_by=ROOT)
        access.grant("olga", "governance")
        assert access.advice("governance", asked_by=ROOT) == ""

    def test_and_with_the_bootstrap_identity_it_names_that(self, access):
        access.bootstrap()
        said = access.advice("governance", asked_by=ROOT)
        assert "token of bootstrap" in said
        assert "headrace access grant NAME governance" in said
