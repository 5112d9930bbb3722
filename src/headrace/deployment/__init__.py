"""Deploys a version: checks, comparison with the version in Production, the served copy, rollback, retraining.

It makes the evidence; `registry` stores requests and decisions, decides who may approve, and moves. Not for the order
of the steps (`pipelines`).
"""
