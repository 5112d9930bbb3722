"""The only package that uses MLflow: runs and their artifacts, logged models, and MLflow's own list of versions.

Not for stages and their history (`registry` owns those; MLflow's tags and aliases are a projection), and not for the
content of a packaged model (`training`). MLflow's types stay in this package; it returns Headrace's own records.
It does not import `lakehouse` and `jobs`; `registry`, `training` and `pipelines` use it.
"""
