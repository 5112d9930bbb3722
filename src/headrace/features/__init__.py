"""Features: feature tables, the plan of what a model looks up, and the point-in-time join that gives full rows.

Not for labels, splits or fitting (`training`). Tables and their refresh are the `lakehouse`'s; a feature table is a table
with a promise about time.
"""
