"""Metrics of outputs against labels: the contract `Metric`, one file for each built-in metric, their table, a project's own.

Not for measuring by slice (`training.measures`), nor for intervals (`training.intervals`), which use the metric's
value and covariance. Everything here is imported by `import headrace as hr` alone, so numpy, pandas and scikit-learn
are imported inside the functions that need them.
"""
