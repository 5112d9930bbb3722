"""Pictures as SVG, drawn here: lines with bands and limits, bars, and two histograms over each other.

No colour is written into them: classes of the style sheet say how a series looks, in light, in the dark and on paper.
Each has a text for who does not see it, and its numbers are in a table beside it or in the titles of its marks.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import takewhile
from typing import TYPE_CHECKING, TypeAlias, TypeGuard

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDTH, HEIGHT = 640, 180
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 10, 24  # margins, for the texts of the axes
TICKS = 4
SMALLEST, LARGEST = 1e-12, 1e100  # what is smaller is drawn as nothing, what is larger not at all
LETTER = 6  # pixels of a letter, about
WHOLE, COMMON = 16, 4  # letters of a name that are to be seen; a beginning that all share and that is worth leaving out
GAP = 2  # letters between two names, where not each has one
SERIES = 6  # colours in the style sheet

X: TypeAlias = "float | datetime | date"


@dataclass(frozen=True, kw_only=True)
class Point:
    """A point of a series.

    Attributes:
        x: a moment, a day or a number.
        y: None where there is no value: the line is broken.
        low: of the interval of the value; None: it has none.
        high: of the same.
    """

    x: X
    y: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points in the order of x, and what they are called."""

    name: str
    points: Sequence[Point]


