"""What somebody may be called: one script, as Unicode composes it, and unlike everybody who is known."""
# ruff: noqa: RUF001

import ast
import os
import pwd
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import headrace
from headrace.access import api_keys, names
from headrace.access.confusables import CLASSES, PROTOTYPES
from headrace.access.identity import Access
from headrace.access.refusals import UNKNOWN
from headrace.core.errors import ConfigError, RefusedError
from headrace.core.state import State
from headrace.deployment.rollouts import ROLLOUT
from headrace.registry import registry, requests  # noqa: F401  # in this order: they know each other

CYRILLIC_OLGA = "оlga"  # its first letter


@pytest.fixture
def access(state_url):
    state = State(state_url)
    yield Access(state)
    state.close()


@pytest.mark.parametrize(
    "name", ["olga", "Olga.Smith@example.org", "zoë", "o_l-g+a", "1000", "Ольга", "Όλγα", "オルガ子", "Łukasz", "Ægir"]
)
def test_a_name_is_one_in_any_of_the_scripts(name):
    assert names.check(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "ol ga",
        "olga\u200b",  # zero width space
        "ol\u200dga",  # zero width joiner
        "\u202eaglo",  # right to left
        "olga\n",
        "olga\x1b[2K",
        "olga\u0301",  # a combining accent
        "zoe\u0308",  # composed it is another text
        "ｏｌｇａ",  # full width
        "𝐨𝐥𝐠𝐚",  # mathematical
        "ﬁona",  # a ligature
        "olga²",
        "olga١",  # a digit of another script
        CYRILLIC_OLGA,
        "olgа",
        "Οlga",  # a Greek capital
        "օlga",  # Armenian
        "ᎾLGA",  # Cherokee, whose look-alikes are not known here
        "ʼolga",  # a letter that is an apostrophe
        "-olga",
        ".",
        "@",
        "x" * 201,
        "\ud800",
    ],
    ids=ascii,
)
def test_what_hides_or_mixes_letters_is_none(name):
    with pytest.raises(ConfigError, match="is no name"):
        names.check(name)


@pytest.mark.parametrize(
    ("known", "name"),
    [
        ("olga", "Olga"),
        ("olga", "0lga"),
        ("paul", "pau1"),
        ("paul", "pauI"),
        ("maria", "rnaria"),
        ("ace", "асе"),  # all Cyrillic
        ("ACE", "АСЕ"),
        ("ace", "АСЕ"),
        ("oxo", "охо"),
        ("kate", "Кате"),
        ("vo", "νο"),  # all Greek
        ("anna", "ɑnnɑ"),  # Latin alpha
        ("straße", "strasse"),
    ],
)
def test_who_looks_like_somebody_else_is_refused_with_both_spelt_out(access, known, name):
    access.grant(known, "governance")
    with pytest.raises(ConfigError) as refused:
        access.grant(name, "governance")
    assert names.spelt(known) in str(refused.value)
    assert names.spelt(name) in str(refused.value)
    assert {each.name for each in access.grants()} - {access.me().name} == {known}


def test_people_who_only_resemble_each_other_are_both_there(access):
    for name in ("olga", "ian", "lan", "eva", "ева", "zoe", "zoë"):
        access.grant(name, "governance")


def test_somebody_is_not_forgotten_when_their_roles_are_gone(access):
    access.grant("olga", "governance")
    access.revoke("olga", "governance")
    with pytest.raises(ConfigError, match="looks like 'olga'"):
        access.grant("Olga", "governance")


def test_who_has_acted_is_known_too(access):
    me = access.me().name
    with pytest.raises(ConfigError, match=f"looks like '{me}'"):
        access.grant(me.upper(), "governance")


@given(st.text(alphabet=st.characters(categories=["L", "N", "M", "P", "C", "S", "Z"]), max_size=6))
def test_any_text_is_a_name_or_is_refused_and_a_name_is_written_in_one_way(text):
    said = ""
    try:
        names.check(text)
    except ConfigError as error:
        said = str(error)
    assert all(each.isprintable() or each == "\n" for each in said)
    assert said or unicodedata.normalize("NFKC", text) == text


def test_the_table_has_each_letter_once_and_its_prototypes_are_their_own():
    letters = [each for pair in CLASSES.split() for each in pair.partition(":")[2]]
    prototypes = [each for pair in CLASSES.split() for each in pair.partition(":")[0]]
    assert len(letters) == len(set(letters)) == len(PROTOTYPES)
    assert not set(letters) & {each for each in prototypes if each != "m"}


class TestTheSystemsUser:
    @pytest.mark.parametrize(
        ("name", "says"), [("оlga", "more than one script"), ("headrace", "acts as"), ("a b", "no name")]
    )
    def test_who_is_called_as_nobody_can_be_is_told_so(self, access, monkeypatch, name, says):
        record = pwd.struct_passwd((name, "x", 1, 1, "", "/", "/bin/sh"))
        monkeypatch.setattr(pwd, "getpwuid", lambda _: record)
        with pytest.raises(RefusedError, match=says) as refused:
            access.me()
        assert "HEADRACE_TOKEN" in refused.value.hint

    def test_who_looks_like_somebody_known_does_not_act(self, access, monkeypatch):
        access.grant("olga", "governance")
        record = pwd.struct_passwd(("OLGA", "x", 1, 1, "", "/", "/bin/sh"))
        monkeypatch.setattr(pwd, "getpwuid", lambda _: record)
        with pytest.raises(RefusedError, match="looks like 'olga'"):
            access.me()

    def test_a_number_without_a_name_is_one(self, access, monkeypatch):
        monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000 - 7)
        assert access.me().name == "3999999993"


class TestTokensOfPrograms:
    def test_they_are_called_by_the_same_rules(self, tmp_path):
        file = tmp_path / "api-keys.json"
        api_keys.create(file, "check-out", scopes=("predict",), lasts=None)
        for name in ("Check-Out", "сheck-out", "check\u200b-out", "gates"):
            with pytest.raises(ConfigError):
                api_keys.create(file, name, scopes=("predict",), lasts=None)
        assert [each.name for each in api_keys.read(file)] == ["check-out"]


def test_every_name_that_the_code_acts_under_is_reserved():
    assert {requests.GATES, ROLLOUT, UNKNOWN, names.BOOTSTRAP} <= set(names.RESERVED)
    acting = set()
    for file in Path(headrace.__file__).parent.rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call):
                continue
            said = [word.value for word in call.keywords if word.arg == "by"]
            if getattr(call.func, "id", getattr(call.func, "attr", "")) == "record":
                said += call.args[1:2]
            acting |= {each.value for each in said if isinstance(each, ast.Constant) and isinstance(each.value, str)}
    assert acting - {""} <= set(names.RESERVED)
