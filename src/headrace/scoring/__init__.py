"""Loads a version and predicts: the packaged form that training wrote, read back the same way on every path.

Not for fetching features (`features`) nor for writing predictions (`inference`).
"""
