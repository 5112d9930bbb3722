"""Small charts as SVG, for a table cell or a line of their own: no script, no font, readable on light and dark pages."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, HEIGHT = 150, 28  # pixels
LINE_WIDTH, LINE_HEIGHT = 420, 90
BLUE, ORANGE = "#3b7dd8", "#e07b39"
GAP = 1  # between bars


def bars(rows: Sequence[int], titles: Sequence[str]) -> str:
    """A distribution.

    Args:
        rows: of each bar.
        titles: what a reader sees when they point at a bar.
    """
    return _svg(WIDTH, HEIGHT, "distribution", _columns(_shares(rows), titles, BLUE, 0.85))


def two_bars(reference: Sequence[int], rows: Sequence[int], titles: Sequence[str]) -> str:
    """Two distributions over the same bars, as shares: the reference filled, the other one as an outline above it.

    Args:
        reference: the rows of each bar of the reference.
        rows: those of what is compared with it.
        titles: what a reader sees when they point at a bar.
    """
    before, after = _shares(reference), _shares(rows)
    top = max([*before, *after], default=0.0) or 1.0
    drawn = _columns([each / top for each in before], titles, BLUE, 0.45, scaled=True)
    drawn += _outline([each / top for each in after])
    return _svg(WIDTH, HEIGHT, "distribution: reference filled, current as a line", drawn)


def line(values: Sequence[float | None], labels: Sequence[str], name: str) -> str:
    """A number over time. Its label says from when to when it is, and the lowest and the highest value.

    Args:
        values: in order of time; None leaves a gap.
        labels: of the moments.
        name: of the number.
    """
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return ""
    low, high = min(known), max(known)
    room, left = LINE_WIDTH - 20, 10
    step = room / max(len(values) - 1, 1)
    found: list[str] = []
    path: list[str] = []
    for place, (value, label) in enumerate(zip(values, labels, strict=True)):
        if value is None or not math.isfinite(value):
            path.append("")
            continue
        share = 0.5 if high == low else (value / 2 - low / 2) / (high / 2 - low / 2)
        x, y = left + place * step, LINE_HEIGHT - 12 - share * (LINE_HEIGHT - 24)
        path.append(f"{'L' if path and path[-1] else 'M'}{x:.1f},{y:.1f}")
        found.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{BLUE}"><title>{escape(f"{label}: {value:.4g}")}</title></circle>'
        )
    drawn = f'<path d="{" ".join(filter(None, path))}" fill="none" stroke="{BLUE}" stroke-width="1.5"/>'
    said = f"{name} from {labels[0]} to {labels[-1]}: lowest {low:.4g}, highest {high:.4g}"
    return _svg(LINE_WIDTH, LINE_HEIGHT, said, drawn + "".join(found))


def heat(value: float | None) -> str:
    """The style of a cell of a heat map, for a population stability index: 0 is clear, 0.2 and more is full.

    Args:
        value: the index; None has no colour.
    """
    if value is None or not math.isfinite(value):
        return ""
    return f"background: rgba(224, 123, 57, {min(value / 0.2, 1.0) * 0.75:.2f})"


def _columns(
    shares: Sequence[float], titles: Sequence[str], colour: str, opacity: float, *, scaled: bool = False
) -> str:
    top = 1.0 if scaled else max(shares, default=0.0) or 1.0
    wide = WIDTH / max(len(shares), 1)
    found: list[str] = []
    for place, (share, title) in enumerate(zip(shares, titles, strict=True)):
        high = share / top * (HEIGHT - 2)
        shown = max(high, 1.0) if share else 0.0
        found.append(
            f'<rect x="{place * wide:.1f}" y="{HEIGHT - shown:.1f}" width="{max(wide - GAP, 1):.1f}" height="{shown:.1f}" '
            f'fill="{colour}" fill-opacity="{opacity}"><title>{escape(title)}</title></rect>'
        )
    return "".join(found)


def _outline(shares: Sequence[float]) -> str:
    wide = WIDTH / max(len(shares), 1)
    points: list[str] = []
    for place, share in enumerate(shares):
        y = HEIGHT - share * (HEIGHT - 2)
        points += [f"{place * wide:.1f},{y:.1f}", f"{(place + 1) * wide - GAP:.1f},{y:.1f}"]
    return f'<polyline points="{" ".join(points)}" fill="none" stroke="{ORANGE}" stroke-width="1.5"/>'


def _shares(rows: Sequence[int]) -> list[float]:
    total = sum(rows)
    return [each / total if total else 0.0 for each in rows]


def _svg(width: int, height: int, title: str, drawn: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(title)}" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}">{drawn}</svg>'
    )
