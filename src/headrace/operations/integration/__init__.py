"""The integration test of a commit: every pipeline in a temporary environment, a report, and a signed attestation."""
