"""From full rows and labels to a fitted, judged and packaged model: splits, tuning, fitting, metrics, calibration, package.

Not for finding the rows (`lakehouse`, `features`), nor for keeping versions (`registry`), nor for scoring with one
(`scoring`, which reads the package that is written here). Nothing in this room writes to a store: what it makes is
returned, or put into a folder that the caller names. Neighbours: `registry` below, `scoring` above.
"""
