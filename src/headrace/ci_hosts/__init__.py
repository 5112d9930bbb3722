"""Hosts of merge requests: the report of an integration test as one comment, on GitHub and on GitLab.

Not for running the test, and not for its attestation: this package reads a finished report and posts it. It opens no
environment. A host is one file beside `base`, and a line in `known`.
"""
