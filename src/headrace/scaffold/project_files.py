"""The files that every kind of project has: its environments, its requirements and its CI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.scaffold.templates import render

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from headrace.scaffold.answers import Answers

FILES = {  # path → template
    ".gitignore": "project/gitignore",
    "ci/run": "project/ci_run",
    "headrace.toml": "project/headrace.toml",
    "pyproject.toml": "project/pyproject.toml",
    "requirements-dev.txt": "project/requirements-dev",
    "requirements.txt": "project/requirements",
}
CI = {
    "github": {".github/workflows/headrace.yml": "project/github.yml"},
    "gitlab": {".gitlab-ci.yml": "project/gitlab.yml"},
}
COMES_UP = {  # of each deployment pattern but the default
    "models": "dev trains; the version comes up unchanged",
    "hybrid": "a version comes up from dev; retraining makes further ones",
}
TOLD = {
    "models": "`dev` alone trains. `headrace apply --env staging`, then `--env prod`, copies the version that is in Production below, unchanged;\n"
    "so does `headrace model promote` without a release. The gates of each environment decide.",
    "hybrid": "The version of a release comes up from `dev`: `headrace apply --env staging`, then `--env prod`, copies the one that is in\n"
    "Production below, unchanged. Retraining on an alert makes further ones where the model is used.",
}
OPTIONAL = ("as_of", "approvals", "routes", "offline")  # names of lines that only some kinds have


def shared_templates(answers: Answers[Any]) -> dict[str, str]:
    """Path → template, of the files that every project has, with those of the CI that was chosen."""
    templates = dict(FILES)
    for system in answers.ci:
        templates |= CI[system]
    return templates


def shared_values(answers: Answers[Any], extras: Sequence[str]) -> dict[str, str]:
    """Name in a template → its text, of what every project has; the lines that only some kinds have are empty.

    Args:
        answers: of the project.
        extras: the extras of headrace that the kind needs.
    """
    values = {
        **dict.fromkeys(OPTIONAL, ""),
        "pattern": "" if answers.deploy == "code" else f'pattern="{answers.deploy}",  # {COMES_UP[answers.deploy]}',
        "comes_up": "" if answers.deploy == "code" else TOLD[answers.deploy],
        "name": answers.name,
        "headrace": answers.headrace,
        "python": answers.python,
        "extras": ",".join(extras),
    }
    return {**values, "to_production": render("project/to_production.md", values).rstrip("\n")}


def rendered(templates: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    """Path → text."""
    return {path: render(template, values) for path, template in templates.items()}
