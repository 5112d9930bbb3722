"""The entry point for notebooks and scripts: `hr.open("prod")` calls `operations`, and holds nothing open.

Not for rules, which are in `operations`, nor for printing (`cli`).
"""
