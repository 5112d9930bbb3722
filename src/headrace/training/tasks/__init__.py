"""What a model can predict: the contract `Task`, one file for each task that Headrace brings, and the table of them.

Not for metrics (`training.metrics`), nor for fitting and packaging, which ask the task instead of looking at its type.
Everything here is imported by servers and by `import headrace as hr` alone, so numpy, pandas and scikit-learn are imported
inside the functions that need them.
"""
