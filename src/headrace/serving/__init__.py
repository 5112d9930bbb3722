"""Answers questions over HTTP: a worker that follows `serving.json`, starts without registry and lakehouse, and logs.

Not for computing what a model says (`scoring`), nor for deciding what is served (`deployment`).
"""
