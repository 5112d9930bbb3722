"""A server of one model that MLflow stores: it follows nothing; the loaded model stays until the end."""

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.core.errors import ConfigError, DataError
from headrace.serving.model_reloader import Follower, tell_of

if TYPE_CHECKING:
    from headrace.serving.app import App
    from headrace.serving.traffic import ServedTraffic


class Fixed(Follower):
    """Keeps an app at one model.

    Args:
        app: that answers with it.
        place: a folder with `MLmodel`, or a URI that MLflow knows.
    """

    def __init__(self, app: App, place: str) -> None:
        super().__init__(app, Path(os.devnull))
        self._place = place
        self._held = ExitStack()  # a copy that was downloaded

    def changed(self) -> bool:
        """See Follower."""
        return False

    async def follow(self) -> None:
        """Loads the model, once.

        Raises:
            ConfigError: it cannot be served.
        """
        try:
            loaded = await asyncio.get_running_loop().run_in_executor(None, _load, self._place, self._held)
        except DataError as error:
            raise ConfigError(error.what, hint=error.hint) from error
        self.app.traffic, self.app.trouble = loaded, ""
        tell_of(loaded)

    def end(self) -> None:
        """See Follower; a copy of the model goes, too."""
        super().end()
        self._held.close()


def _load(place: str, held: ExitStack) -> ServedTraffic:
    from headrace.tracking import store

    store.load()  # without telemetry, errors only on stderr
    from headrace.serving.flavours.load import load_bare

    return load_bare(place, held=held)
