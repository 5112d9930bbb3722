"""Tasks of models: the contract `Task`, one file for each built-in task, and their table.

Not for metrics (`training.metrics`), nor for fitting and packaging, which call the task instead of checking its type.
Everything here is imported by servers and by `import headrace as hr` alone, so numpy, pandas and scikit-learn are
imported inside the functions that need them.
"""
