"""Placeholders: where they are found, and that a text which is not closed costs no more than one that is."""

import subprocess
import sys

import pytest

from headrace.lakehouse.placeholders import as_duckdb, placeholders

LONG = """
import sys
from headrace.lakehouse.placeholders import as_duckdb, placeholders
text = sys.argv[1] * (1_000_000 // len(sys.argv[1]))
assert placeholders(text) == ()
assert as_duckdb(text) == text
"""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("select :a, :B, :a", ("a", "b")),
        ("select ':a', \":b\", :c", ("c",)),
        ("select 'it''s :a', \"x\"\":b\", :c", ("c",)),
        ("select /* :a */ :b -- :c\n, :d", ("b", "d")),
        ("select $$ :a $$, $t$ :b $$ :c $t$, :d", ("d",)),
        ("select x::int, l[1:n], {'key':x}, :a", ("a",)),
        ("select :a /* :b", ("a",)),
        ("select :a $t$ :b $$", ("a",)),
        ("select :a ' :b", ("a",)),
        ("select :a 'x'' :b", ("a",)),
        ('select :a " :b', ("a",)),
    ],
)
def test_a_placeholder_is_found_outside_of_texts_and_comments(text, found):
    assert placeholders(text) == found
    assert len(as_duckdb(text)) == len(text)
    assert [f"${name}" in as_duckdb(text) for name in found] == [True] * len(found)


@pytest.mark.parametrize(
    "part", ["/* ", "/*", "$tag$ $x$ ", "$a", "$$ $a$ ", "'\"", "''", '"" ', "' ", "x' /* \"", "-- ", "::"]
)
def test_a_megabyte_of_what_is_not_closed_is_read_once(part):
    subprocess.run([sys.executable, "-c", LONG, part], check=True, timeout=60)
