"""The only room that talks to MLflow: runs with what they logged, logged models, and MLflow's own list of versions.

Not for stages and their history (`registry` owns those; MLflow's tags and aliases are a projection), and not for what a
packaged model looks like inside (`training`). MLflow's types stay in this room: what leaves it are our own records.
Neighbours: `lakehouse` and `jobs` in the same row, which it does not know; `registry`, `training` and `pipelines` above.
"""
