"""The keys that an environment may have in `headrace.toml`, and which of them an environment variable may set."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from headrace.core import vault

if TYPE_CHECKING:
    from collections.abc import Mapping


class Key(NamedTuple):
    """What a key is for; the reference of the documentation shows it.

    Attributes:
        meaning: what it sets, in which form or unit.
        default: what holds where it is left out.
    """

    meaning: str
    default: str


FILE = "headrace.toml"
VARIABLE = vault.CONFIGURATION  # HEADRACE_ENV__<env>__<key>
POLICY_KEYS: Mapping[str, Key] = {  # never from a variable
    "code": Key(
        "What may run: `any` (the working tree), `commit` (committed code) or `release` (a tagged commit).",
        "`any` in the lowest environment, `release` in the highest, `commit` between them",
    ),
    "releases": Key("The pattern that the tag of a release matches, with `*` and `?`.", "`v*`"),
    "reads": Key(
        "The other environments whose tables can be read here, in order: a list, or a table of environments with patterns of "
        'tables, `{prod = ["features.*"]}`. They are never written.',
        "all tables of the highest environment",
    ),
    "sample": Key(
        "The share, over 0 and up to 1, of the decisions that models are trained on and score here, chosen by key.", "1"
    ),
    "ttl": Key(
        "The time to live of tables, `14d`: `headrace up` and `headrace env expire` remove those that were not refreshed for "
        "that long and that nothing depends on. Not in the highest environment.",
        "none: nothing is removed",
    ),
    "trials": Key("The most sets of parameters that tuning tries here, whatever a program declares.", "as declared"),
    "approvals": Key("A list of roles whose approval Production takes here, whatever a program declares.", "none"),
    "attested_by": Key(
        "A list of the names of keys (`[keys.<name>]`). Only a release runs here whose commit has an attestation of its "
        "integration test, signed with one of them.",
        "none: any release runs",
    ),
    "runtime": Key(
        "What code may run with: `any` (whatever is installed), or `locked` (the Python and the distributions that the "
        "`requirements.lock` of the code that runs names).",
        "`any`",
    ),
}
ENV_KEYS: Mapping[str, Key] = {
    **POLICY_KEYS,
    "root": Key(
        "The folder of the embedded stores. A relative path starts at the project's folder.", "`.headrace/<env>`"
    ),
    "lakehouse": Key("The folder of the tables, or the URL of an object store.", "`lakehouse/` in the root"),
    "state": Key("The SQLAlchemy URL of the state database.", "SQLite, `state.db` in the root"),
    "tracking": Key("The MLflow tracking URI.", "SQLite, `mlflow.db` in the root"),
    "artifacts": Key(
        "The folder of the artifacts of runs, or the URL of an object store.",
        "`artifacts/` in the root; with a tracking server, the place that the server names",
    ),
    "online": Key("The file of the online store, or the URL of a Redis.", "`online.db` in the root"),
    "storage_options": Key(
        "A table with the options of the object store of tables and artifacts, under the names of delta-rs.", "none"
    ),
    "databases": Key("A table with SQL databases that predictions are written to: name, SQLAlchemy URL.", "none"),
    "spark": Key(
        "The URL of the Spark Connect server that `headrace run score --engine spark` uses: `sc://host:15002`.", "none"
    ),
    "notify": Key("A table with the channels that receive events, by name.", "none"),
    "kafka": Key("A table with Kafka clusters by name, each with the properties of librdkafka.", "none"),
    "llm": Key("A table with routes to language models and the budgets of a day.", "none"),
    "audit": Key("A table with the places where heads of the audit record are stored.", "none"),
    "catalog": Key(
        "The catalog that this environment writes its document into, a folder or a URL; `false`: it only searches.",
        "the project's `catalog`",
    ),
}
SIGNING_KEYS: Mapping[str, Key] = {
    "public": Key(
        "The public key, `ed25519:` and 32 bytes in base64, as `headrace release keygen` prints it.", "required"
    ),
    "private": Key(
        "A reference to the private key, for the machine that signs: the name of an environment variable.",
        '`{secret = "HEADRACE_SIGNING_KEY"}`',
    ),
}
TEMPORARY = "temporary"  # HEADRACE_ENV__staging__temporary=FOLDER: only a variable says it, for the time of a test
COMMIT = "commit"  # HEADRACE_ENV__staging__commit=ID: the commit that a test is of
SPLIT_KEYS = ("storage_options", "databases")  # tables: HEADRACE_ENV__prod__storage_options__AWS_REGION
CLUSTERS = "kafka"  # a table of tables: HEADRACE_ENV__prod__kafka__events__bootstrap_servers
ROUTE_KEYS: Mapping[str, Key] = {
    "protocol": Key("What the endpoint speaks: `openai` or `anthropic`.", "required"),
    "url": Key("The address of the endpoint, with the path before `/chat/completions` or `/messages`.", "required"),
    "model": Key("The model that is requested there.", "required"),
    "key": Key("A reference to the secret that the endpoint asks for.", "none"),
    "timeout": Key("How long a call may take, all attempts and fallbacks together.", "`60s`"),
    "attempt_timeout": Key("How long one attempt may take.", "as long as the route has"),
    "attempts": Key("How often a call is tried here at most.", "3"),
    "fallback": Key("The route that is tried next when this one cannot answer.", "none"),
    "concurrency": Key("How many calls of one process may be open at a time.", "any number"),
    "requests_per_minute": Key("How many attempts one process may start in a minute.", "any number"),
    "tokens_per_minute": Key("How many tokens one process may send and request in a minute.", "any number"),
    "input_price": Key("Dollars for a million tokens that are sent.", "0"),
    "output_price": Key("Dollars for a million tokens that are answered.", "0"),
    "cache": Key("How long an answer is used again for the same request.", "not at all"),
    "max_tokens": Key("The most tokens of an answer.", "the endpoint's; 4096 where the route has an output price"),
}
BUDGET_KEYS: Mapping[str, Key] = {
    "day": Key("Dollars that may be spent on a day (UTC); 0 is nothing.", "no limit"),
    "user": Key("Dollars that one user may spend on a day (UTC); 0 is nothing.", "no limit"),
    "model": Key("Dollars that may be spent on one model on a day (UTC); 0 is nothing.", "no limit"),
}
