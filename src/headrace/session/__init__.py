"""The face for a notebook or a script: `hr.open("prod")` asks and acts through `operations`, and holds nothing open.

Not for rules, which are in `operations`, nor for what a command prints (`cli`).
"""
