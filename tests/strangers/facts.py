"""What must come out of the strangers' projects, worked out from their files with pandas and plain loops."""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd

Reasons = dict[str, dict[str, int]]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Expected rows by table, rows by table and broken predicate, and the whole set of decisions with their features.

    Attributes:
        decisions: one row a decision, by key: `at`, and each feature under its name in its table, without a prefix.
        labels: every label ever recorded: key, `known_at`, and the label columns.
    """

    rows: dict[str, int]
    quarantined: Reasons = field(default_factory=dict)
    repaired: Reasons = field(default_factory=dict)
    warned: Reasons = field(default_factory=dict)
    decisions: pd.DataFrame
    labels: pd.DataFrame

    def training_set(self, moment: datetime) -> pd.DataFrame:
        """Decisions whose label was known at a moment, with the last value known by then."""
        known = self.labels[self.labels["known_at"] <= moment].sort_values("known_at")
        last = known.groupby(level=0).last()
        return self.decisions[self.decisions["at"] <= moment].join(last, how="inner")


def utc(column: pd.Series) -> pd.Series:
    return pd.to_datetime(column, utc=True, format="ISO8601")


def shop(data: Path) -> Facts:
    exports = [sorted(data.glob("orders/*.jsonl"))[i].read_text(encoding="utf-8").splitlines() for i in (0, 1)]
    landed = [json.loads(line) for lines in exports for line in lines]
    latest = {line["order_id"]: line for line in landed}  # the later export comes last
    regions = {1: "north", 2: "south", 3: "north"}
    every = pd.DataFrame(latest.values()).set_index("order_id").sort_index()
    every["placed_at"] = utc(every["placed_at"])
    bad, unsaid, dear = every["weight_kg"] <= 0, every["express"].isna(), every["amount_cents"] >= 100000
    orders = every[~bad].copy()
    orders["express"] = [value is True for value in orders["express"]]

    landed_deliveries = pd.read_csv(data / "deliveries.csv")
    deliveries = landed_deliveries.dropna(subset="delivered_at")
    deliveries = deliveries[deliveries["order_id"].isin(orders.index)].set_index("order_id").sort_index()
    labels = pd.DataFrame({"known_at": utc(deliveries["recorded_at"])})
    labels["days"] = (
        utc(deliveries["delivered_at"]) - orders["placed_at"].reindex(deliveries.index)
    ).dt.total_seconds() / 86400
    labels["ships_from"] = orders["warehouse_id"].reindex(labels.index)

    decisions = []
    for order_id, order in orders.iterrows():
        at, warehouse = order["placed_at"], order["warehouse_id"]
        seen = labels[(labels["ships_from"] == warehouse) & (labels["known_at"] <= at)]
        newest = seen["known_at"].max()
        fresh = len(seen) > 0 and newest >= at - timedelta(days=2)
        week = seen[seen["known_at"] >= newest - timedelta(days=7)] if fresh else seen[:0]
        mine = orders[(orders["customer_id"] == order["customer_id"]) & (orders["placed_at"] <= at)]
        decisions.append(
            {
                "order_id": order_id,
                "at": at,
                "region": regions[warehouse],
                "express": order["express"],
                "weight_kg": order["weight_kg"],
                "days_7d": week["days"].mean(),
                "deliveries_7d": float(len(week)) if fresh else float("nan"),
                "orders_so_far": float(len(mine)),
                "weekday": at.weekday(),
                "hour": at.hour,
            }
        )
    pace = labels.groupby(["ships_from", "known_at"]).ngroups
    return Facts(
        rows={
            "landing.warehouses": 3,
            "landing.orders": len(landed),
            "landing.deliveries": len(landed_deliveries),
            "sales.orders": len(orders),
            "sales.deliveries": len(labels),
            "stats.warehouse_pace": pace,
            "stats.customer_orders": orders.groupby(["customer_id", "placed_at"]).ngroups,
        },
        quarantined={"sales.orders": {"weight_kg > 0": int(bad.sum())}},
        repaired={"sales.orders": {"express is not null": int(unsaid.sum())}},
        warned={"sales.orders": {"amount_cents < 100000": int((dear & ~bad).sum())}},
        decisions=pd.DataFrame(decisions).set_index("order_id"),
        labels=labels.drop(columns="ships_from"),
    )


def machines(data: Path) -> Facts:
    readings = pd.concat([pd.read_parquet(file) for file in sorted(data.glob("readings/*.parquet"))], ignore_index=True)
    hot = readings["temperature"] >= 500
    readings.loc[hot, "temperature"] = float("nan")
    readings = readings.sort_values(["site", "machine", "sent_at"], ignore_index=True)
    vibration = readings.set_index("sent_at").groupby(["site", "machine"])["vibration"]
    readings["vibration_6h"] = vibration.rolling("6h", closed="both").max().to_numpy()
    by_machine = dict(list(readings.groupby(["site", "machine"])))

    book = pd.read_csv(data / "inspections.csv").set_index("inspection")
    unknown, negative = ~book["machine"].str.startswith("M-"), book["hours_run"] < 0
    book["due_at"], book["reported_at"] = utc(book["due_at"]), utc(book["reported_at"])
    inspections = book[~unknown]
    decisions = []
    for inspection, line in inspections.iterrows():
        sent = by_machine[line["plant"], line["machine"]]
        sent = sent[sent["sent_at"].between(line["due_at"] - timedelta(hours=12), line["due_at"])]
        last = sent.iloc[-1] if len(sent) else {}
        decisions.append(
            {
                "inspection": inspection,
                "at": line["due_at"],
                "plant": line["plant"],
                "hours_run": abs(line["hours_run"]),
                **{name: last.get(name) for name in ("mode", "temperature", "vibration_6h", "pressure")},
            }
        )
    labels = book.dropna(subset="reported_at")[["reported_at", "finding"]].rename(columns={"reported_at": "known_at"})
    labels["broken"] = labels["finding"] != "fine"
    return Facts(
        rows={
            "raw.readings": len(readings),
            "raw.inspections": len(book),
            "plant.inspections": len(inspections),
            "plant.findings": len(labels),
            "signals.machine_state": len(readings),
        },
        quarantined={"plant.inspections": {"machine like 'M-%'": int(unknown.sum())}},
        repaired={
            "plant.inspections": {"hours_run >= 0": int(negative.sum())},
            "signals.machine_state": {"temperature is null or temperature < 500": int(hot.sum())},
        },
        decisions=pd.DataFrame(decisions).set_index("inspection"),
        labels=labels,
    )
