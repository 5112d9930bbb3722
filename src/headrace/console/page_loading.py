"""Pages by the first word of their path, each module loaded when one of its pages is asked for: the first page comes soon.

What one page asks of operations takes half a second to load, and all of them take several. Once a page was answered, the
others are loaded in the background.
"""

from __future__ import annotations

import threading
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.routing import Router

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

MODULES = MappingProxyType(  # the word after the environment → the module in `pages/`
    {
        "": "home",
        "models": "models",
        "requests": "requests",
        "endpoints": "endpoints",
        "monitors": "monitors",
        "features": "features",
        "tables": "tables",
        "sql": "sql",
        "dashboards": "dashboards",
        "prompts": "prompts",
        "costs": "prompts",
        "traces": "traces",
        "feedback": "feedback",
        "alerts": "alerts",
        "runs": "runs",
        "schedule": "runs",
        "access": "access",
        "audit": "audit",
        "live": "live",
        "sign-in": "sign_in",
        "sign-out": "sign_in",
    }
)


class Pages:
    """The pages as an application.

    Args:
        ahead: whether the other pages are loaded once one was answered.
    """

    def __init__(self, *, ahead: bool) -> None:
        self._ahead = ahead
        self._routers: dict[str, Router] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers with the module that the path names.

        Raises:
            HTTPException: 404, there is no such page.
        """
        words = str(scope["path"]).split("/")
        module = MODULES.get(words[2] if len(words) > 2 else "")
        if module is None:
            raise HTTPException(404)
        router = self._routers.get(module) or await run_in_threadpool(self._load, module)
        await router(scope, receive, send)
        if self._ahead:
            self._ahead = False
            threading.Thread(target=self._load_all, name="headrace-pages", daemon=True).start()

    def _load(self, module: str) -> Router:
        routes = import_module(f"headrace.console.pages.{module}").ROUTES
        return self._routers.setdefault(module, Router(routes))

    def _load_all(self) -> None:
        for module in MODULES.values():
            self._load(module)
