"""What every package needs and none owns: errors, the clock, identifiers, the state database, fail points.

Not for code that knows a table, a feature or a model. `core` imports no other package of Headrace; all others may
import it.
"""
