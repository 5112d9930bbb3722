import unicodedata
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import DataError
from headrace.llm.prompts.values import clean, clean_text

TEXTS = st.text(
    st.characters()
    | st.sampled_from(
        "\ufe0f\ufe00\U000e0100\u2060\ufeff😀葛\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\r\n\x00\x1b"
    )
)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("plain", "plain"),
        ("a\tb\nc", "a\tb\nc"),
        ("a\r\nb\rc\u2028d\u2029e\x85f", "a\nb\nc\nd\ne\nf"),
        ("ig\x00nore \x1b[31mred\x7f\x9b", "ig\ufffdnore \ufffd[31mred\ufffd\ufffd"),
        ("\u202edrowssap\u202c", "\ufffddrowssap\u202c"),
        ("שלום עולם \u200fمرحبا", "שלום עולם \u200fمرحبا"),  # noqa: RUF001
        ("a\u2067b\nc", "a\u2067b\u2069\nc"),
        ("a\u2067b\u2069c", "a\u2067b\u2069c"),
        ("\u202a\u2066x", "\u202a\u2066x\u2069\u202c"),
        ("hi\U000e0041\U000e007f", "hi\ufffd\ufffd"),
        ("\ud800", "\ufffd"),
        ("👩\u200d🔬 naïve ﬁ", "👩\u200d🔬 naïve ﬁ"),
        ("ig\u200bnore\u2060 \u2063x", "ig\ufffdnore\ufffd \ufffdx"),
        ("\ufeffa\ufeff", "\ufeffa\ufffd"),
        ("❤\ufe0f 1\ufe0f\u20e3 ☀\ufe0e 👁\ufe0f\u200d🗨\ufe0f", "❤\ufe0f 1\ufe0f\u20e3 ☀\ufe0e 👁\ufe0f\u200d🗨\ufe0f"),
        ("葛\U000e0100城 㐂\ufe00", "葛\U000e0100城 㐂\ufe00"),
        ("😀\ufe05\U000e0158\U000e0159", "😀\ufffd\ufffd\ufffd"),  # bytes behind an emoji
        ("😀\ufe0f\ufe0f\ufe0e", "😀\ufe0f\ufffd\ufffd"),
        ("a\ufe0fb\ufe00", "a\ufffdb\ufffd"),
        ("", ""),
    ],
)
def test_hidden_characters_are_replaced_and_writing_is_kept(text, cleaned):
    assert clean_text(text) == cleaned


@given(TEXTS)
def test_a_cleaned_text_has_no_control_can_be_encoded_and_stays_as_it_is(text):
    cleaned = clean_text(text)
    cleaned.encode()
    assert not [each for each in cleaned if unicodedata.category(each) in ("Cc", "Cs") and each not in "\n\t"]
    assert clean_text(cleaned) == cleaned


@given(TEXTS)
def test_no_change_of_direction_leaves_its_line(text):
    for line in clean_text(text).split("\n"):
        open_ends = []
        for each in line:
            if closer := {"\u202a": "\u202c", "\u202b": "\u202c"}.get(each) or (
                "\u2069" if each in "\u2066\u2067\u2068" else None
            ):
                open_ends.append(closer)
            elif open_ends and each == open_ends[-1]:
                open_ends.pop()
        assert open_ends == []


@dataclass
class Passage:
    text: str
    score: float


def test_values_become_plain_data():
    value = {
        "p": (Passage("a\x00", 0.5), None),
        "at": datetime(2026, 1, 2, 3, tzinfo=UTC),
        "on": date(2026, 1, 2),
        "k\x00": True,
    }
    assert clean(value, "x") == {
        "p": [{"text": "a\ufffd", "score": 0.5}, None],
        "at": "2026-01-02T03:00:00+00:00",
        "on": "2026-01-02",
        "k\ufffd": True,
    }
    assert clean([Decimal("1.10"), UUID(int=0)], "x") == ["1.10", "00000000-0000-0000-0000-000000000000"]


def _deep(levels):
    return [_deep(levels - 1)] if levels else []


def _endless():
    value = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"%PDF-1.7\x00", "the input 'q' is 9 bytes, not a text."),
        ([{"text": bytearray(b"x")}], "the input 'q[0].text' is 1 bytes, not a text."),
        (memoryview(b"x"), "is 1 bytes"),
        (float("nan"), "the input 'q' is nan."),
        (10**400, "the input 'q' is a number with more than 18 digits."),
        (object(), "the input 'q' is of the type 'object'"),
        ({1: "x"}, "has the key 1, which is not a text"),
        ({"x"}, "is of the type 'set'"),
        (Passage, "is of the type 'type'"),
        (_deep(25), "has more than 20 levels"),
        (_endless(), "has more than 20 levels"),
    ],
)
def test_what_is_no_plain_data_is_refused(value, message):
    with pytest.raises(DataError) as raised:
        clean(value, "q")
    assert message in str(raised.value)


@given(st.binary(min_size=2), st.sampled_from(["😀", "a", "葛", "☀", "ж", ""]))
def test_no_bytes_pass_as_variation_selectors(hidden, base):
    """As they are hidden behind one character: each byte is one of the 256 selectors."""
    selectors = [chr(0xFE00 + byte) if byte < 16 else chr(0xE0100 + byte - 16) for byte in hidden]
    cleaned = clean_text(base + "".join(selectors))
    assert sum(each in selectors for each in cleaned) <= 1
