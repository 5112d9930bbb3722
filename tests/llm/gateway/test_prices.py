"""Prices are exact."""

import sys
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import DeclarationError
from headrace.llm.gateway.prices import Price, list_price, nano, shown

PRICES = st.decimals(0, 1000, places=6)
TOKENS = st.integers(0, 10**9)


def test_a_price_is_dollars_per_million_tokens():
    price = Price(0.15, "0.60")
    assert price.cost_nano(1, 0) == 150
    assert price.cost_nano(1_000_000, 1_000_000) == nano("0.75")
    assert price == Price(Decimal("0.15"), 0.6)


def test_less_than_a_nano_dollar_is_rounded_up():
    assert Price("0.0001", 0).cost_nano(1, 0) == 1
    assert Price("0.0001", 0).cost_nano(10, 0) == 1
    assert Price("0.0001", "0.0001").cost_nano(10, 1) == 2
    assert Price(0, 0).cost_nano(10**9, 10**9) == 0


@given(sent=PRICES, answered=PRICES, input_tokens=TOKENS, output_tokens=TOKENS)
def test_a_cost_is_the_exact_one_rounded_up(sent, answered, input_tokens, output_tokens):
    exact = (Fraction(sent) * input_tokens + Fraction(answered) * output_tokens) * 1000
    assert 0 <= Price(sent, answered).cost_nano(input_tokens, output_tokens) - exact < 1


@pytest.mark.parametrize("value", [-1, "a lot", float("nan"), float("inf"), True, None, "1e-40", 10**7])
def test_what_is_no_price_is_an_error(value):
    with pytest.raises(DeclarationError, match=r"Price\(input="):
        Price(value, 1)


@pytest.mark.parametrize("tokens", [-1, 1.0, None])
def test_tokens_are_whole_numbers(tokens):
    with pytest.raises(DeclarationError):
        Price(1, 1).cost_nano(tokens, 0)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (12_500_000_000, "$12.50"),
        (-345_000, "-$0.000345"),
        (nano(1234), "$1,234.00"),
    ],
)
def test_amounts_are_shown_as_dollars(amount, text):
    assert shown(amount) == text


def test_a_list_price_is_none_where_the_package_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    with pytest.raises(ModuleNotFoundError):
        __import__("genai_prices")
    assert list_price("gpt-4o") is None


def test_list_prices_are_those_of_the_package():
    price = list_price("gpt-4o", provider="openai")
    assert price is not None
    assert price.output > price.input > 0
    assert list_price("a model that there is not") is None
