"""The composition root: `headrace.open("prod")` gives one lazy property a box and no business method.

Faces use it; nothing below imports it.
"""
