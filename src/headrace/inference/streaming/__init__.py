"""Streams: decisions from Kafka or a change feed, through the version in Production, into Delta or Kafka.

Not for batch scoring and the inference log. The caller passes in the loaded version, which follows `serving.json`.
"""
