"""Sample rows: orders of a shop and whether each parcel came late. The same bytes on every machine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

FILE = "orders.csv"
HEADER = "order_id,placed_at,service,weight_kg,distance_km,delivered_at,late"
FIRST, DAYS, ROWS = datetime(2025, 1, 1, tzinfo=UTC), 120, 2400
MODULUS, MULTIPLIER, SEED = 2**31 - 1, 48271, 11  # Park and Miller (1993), whole numbers alone: no machine differs


def sample_rows() -> str:
    """The rows as CSV. A parcel that took more than five days is late; whether it does is mostly told by the other columns."""
    state, lines = SEED, [HEADER]
    for number in range(ROWS):
        drawn: list[float] = []
        for _ in range(5):
            state = state * MULTIPLIER % MODULUS
            drawn.append(state / MODULUS)
        placed = FIRST + timedelta(minutes=number * DAYS * 24 * 60 // ROWS)
        service = "express" if drawn[0] < 0.5 else "standard"
        weight = round(0.1 + 8 * drawn[1] * drawn[2], 2)
        distance = 5 + int(395 * drawn[3])
        minutes = 1440 + int(216 * weight) + int(14.4 * distance) + int(2400 * drawn[4] * drawn[4])
        minutes += 2880 if service == "standard" else 0
        late = "true" if minutes > 5 * 1440 else "false"
        delivered = placed + timedelta(minutes=minutes)
        lines.append(
            f"o{number:05},{placed:%Y-%m-%dT%H:%M:%SZ},{service},{weight},{distance},{delivered:%Y-%m-%dT%H:%M:%SZ},{late}"
        )
    return "\n".join(lines) + "\n"
