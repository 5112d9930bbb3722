"""A row of blocks keeps the order of its values."""

from hypothesis import example, given
from hypothesis import strategies as st

from headrace.cli.plot import BLOCKS, MISSING, bars, distribution

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.none() | NUMBERS))
def test_a_row_has_a_character_for_each_value_and_dots_where_there_is_none(values):
    drawn = bars(values)

    assert len(drawn) == len(values)
    assert [character == MISSING for character in drawn] == [value is None for value in values]
    assert set(drawn) <= {*BLOCKS, MISSING}


@given(st.lists(NUMBERS, min_size=2))
@example([0.0, 5e-324])
@example([-1.7e308, 0.0, 1.7e308])
def test_a_larger_value_is_never_drawn_lower(values):
    heights = [BLOCKS.index(character) for character in bars(values)]
    ordered = [height for _, height in sorted(zip(values, heights, strict=True))]

    assert ordered == sorted(ordered)
    if min(values) < max(values):
        assert (ordered[0], ordered[-1]) == (0, len(BLOCKS) - 1)


def test_a_distribution_is_as_high_as_its_rows():
    assert distribution([0, 8, 4, 1]) == " █▄▁"
    assert distribution([7, 0, 0]) == "█"
    assert distribution([1] * 20) == "█" * 10
    assert distribution([1] * 13) == "█" * 7
    assert distribution([1] * 11) == "█" * 11
    assert distribution([]) == ""
