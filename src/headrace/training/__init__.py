"""From full rows and labels to a fitted, evaluated and packaged model: splits, tuning, fitting, metrics, calibration, package.

Not for finding the rows (`lakehouse`, `features`), nor for keeping versions (`registry`), nor for scoring with one
(`scoring`, which reads the package that is written here). Nothing in this package writes to a store: results are
returned, or written into a folder that the caller names. `registry` is the package below, `scoring` the one above.
"""
