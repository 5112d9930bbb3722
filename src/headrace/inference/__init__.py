"""Batch scoring: rows of a spine, with their features as of each decision, through a model version into a table.

Online serving is a neighbour that will share `scoring`; joining labels and judging quality is `monitoring`.
"""
