"""Destinations of predictions: a table of the lakehouse, a table of an SQL database, or files.

`base` is the contract, each destination has one file, and `opening` creates them from their declarations.
"""
