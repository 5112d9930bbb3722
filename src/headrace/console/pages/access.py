"""Who may do what: roles and who holds them, granting and revoking, and the API keys of programs. No token is ever shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from headrace.console.handlers import acts, reads
from headrace.console.rendering import page
from headrace.core.errors import ConfigError
from headrace.operations.access import grant_role, list_grants, revoke_access
from headrace.operations.api_keys import list_api_keys, revoke_api_key
from headrace.operations.roles import list_roles

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from headrace.console.requests import Form, Problem
    from headrace.operations.operation import At


def index(request: Request, at: At, problem: Problem | None = None) -> Response:
    """Every grant, every role, every API key, and who looks."""
    return page(
        request,
        "access",
        title="Access",
        problem=problem,
        asked=request.url.path.rpartition("/")[2] if problem else "",
        grants=list_grants(at),
        roles=list_roles(at),
        keys=list_api_keys(at),
    )


def grant(request: Request, at: At, form: Form) -> str:
    """Grants a role. Operations say who may."""
    grant_role(at, _written(form, "name"), _written(form, "role"))
    return _address(request)


def revoke(request: Request, at: At, form: Form) -> str:
    """Takes a role away."""
    revoke_access(at, _written(form, "name"), _written(form, "role"))
    return _address(request)


def end_tokens(request: Request, at: At, form: Form) -> str:
    """Ends every token of somebody."""
    revoke_access(at, _written(form, "name"), tokens=True)
    return _address(request)


def revoke_key(request: Request, at: At, form: Form) -> str:
    """Ends an API key."""
    revoke_api_key(at, _written(form, "name"))
    return _address(request)


def _written(form: Form, name: str) -> str:
    text = form.text(name)
    if not text:
        raise ConfigError(f"the field {name} is empty. Nothing was changed.", hint="Fill it in, and send it again.")
    return text


def _address(request: Request) -> str:
    return f"/{request.path_params['env']}/access"


ROUTES = [
    Route("/{env}/access", reads(index)),
    Route("/{env}/access/grant", acts(grant, index), methods=["POST"]),
    Route("/{env}/access/revoke", acts(revoke, index), methods=["POST"]),
    Route("/{env}/access/end-tokens", acts(end_tokens, index), methods=["POST"]),
    Route("/{env}/access/revoke-key", acts(revoke_key, index), methods=["POST"]),
]
