"""The protocols that every server has."""

from __future__ import annotations

from headrace.serving.protocols.mlflow import MLFLOW
from headrace.serving.protocols.native import NATIVE
from headrace.serving.protocols.openai import OPENAI
from headrace.serving.protocols.v2 import V2

PROTOCOLS = (MLFLOW, NATIVE, V2, OPENAI)
