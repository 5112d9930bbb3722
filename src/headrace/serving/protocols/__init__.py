"""Formats of requests and answers: MLflow's scoring server, Open Inference (V2), and keys by name.

Not for HTTP (`connection`), nor for the shapes of rows (`codec`).
"""
