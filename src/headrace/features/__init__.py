"""Features: feature tables, the plan of a model's look-ups, and the point-in-time join that returns full rows.

Not for labels, splits or fitting (`training`). `lakehouse` refreshes the tables; a feature table is a table
with the time when each row became available.
"""
