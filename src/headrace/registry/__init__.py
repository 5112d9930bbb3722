"""Versions of models and the stage of each. Our state database is the truth; MLflow's registry keeps the artifact.

Not for making a version (`training`) nor for loading one (`scoring`). The one way to a stage other than None is not here
yet: it comes with decisions.
"""
