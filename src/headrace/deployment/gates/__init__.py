"""What a version must pass on its way to Production: one contract (`base`), and one file for each kind of gate.

The pipelines use a gate's phase and never its class. Not for making the evidence (`deployment.comparison`,
`deployment.serving_bundle`), nor for requests and approvals (`registry`).
"""
