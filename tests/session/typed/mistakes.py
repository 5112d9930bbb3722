"""What a type checker finds in a user's program before it runs."""

import headrace as hr

hr.Tabel("silver.orders")
print(hr.open("dev").modles)
hr.Table("silver.orders", keys="id", sql="select 1")
hr.Serve(p95=20)
