import headrace as hr

raw = hr.Source("bronze.o", files="o.csv")
o = hr.Table(
    "silver.o",
    key="id",
    sql="select id, amount from bronze.o",
    expect=[hr.expect("amount >= 0", otherwise="quarantine")],
)
