"""Streams: decisions from Kafka or a change feed, through the version in Production, into Delta or Kafka.

Batch scoring and the inference log are neighbours; loading a version and following `serving.json` is handed in from above.
"""
