"""Rows for the program `tests/testing/programs/shop.py`."""

import numpy as np
import pandas as pd


def late_orders():
    """Orders of four customers, three a day; a large one comes late."""
    amount = np.random.default_rng(3).uniform(1, 100, 300)
    at = pd.date_range("2025-01-01", periods=300, freq="8h", tz="UTC")
    return pd.DataFrame(
        {
            "order_id": range(300),
            "customer": [f"c{place % 4}" for place in range(300)],
            "ordered_at": at,
            "amount": amount,
            "delivered_at": at + pd.to_timedelta(np.where(amount > 60, 4, 2), unit="D"),
        }
    )
