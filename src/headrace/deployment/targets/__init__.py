"""Files for serving a version without this project: for containers, Kubernetes and SageMaker.

Not for building or starting anything: other tools do that with these files.
"""
