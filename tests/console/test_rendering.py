"""Values as the pages show them."""

import pytest

from headrace.console.rendering import difference


@pytest.mark.parametrize(
    ("new", "old", "shown"),
    [
        (0.75, 0.5, "+0.2500"),
        (0.5, 0.75, "-0.2500"),
        (12, 7, "+5"),
        (1e-6, 0.0, "+1e-06"),
        (0.5, 0.5, ""),
        (0.5, None, ""),
        (None, 0.5, ""),
        ("2", "1", ""),
        (True, False, ""),
        (float("nan"), 1.0, ""),
    ],
)
def test_how_much_a_number_has_grown(new, old, shown):
    assert difference(new, old) == shown
