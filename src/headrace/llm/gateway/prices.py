"""Prices of tokens, and what a call costs by them. Money is a whole number of nano-dollars: 1 dollar is 1,000,000,000.

Prices are dollars per million tokens, as vendors list them; at 0.15 a token costs 150 nano-dollars.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import cast

from headrace.core.declaration import check_whole
from headrace.core.errors import DeclarationError
from headrace.core.money import NANO_PER_DOLLAR

PER_TOKEN = 1_000  # nano-dollars a token, of a dollar per million tokens
HIGHEST_PRICE = 10**6  # dollars per million tokens
MOST_DOLLARS = 10**9
SAMPLE_TOKENS = 1_000  # that a list price is read at: below the first step of prices that rise with the context


@dataclass(frozen=True)
class Price:
    """The price of a model: dollars per million tokens.

    Attributes:
        input: of the tokens that are sent. Texts and decimals are taken exactly, floats as they are printed.
        output: of the tokens that are answered.

    Raises:
        DeclarationError: a price that is no number, is negative, or above a million dollars.
    """

    input: Decimal | float | str
    output: Decimal | float | str

    def __post_init__(self) -> None:
        object.__setattr__(self, "input", _price("input", self.input))
        object.__setattr__(self, "output", _price("output", self.output))

    def cost_nano(self, input_tokens: int, output_tokens: int) -> int:
        """What so many tokens cost, in nano-dollars, rounded up to a whole one.

        Raises:
            DeclarationError: a number of tokens is negative or not whole.
        """
        check_whole("cost_nano", 0, input_tokens=input_tokens, output_tokens=output_tokens)
        sent, by_sent = cast("Decimal", self.input).as_integer_ratio()
        answered, by_answered = cast("Decimal", self.output).as_integer_ratio()
        total = (sent * input_tokens * by_answered + answered * output_tokens * by_sent) * PER_TOKEN
        return -(-total // (by_sent * by_answered))


def nano(dollars: Decimal | float | str) -> int:
    """Dollars as nano-dollars: `nano("12.50")` is 12,500,000,000. Less than a nano-dollar is rounded down.

    Raises:
        DeclarationError: no number, negative, or above a billion dollars.
    """
    return int(_amount("nano", "dollars", dollars, MOST_DOLLARS) * NANO_PER_DOLLAR)


def shown(amount_nano: int) -> str:
    """Nano-dollars as people read them: `$12.50`, `$0.000345`."""
    whole, rest = divmod(abs(amount_nano), NANO_PER_DOLLAR)
    cents = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{'-' if amount_nano < 0 else ''}${whole:,}.{cents}"


def list_price(model: str, *, provider: str | None = None) -> Price | None:
    """The vendor's list price of a model by its name, from the package `genai-prices` if it is installed.

    Args:
        model: as the vendor names it.
        provider: `openai`, `anthropic`…; defaults to the first whose models match the name.

    Returns:
        None where the package is not installed or does not know the model. Nothing is asked of the network.
    """
    try:
        import genai_prices  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        if error.name != "genai_prices":
            raise
        return None
    usage = genai_prices.Usage(input_tokens=SAMPLE_TOKENS, output_tokens=SAMPLE_TOKENS)
    try:
        found = genai_prices.calc_price(usage, model, provider_id=provider)
    except LookupError:
        return None
    scale = Decimal(10**6) / SAMPLE_TOKENS
    return Price(Decimal(found.input_price) * scale, Decimal(found.output_price) * scale)


def _price(name: str, value: Decimal | float | str) -> Decimal:
    return _amount("Price", name, value, HIGHEST_PRICE)


def _amount(of: str, name: str, value: Decimal | float | str, most: int) -> Decimal:
    try:
        read = Decimal(str(value))
    except InvalidOperation:
        read = Decimal("NaN")
    if isinstance(value, bool) or not read.is_finite() or not 0 <= read <= most:
        raise DeclarationError(
            f"{of}({name}={value!r}) is not possible.", hint=f"Write a number of dollars from 0 to {most:,}: 0.15."
        )
    if -cast("int", read.as_tuple().exponent) > 30:  # no price has so many places; they cost time
        raise DeclarationError(f"{of}({name}={value!r}) has too many places.", hint="Write up to 30 places.")
    return read
