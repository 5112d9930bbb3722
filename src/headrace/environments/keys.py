"""The keys that an environment may have in `headrace.toml`, and which of them an environment variable may set."""

from __future__ import annotations

from headrace.core import vault

FILE = "headrace.toml"
VARIABLE = vault.CONFIGURATION  # HEADRACE_ENV__<env>__<key>
POLICY_KEYS = ("code", "releases", "reads", "sample", "approvals")  # never from a variable
ENV_KEYS = (
    *POLICY_KEYS,
    "root",
    "lakehouse",
    "state",
    "tracking",
    "artifacts",
    "online",
    "storage_options",
    "databases",
    "spark",
    "notify",
    "kafka",
    "audit",
)
SPLIT_KEYS = ("storage_options", "databases")  # tables: HEADRACE_ENV__prod__storage_options__AWS_REGION
CLUSTERS = "kafka"  # a table of tables: HEADRACE_ENV__prod__kafka__events__bootstrap_servers
