"""Versions of models and the stage of each, requests to move one and decisions on them.

Our state database is the truth; MLflow's registry keeps the artifact and shows the stages as aliases. `Registry.move` is the
only way to a stage other than None. Not for making a version (`training`), its evidence (`deployment`), or loading it
(`scoring`).
"""
