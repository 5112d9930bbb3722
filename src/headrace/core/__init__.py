"""What every room needs and none owns: errors, the clock, identifiers, the state database, fail points.

Not for anything that knows a table, a feature or a model. Nothing is below; everything is above.
"""
