"""Answers prediction requests over HTTP: a server that follows `serving.json`, starts without registry and lakehouse, and logs.

Not for computing predictions (`scoring`), nor for deciding which version is served (`deployment`).
"""
