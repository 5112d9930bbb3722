"""The SELECT of the orders."""

from pathlib import Path

Path("orders.sql").write_text("select order_id, amount from bronze.orders")