def line(label: str, series: Sequence[Series], *, limit: float | None = None, height: int = HEIGHT) -> Markup:
    """Series over one axis, each with the band of its intervals.

    Args:
        label: what is shown, for who does not see it.
        series: at most six, or the first six are drawn.
        limit: a value that is not to be passed, as a dashed line.
        height: in pixels of the picture, 640 of which are its width.
    """
    drawn = series[:SERIES]
    xs = [number(point.x) for each in drawn for point in each.points]
    ys = [value for each in drawn for point in each.points for value in (point.y, point.low, point.high) if _is(value)]
    if not xs or not ys:
        return Markup("")
    across = _Axis(min(xs), max(xs), LEFT, WIDTH - RIGHT)
    up = _Axis.rounded(min([*ys, *_given(limit)]), max([*ys, *_given(limit)]), height - BOTTOM, TOP)
    parts = [_grid(up), *_moments(drawn, across, height)]
    if limit is not None:
        at = up.place(limit)
        parts.append(f'<line class="limit" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
    for place, each in enumerate(drawn):
        parts += _drawn(each, place, across, up)
    return _picture(label, parts, height) + _legend([each.name for each in drawn])


def bars(label: str, rows: Iterable[tuple[str, float]], *, height: int = HEIGHT) -> Markup:
    """A bar for each name."""
    known = [(name, value) for name, value in rows if _is(value)]
    if not known:
        return Markup("")
    values = [value for _, value in known]
    up = _Axis.rounded(min(0.0, *values), max(0.0, *values), height - BOTTOM, TOP)
    step = (WIDTH - LEFT - RIGHT) / len(known)
    parts = [_grid(up)]
    for place, (name, value) in enumerate(known):
        x, y, base = LEFT + step * place, up.place(value), up.place(0.0)
        parts.append(
            f'<rect class="s0" x="{x + step * 0.1:.1f}" width="{step * 0.8:.1f}" y="{min(y, base):.1f}" '
            f'height="{abs(base - y):.1f}"><title>{escape(name)}: {value:.4g}</title></rect>'
        )
    parts += [
        f'<text class="x" x="{LEFT + step * (place + 0.5):.1f}" y="{height - 8}">{escape(text)}</text>'
        for place, text in _names([name for name, _ in known], step)
    ]
    return _picture(label, parts, height)


def histograms(
    label: str, names: Sequence[str], bins: Sequence[str], shares: Sequence[Sequence[float]], *, height: int = HEIGHT
) -> Markup:
    """Shares of rows by bin, side by side: such as those of the training and those of now.

    Args:
        label: what is shown.
        names: of the distributions.
        bins: their names, in order.
        shares: of each distribution, one a bin.
    """
    most = max((value for each in shares for value in each if _is(value)), default=0.0)
    if not bins or most <= 0:
        return Markup("")
    up = _Axis.rounded(0.0, most, height - BOTTOM, TOP)
    step = (WIDTH - LEFT - RIGHT) / len(bins)
    wide = step * 0.84 / len(shares)
    parts = [_grid(up)]
    for place, name in enumerate(bins):
        for which, each in enumerate(shares):
            value = each[place]
            if _is(value):
                x, y = LEFT + step * (place + 0.08) + wide * which, up.place(value)
                parts.append(
                    f'<rect class="s{which}" x="{x:.1f}" width="{wide:.1f}" y="{y:.1f}" height="{up.place(0.0) - y:.1f}">'
                    f"<title>{escape(name)}, {escape(names[which])}: {value:.4g}</title></rect>"
                )
        if len(bins) <= 16:
            text = name if len(name) <= step / 6 else name[: max(int(step / 6) - 1, 1)] + "…"
            parts.append(
                f'<text class="x" x="{LEFT + step * (place + 0.5):.1f}" y="{height - 8}">{escape(text)}</text>'
            )
    return _picture(label, parts, height) + _legend(names)


def points(label: str, pairs: Iterable[tuple[float, float]], *, height: int = HEIGHT) -> Markup:
    """A point for each pair of numbers."""
    known = [(x, y) for x, y in pairs if _is(x) and _is(y)]
    if not known:
        return Markup("")
    across = _Axis.rounded(min(x for x, _ in known), max(x for x, _ in known), LEFT, WIDTH - RIGHT)
    up = _Axis.rounded(min(y for _, y in known), max(y for _, y in known), height - BOTTOM, TOP)
    parts = [_grid(up)]
    parts += [
        f'<text class="{"x" if across.place(tick) < WIDTH - RIGHT - 1 else "x end"}" x="{across.place(tick):.1f}" '
        f'y="{height - 8}">{_short(tick)}</text>'
        for tick in across.ticks()
    ]
    parts += [f'<circle class="s0" cx="{across.place(x):.1f}" cy="{up.place(y):.1f}" r="3"/>' for x, y in known]
    return _picture(label, parts, height)


def share(label: str, value: float) -> Markup:
    """A share between 0 and 1 as a short bar."""
    wide = max(min(value, 1.0), 0.0) * 100
    return Markup(  # noqa: S704  # the label is escaped
        f'<svg class="share" viewBox="0 0 100 10" role="img" aria-label="{escape(label)}">'
        f'<rect class="all" width="100" height="10"/><rect class="s0" width="{wide:.1f}" height="10"/></svg>'
    )


def against(label: str, value: object, limit: object) -> Markup:
    """A number as a short bar from zero, beside the limit that it was held against; nothing where one of the two is no number."""
    given = [float(each) for each in (value, limit) if isinstance(each, int | float) and not isinstance(each, bool)]
    if len(given) < 2 or not all(map(math.isfinite, given)):
        return Markup("")
    across = _Axis(min(*given, 0.0), max(*given, 0.0), 2, 98)
    begin, end = sorted((across.place(0.0), across.place(given[0])))
    at = across.place(given[1])
    return Markup(  # noqa: S704  # the label is escaped
        f'<svg class="share" viewBox="0 0 100 12" role="img" aria-label="{escape(label)}">'
        f'<rect class="s0" x="{begin:.1f}" y="3" width="{max(end - begin, 1.0):.1f}" height="6"/>'
        f'<line class="limit" x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="12"/></svg>'
    )


@dataclass(frozen=True)
class _Axis:
    """From the values `low` to `high` to the pixels `begin` to `end`."""

    low: float
    high: float
    begin: float
    end: float

    @classmethod
    def rounded(cls, low: float, high: float, begin: float, end: float) -> _Axis:
        """With ends that are round numbers."""
        size = max(abs(low), abs(high), SMALLEST)
        if high - low <= size * 1e-9:
            low, high = low - size / 2, high + size / 2
        step = _step((high - low) / TICKS)
        return cls(math.floor(low / step) * step, math.ceil(high / step) * step, begin, end)

    def place(self, value: float) -> float:
        """The pixel of a value."""
        span = self.high - self.low
        return self.begin + (self.end - self.begin) * ((value - self.low) / span if span else 0.5)

    def ticks(self) -> list[float]:
        """Round numbers from one end to the other."""
        step = _step((self.high - self.low) / TICKS)
        first = math.ceil(self.low / step - 1e-9)
        return [number * step for number in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _step(rough: float) -> float:
    """The next of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= rough * (1 - 1e-9))


def _names(names: Sequence[str], step: float) -> list[tuple[int, str]]:
    """The names below bars, each with its place: where not all have room, without what all begin with, and not each."""
    if max(map(len, names)) > step / LETTER:
        pairs = takewhile(lambda pair: pair[0] == pair[1], zip(min(names), max(names), strict=False))
        begin = re.sub(r"\w*$", "", "".join(letter for letter, _ in pairs))
        if len(begin) >= COMMON and begin not in names:
            names = [f"…{name[len(begin) :]}" for name in names]
    longest = min(max(map(len, names)), WHOLE)
    each = 1 if longest * LETTER <= step else min(math.ceil((longest + GAP) * LETTER / step), len(names))
    room = int(step * each / LETTER) - (GAP if each > 1 else 0)
    return [
        (place, names[place] if len(names[place]) <= room else names[place][: max(room - 1, 1)] + "…")
        for place in range((each - 1) // 2, len(names) - each // 2, each)
    ]


def _grid(up: _Axis) -> str:
    lines = [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up.place(tick):.1f}" y2="{up.place(tick):.1f}"/>'
        f'<text class="y" x="{LEFT - 6}" y="{up.place(tick) + 4:.1f}">{_short(tick)}</text>'
        for tick in up.ticks()
    ]
    return "".join(lines)


def _moments(series: Sequence[Series], across: _Axis, height: int) -> list[str]:
    """The texts below: the first, the last and two in between."""
    first = series[0].points[0].x
    ticks = (
        [across.low + (across.high - across.low) * part / 3 for part in range(4)]
        if across.high > across.low
        else [across.low]
    )
    anchors = ["start", "middle", "middle", "end"] if len(ticks) > 1 else ["middle"]
    return [
        f'<text class="x {anchor}" x="{across.place(tick):.1f}" y="{height - 8}">{_named(tick, first, across.high - across.low)}</text>'
        for tick, anchor in zip(ticks, anchors, strict=True)
    ]


def _named(tick: float, like: X, span: float) -> str:
    if not isinstance(like, datetime | date):
        return _short(tick)
    at = datetime.fromtimestamp(tick, UTC)
    return f"{at:%Y-%m-%d}" if span > 3 * 86_400 or not isinstance(like, datetime) else f"{at:%m-%d %H:%M}"


def _drawn(series: Series, place: int, across: _Axis, up: _Axis) -> list[str]:
    """The band, the line and, where they are few, the points."""
    parts: list[str] = []
    for run in _runs(series.points):
        at = [(across.place(number(point.x)), point) for point in run]
        banded = [(x, point.low, point.high) for x, point in at if _is(point.low) and _is(point.high)]
        if len(banded) > 1:
            edge = [f"{x:.1f},{up.place(high):.1f}" for x, _, high in banded]
            edge += [f"{x:.1f},{up.place(low):.1f}" for x, low, _ in reversed(banded)]
            parts.append(f'<polygon class="band s{place}" points="{" ".join(edge)}"/>')
        path = " ".join(f"{x:.1f},{up.place(point.y or 0.0):.1f}" for x, point in at)
        parts.append(f'<polyline class="s{place}" points="{path}"/>')
        if len(series.points) <= 60:
            parts += [
                f'<circle class="s{place}" cx="{x:.1f}" cy="{up.place(point.y or 0.0):.1f}" r="2.5">'
                f"<title>{escape(series.name)}, {_said(point.x)}: {point.y:.4g}</title></circle>"
                for x, point in at
            ]
    return parts


def _runs(points: Sequence[Point]) -> list[list[Point]]:
    """The stretches that have values."""
    found: list[list[Point]] = [[]]
    for point in points:
        if _is(point.y):
            found[-1].append(point)
        elif found[-1]:
            found.append([])
    return [each for each in found if each]


def _picture(label: str, parts: Sequence[str], height: int) -> Markup:
    return Markup(  # noqa: S704  # the label is escaped, and names in the parts
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )


def _legend(names: Sequence[str]) -> Markup:
    if len(names) < 2:
        return Markup("")
    marks = "".join(
        f'<li><svg viewBox="0 0 10 10" aria-hidden="true"><rect class="s{place}" width="10" height="10"/></svg> {escape(name)}</li>'
        for place, name in enumerate(names)
    )
    return Markup(f'<ul class="legend">{marks}</ul>')  # noqa: S704  # names are escaped


def number(x: X) -> float:
    """A place on an axis: of a moment or a day, the seconds since 1970."""
    if isinstance(x, datetime):
        return (x if x.tzinfo else x.replace(tzinfo=UTC)).timestamp()
    if isinstance(x, date):
        return datetime(x.year, x.month, x.day, tzinfo=UTC).timestamp()
    return float(x)


def _said(x: X) -> str:
    return f"{x:%Y-%m-%d %H:%M}" if isinstance(x, datetime) else f"{x:%Y-%m-%d}" if isinstance(x, date) else _short(x)


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 and abs(value) < 1e7 else f"{value:.3g}"


def _is(value: float | None) -> TypeGuard[float]:
    return value is not None and abs(value) < LARGEST


def _given(value: float | None) -> list[float]:
    return [] if value is None else [value]
