"""How a request asks and how an answer says it: MLflow's scoring server, Open Inference (V2), and keys by name.

Not for HTTP (`connection`), nor for the shapes of rows (`codec`).
"""
