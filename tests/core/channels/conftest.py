from tests.support.listeners import hook, post  # noqa: F401
