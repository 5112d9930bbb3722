"""Where a version can be served without this project: what a container, Kubernetes and SageMaker need, as files.

Not for building or starting anything: the files are for the tools that do.
"""
