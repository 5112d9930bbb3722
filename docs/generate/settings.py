"""Settings: the keys of `headrace.toml`, the variables that override them, and other variables of the environment."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from docs.generate.docstrings import cell, definitions, parse, sentence, table

import headrace
from headrace.core.channels.registry import KINDS
from headrace.environments.anchors import Anchors
from headrace.environments.keys import BUDGET_KEYS, CLUSTERS, ENV_KEYS, POLICY_KEYS, ROUTE_KEYS, SPLIT_KEYS
from headrace.environments.parity import PARITY_KEYS
from headrace.environments.project_table import PROJECT_KEYS

PACKAGE = Path(headrace.__file__).parent
OWN_VARIABLE = re.compile(r'"(HEADRACE_[A-Z_]*[A-Z])"')
TABLES = ("notify", "audit", "llm")  # their keys are read from the file alone
INTERNAL = {"HEADRACE_HANDED", "HEADRACE_EMPTY"}  # from a process to one that it starts
VARIABLES = {
    "HEADRACE_TOKEN": "The access token of whoever runs the command: `headrace access token`. Without it, the user of the "
    "operating system acts.",
    "HEADRACE_ENV__<env>__<key>": "A value of `[env.<env>]` in place of that in the file; see the tables above.",
    "HEADRACE_SIGNING_KEY": "The private key that `headrace test integration` signs attestations with, where `[keys.<name>]` names no "
    "other variable.",
    "HEADRACE_LLM_GATEWAY": "Internal: what a server is handed of the routes to language models, through a pipe.",
    "HEADRACE_LLM_ROUTES": "A TOML file with `[routes.NAME]`, for a model with `predict=` that answers outside of a project.",
    "HEADRACE_FAILPOINT": "For tests: the place at which the process ends as by `kill -9`, `step.executed:fit`.",
    "HEADRACE_GITLAB_TOKEN": "The token of GitLab that `headrace ci report` comments with; without it, `GITLAB_TOKEN`.",
    "NO_COLOR": "With any value, commands print no colours.",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "The collector that traces are sent to, where `hr.Serve(traces=True)` is declared.",
}

INTRODUCTION = (
    "A project is a folder with a file `headrace.toml`. [Environments](../environments.md) explains it. A value is read from "
    "the command's option, else from the variable, else from the file. An unknown key is refused. A credential is never "
    'in the file: `{secret = "VARIABLE"}` names the environment variable that holds it.'
)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One key.

    Attributes:
        section: of the file: `env.<env>.audit`.
        key: in that section.
        meaning: what it sets.
        default: what holds where it is left out; empty where the key itself is part of something that may be left out.
        variable: the variable that overrides it; empty where none does.
    """

    section: str
    key: str
    meaning: str
    default: str = ""
    variable: str = ""


def settings() -> list[Setting]:
    """Every key of `headrace.toml`, in the order of the page."""
    return [*_project(), *_parity(), *_environment(), *_inner()]


def _project() -> list[Setting]:
    return [
        Setting(section="project", key=key, meaning=each.meaning, default=each.default)
        for key, each in PROJECT_KEYS.items()
    ]


def _parity() -> list[Setting]:
    return [
        Setting(section="parity", key=key, meaning=each.meaning, default=each.default)
        for key, each in PARITY_KEYS.items()
    ]


def _environment() -> list[Setting]:
    return [
        Setting(section="env.<env>", key=key, meaning=each.meaning, default=each.default, variable=_variable(key))
        for key, each in ENV_KEYS.items()
    ]


def _variable(key: str) -> str:
    if key in POLICY_KEYS or key in TABLES:
        return ""
    inner = "__<name>" if key in SPLIT_KEYS else "__<cluster>__<property>" if key == CLUSTERS else ""
    return f"HEADRACE_ENV__<env>__{key}{inner}"


def _inner() -> list[Setting]:
    """The keys of tables inside of an environment, as the classes that read them describe them."""
    anchors = parse(Anchors).described()
    found = [
        Setting(section="env.<env>.audit", key=key, meaning=anchors.get(key, ""), default="none")
        for key in Anchors.__dataclass_fields__
    ]
    for section, keys in (("llm.routes.<route>", ROUTE_KEYS), ("llm.budgets", BUDGET_KEYS)):
        found += [
            Setting(section=f"env.<env>.{section}", key=key, meaning=each.meaning, default=each.default)
            for key, each in keys.items()
        ]
    kinds = ", ".join(f"`{kind}`" for kind in KINDS)
    kind = f"{kinds}, or a class of your own as `package.module:Class`."
    found.append(Setting(section="env.<env>.notify.<channel>", key="kind", meaning=kind, default="the channel's name"))
    for name, cls in KINDS.items():
        known = parse(cls).described()
        for each in cls.settings:
            form = ' Written as `{secret = "VARIABLE"}`.' if each.secret else ""
            found.append(
                Setting(
                    section=f'env.<env>.notify.<channel>, kind = "{name}"',
                    key=each.name,
                    meaning=f"{known[each.name]}{form}" if each.name in known else "",
                    default="required" if each.required else _default(cls, each.name),
                )
            )
    return found


def _default(cls: type, name: str) -> str:
    default = getattr(cls, name, None)
    return "none" if default is None else f"`{default}`"


def own_variables() -> set[str]:
    """The variables of Headrace that the sources name."""
    texts = (
        path.read_text(encoding="utf-8")
        for path in PACKAGE.rglob("*.py")
        if "examples" not in path.relative_to(PACKAGE).parts
    )
    return {name for text in texts for name in OWN_VARIABLE.findall(text)} - INTERNAL


def _described(setting: Setting) -> str:
    default = setting.default if setting.default == "required" else f"default: {setting.default}"
    variable = f" Variable: `{setting.variable}`." if setting.variable else ""
    return f"{setting.meaning.rstrip('.')}. {sentence(default)}.{variable}"


def page() -> str:
    """The page of settings."""
    blocks = [
        "# Settings",
        INTRODUCTION,
    ]
    sections: dict[str, list[Setting]] = {}
    for each in settings():
        sections.setdefault(each.section, []).append(each)
    for section, keys in sections.items():
        name, _, kind = section.partition(", ")
        blocks.append(f"## [{name}]{f' with {kind}' if kind else ''}".replace("<", "&lt;"))
        if name == "env.<env>":
            blocks.append(
                f"The first {len(POLICY_KEYS)} keys are the *policy* of the environment: no variable sets them. A variable names its "
                "environment: `HEADRACE_ENV__prod__root` sets `root` of `[env.prod]`."
            )
        blocks.append(definitions({each.key: _described(each) for each in keys}))
    variables = [(f"`{name}`", cell(text)) for name, text in VARIABLES.items()]
    blocks += ["## Environment variables", table(("Variable", "Meaning"), variables)]
    return "\n\n".join(blocks)
