"""How good outputs are against labels: the contract `Metric`, one file for each built-in metric, the table of them, own ones.

Not for measuring by slice (`training.measures`), nor for intervals (`training.intervals`), which ask the metric for its
value and its covariance. Everything here is imported by `import headrace as hr` alone, so numpy, pandas and scikit-learn
are imported inside the functions that need them.
"""
