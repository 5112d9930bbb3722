import headrace as hr

raw = hr.Source("bronze.o", files="o.csv")
