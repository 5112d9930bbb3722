"""Chains: functions that answer with prompts, vector indexes and routes to language models, and their form in a package.

Here the rooms of `llm` come together. Not for how an answer is judged (`training`), nor for calling an endpoint (`llm.gateway`).
"""
