"""The book's pipelines, one screen each: refresh, train, score. They are given the boxes and call them step by step.

Not for logic: a step is one call into a lower room. Every pipeline runs as a job of the run ledger.
"""
