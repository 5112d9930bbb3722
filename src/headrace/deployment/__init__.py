"""Brings a version to work: compliance checks, comparison with what is in Production, the served copy, rollback, retraining.

It makes the evidence; `registry` keeps the requests, decides who may approve, and moves. Not for the order of the steps
(`pipelines`).
"""
