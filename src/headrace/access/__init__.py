"""Who acts, what they may do, and the record of what was done: identities, roles, tokens, audit.

Not for what a decision means (`registry`, `deployment`): this room answers who somebody is and keeps the record.
"""
