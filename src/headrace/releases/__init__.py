"""Evidence that a commit was tested, kept beside it in the repository, and a release as one folder that can be carried.

An attestation is an in-toto statement about one commit in a DSSE envelope, signed with Ed25519, in a git note. A bundle has a
release's code, its locked wheels, an image file and a manifest. This box writes, finds and checks both. Which keys are trusted is
a policy of an environment (`environments`); what needs an attestation, who may cut a release and who may go without is decided by
`operations`.
"""
