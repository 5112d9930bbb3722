"""What the blocks refer to: orders, and a surprising metric."""

import headrace as hr

orders = hr.Table(
    "shop.orders", key="order_id", time="known_at", sql="select order_id, known_at, items from raw.orders"
)


def _surprise(y, output):
    return (y - output["prediction"]).abs().max()


surprise = hr.metric(_surprise, tasks=[hr.Task], direction="minimize")
