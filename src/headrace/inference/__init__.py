"""Batch scoring: rows of a spine, with their features as of each decision, through a model version into a table.

Online serving (`serving`) uses `scoring`, too; `monitoring` joins labels and judges quality.
"""
