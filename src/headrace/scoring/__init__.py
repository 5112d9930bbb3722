"""Loads a version and predicts: the package that training wrote, read back in the same way on every path.

Not for fetching features (`features`) nor for writing predictions (`inference`).
"""
