"""What scores: this process, worker processes, or Spark; full rows in, the same prediction records out.

`base` is the contract, one file an engine.
"""
