"""What a version must pass on its way to Production: one contract (`base`), and one file for each kind of gate.

The pipelines ask a gate for its phase and never for its class. Not for what makes the evidence (`deployment.comparison`,
`deployment.serving_bundle`), nor for requests and approvals (`registry`).
"""
