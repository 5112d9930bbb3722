"""Versions of models and the stage of each, requests to move one and decisions on them, who answers which traffic.

Our state database is the truth; MLflow's registry keeps the artifact and shows the stages as aliases. `Registry.move` is the
only way to a stage other than None, and a share of the traffic takes what Production takes. Not for making a version (`training`), its evidence (`deployment`), or loading it
(`scoring`).
"""
