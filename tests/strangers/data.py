"""The data files of the strangers' projects, the same on every machine."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

START = datetime(2024, 1, 1, tzinfo=UTC)


def minutes_after(start: datetime, minutes: float) -> str:
    return (start + timedelta(minutes=int(minutes))).isoformat().replace("+00:00", "Z")


def write_shop(folder: Path, *, orders: int = 1500) -> None:
    """Orders of 150 days in two overlapping exports, their deliveries, and what goes wrong with both."""
    draw = np.random.default_rng(11)
    placed = np.sort(draw.integers(0, 150 * 1440, orders))
    lines, deliveries = [], []
    for i, minute in enumerate(placed):
        order_id, warehouse = 5000 + i, int(draw.integers(1, 4))
        express, weight = bool(draw.random() < 0.3), round(float(draw.gamma(2, 2)) + 0.1, 2)
        slow = 2.0 * (warehouse == 2) + 1.5 * np.sin(minute / (20 * 1440))
        days = max(0.2, 3 + slow - 1.5 * express + 0.2 * weight + draw.normal(0, 0.5))
        line = {
            "order_id": order_id,
            "customer_id": int(draw.integers(100, 260)),
            "warehouse_id": warehouse,
            "placed_at": minutes_after(START, minute),
            "express": None if draw.random() < 0.02 else express,
            "weight_kg": -weight if draw.random() < 0.01 else weight,
            "amount_cents": int(draw.lognormal(8.5, 1)),
        }
        lines.append(line)
        delivered = minute + days * 1440
        if draw.random() < 0.05:
            continue  # lost
        recorded = delivered + draw.integers(5, 600)
        deliveries.append((order_id, delivered, recorded))
        if draw.random() < 0.02:
            deliveries.append((order_id, delivered + 1440, recorded + draw.integers(60, 6000)))
    (folder / "orders").mkdir(parents=True)
    half = orders // 2
    for name, part, exported in (("a", lines[: half + 40], 90), ("b", lines[half:], 160)):
        text = "".join(
            json.dumps({**line, "exported_at": minutes_after(START, exported * 1440)}) + "\n" for line in part
        )
        (folder / "orders" / f"export_{name}.jsonl").write_text(text, encoding="utf-8")
    rows = [f"{order},{minutes_after(START, at)},{minutes_after(START, seen)}" for order, at, seen in deliveries]
    rows += [f"{order_id},NA,{minutes_after(START, 200000)}" for order_id in (5001, 5002)]  # carrier gave up
    text = "\n".join(["order_id,delivered_at,recorded_at", *rows]) + "\n"
    (folder / "deliveries.csv").write_text(text, encoding="utf-8")


def write_machines(folder: Path, *, inspections: int = 700) -> None:
    """Readings every few hours of 30 machines at two sites, and inspections whose findings come days later."""
    draw = np.random.default_rng(12)
    machines = [(site, f"M-{n:03}") for site in ("oulu", "łódź") for n in range(1, 16)]
    wear = {machine: draw.uniform(0, 1) for machine in machines}
    rows = []
    for site, machine in machines:
        minute = int(draw.integers(0, 400))
        while minute < 120 * 1440:
            worn = (wear[site, machine] + minute / (60 * 1440)) % 1
            temperature = 9999.0 if draw.random() < 0.001 else 60 + 30 * worn + draw.normal(0, 3)
            pressure = None if draw.random() < 0.3 else 5 - worn + draw.normal(0, 0.2)
            mode = str(draw.choice(["idle", "cut", "mill"]))
            sent = START + timedelta(minutes=minute)
            rows.append((site, machine, sent, mode, temperature, 1 + 4 * worn**2 + draw.normal(0, 0.3), pressure))
            minute += int(draw.integers(60, 600)) if draw.random() < 0.97 else 3 * 1440  # sometimes silent for days
    columns = ["site", "machine", "sent_at", "mode", "temperature", "vibration", "pressure"]
    readings = pd.DataFrame(rows, columns=columns).sort_values(["sent_at", "site", "machine"])
    (folder / "readings").mkdir(parents=True)
    for month, part in readings.groupby(readings["sent_at"].dt.month):
        part.to_parquet(folder / "readings" / f"2024-{month:02}.parquet", index=False)
    lines = ["inspection,plant,machine,due_at,hours_run,finding,reported_at"]
    due = np.sort(draw.integers(1440, 120 * 1440, inspections))
    for i, minute in enumerate(due):
        site, machine = machines[int(draw.integers(len(machines)))]
        worn = (wear[site, machine] + minute / (60 * 1440)) % 1
        finding = "fine" if worn + draw.normal(0, 0.1) < 0.6 else ("bearing" if worn > 0.8 else "seal")
        reported = "" if draw.random() < 0.06 else minutes_after(START, minute + draw.integers(600, 10 * 1440))
        hours = int(draw.integers(1, 9000)) * (-1 if draw.random() < 0.01 else 1)
        machine = "?" if draw.random() < 0.01 else machine
        lines.append(
            f"I{i:04}-{site[0].upper()},{site},{machine},{minutes_after(START, minute)},{hours},{finding},{reported}"
        )
    (folder / "inspections.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
