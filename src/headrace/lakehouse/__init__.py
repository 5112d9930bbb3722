"""Tables in Delta: one way to write (`commit`), one way to read (`scan`), and what keeps a table as its SELECT says.

Not for what a row means: features, labels and predictions are tables like any other here. Nothing else in Headrace opens
a Delta table or a Parquet file of one. Neighbours in the same row, which it does not know: `tracking` and `jobs`; above:
`features`, `training`, `inference`, `monitoring`.
"""
