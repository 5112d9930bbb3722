"""Scoring engines: this process, worker processes, or Spark. Each takes full rows and returns the same prediction records.

`base` is the contract; each engine has one file.
"""
