"""Pictures: what they show of values as they come, and nothing of names as code."""

import math
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.console.charts import Point, Series, bars, histograms, line, points, share

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
NUMBERS = st.one_of(st.none(), st.floats(), st.floats(-1e6, 1e6))


def parsed(picture):
    """As XML: every tag is closed, every name escaped."""
    return ET.fromstring(f"<all>{picture}</all>")


def drawn(picture, tag):
    return [each for each in parsed(picture).iter() if each.tag == tag]


def days(values):
    return [Point(x=BEGAN + timedelta(days=place), y=value) for place, value in enumerate(values)]


def test_a_line_is_broken_where_there_is_no_value():
    picture = line("quality", [Series(name="auc", points=days([0.1, 0.2, None, 0.4, math.nan, 0.3, 0.2]))])
    assert [len(each.get("points").split()) for each in drawn(picture, "polyline")] == [2, 1, 2]


def test_heights_are_in_the_order_of_values_and_the_limit_among_them():
    picture = line("q", [Series(name="q", points=days([1.0, 3.0, 2.0]))], limit=2.5)
    one, three, two = [float(pair.split(",")[1]) for pair in drawn(picture, "polyline")[0].get("points").split()]
    limit = next(float(each.get("y1")) for each in drawn(picture, "line") if each.get("class") == "limit")
    assert three < limit < two < one


def test_a_band_goes_up_one_way_and_back_the_other():
    known = [Point(x=float(place), y=1.0, low=0.5, high=1.5) for place in range(4)]
    (band,) = drawn(line("q", [Series(name="q", points=known)]), "polygon")
    assert len(band.get("points").split()) == 8


@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), max_size=8), st.one_of(st.none(), st.floats(-1e6, 1e6)))
def test_whatever_the_values_are_it_is_a_picture_within_its_frame_or_nothing(rows, limit):
    known = [Point(x=float(place), y=y, low=low, high=high) for place, (y, low, high) in enumerate(rows)]
    picture = line("q", [Series(name="q", points=known)], limit=limit)
    for each in drawn(picture, "polyline"):
        for pair in each.get("points").split():
            x, y = map(float, pair.split(","))
            assert 0 <= x <= 640
            assert 0 <= y <= 180


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", '" onload="x', "a & b", "ünï 🚂"])
def test_names_are_text(name):
    for picture in (
        line(name, [Series(name=name, points=days([1.0])), Series(name=name, points=days([2.0]))]),
        bars(name, [(name, 1.0), (name, -1.0)]),
        histograms(name, [name, name], [name], [[0.5], [0.7]]),
        points(name, [(1.0, 2.0)]),
        share(name, 0.3),
    ):
        tags = {each.tag for each in parsed(picture).iter()}
        assert "script" not in tags
        assert not any(key.startswith("on") for each in parsed(picture).iter() for key in each.attrib)


def test_bars_stand_on_zero():
    up, down = drawn(bars("b", [("a", 2.0), ("b", -1.0)]), "rect")
    assert float(up.get("y")) + float(up.get("height")) == pytest.approx(float(down.get("y")), abs=0.2)
    assert float(up.get("height")) == pytest.approx(2 * float(down.get("height")), abs=0.3)


def test_nothing_to_draw_is_no_picture():
    assert line("q", []) == line("q", [Series(name="q", points=[])]) == bars("b", []) == points("p", []) == ""
    assert histograms("h", ["a"], [], [[]]) == histograms("h", ["a"], ["x"], [[0.0]]) == ""


@pytest.mark.parametrize(("value", "wide"), [(-1, 0), (0.25, 25), (2, 100)])
def test_a_share_is_within_its_bar(value, wide):
    assert float(drawn(share("s", value), "rect")[1].get("width")) == wide


def texts(picture):
    return [each.text for each in drawn(picture, "text") if each.get("class", "").startswith("x")]


def test_what_all_names_begin_with_is_left_out_before_they_are_cut():
    names = [f"version 1 {2013 + place // 12}-{place % 12 + 1:02}" for place in range(24)]
    picture = bars("b", [(name, 1.0) for name in names])
    seen = texts(picture)
    assert len(seen) >= 6
    assert {f"version 1 {each.removeprefix('…')}" for each in seen} <= set(names)
    assert [each.find("title").text for each in drawn(picture, "rect")] == [f"{name}: 1" for name in names]


@pytest.mark.parametrize(
    ("names", "seen"),
    [
        (["a", "b", "c"], ["a", "b", "c"]),
        (["x" * 30], ["x" * 30]),
        (["version 1 a", "version 1 b"], ["version 1 a", "version 1 b"]),
        (["x" * 100, "y" * 100], ["x" * 46 + "…", "y" * 46 + "…"]),
        (["", "", ""], ["", "", ""]),
        ([" " * 99, " " * 99], [" " * 46 + "…"] * 2),
    ],
    ids=range(6),
)
def test_names_that_have_room_are_whole(names, seen):
    assert [each or "" for each in texts(bars("b", [(name, 1.0) for name in names]))] == seen


@given(st.lists(st.text(st.characters(categories=["L", "N", "Zs"]), max_size=40), min_size=1, max_size=60))
def test_names_below_bars_are_within_the_picture_and_apart(names):
    found = [each for each in drawn(bars("b", [(name, 1.0) for name in names]), "text") if each.get("class") == "x"]
    assert found
    ends = [
        (float(each.get("x")) - 3 * len(each.text or ""), float(each.get("x")) + 3 * len(each.text or ""))
        for each in found
    ]
    assert ends[0][0] >= 0
    assert ends[-1][1] <= 640
    assert all(left[1] <= right[0] + 0.2 for left, right in pairwise(ends))


def test_the_last_number_below_points_ends_where_the_picture_does():
    picture = points("p", [(0.0, 1.0), (100_000.0, 2.0)])
    assert [each.get("class") for each in drawn(picture, "text") if each.get("class").startswith("x")][-1] == "x end"
    assert texts(picture)[-1] == "100,000"
