"""Identities, their roles and tokens, their rights, and the audit record.

Not for the meaning of a decision (`registry`, `deployment`): this package identifies callers and keeps the audit
record.
"""
