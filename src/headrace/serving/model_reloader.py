"""Follows `serving.json`: new versions are loaded beside the current ones, and replace them in one assignment."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from headrace.core.errors import HeadraceError
from headrace.scoring.spool import Spool
from headrace.serving.app import NOTHING
from headrace.serving.cors import Cors
from headrace.serving.declarations import milliseconds
from headrace.serving.latency import Latency
from headrace.serving.loading import load, routes_of
from headrace.serving.manifest import FILE
from headrace.serving.observers import Observers
from headrace.serving.predictors import ChainPredictor
from headrace.serving.shadow import Shadows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from headrace.serving.api_keys import ApiKeys
    from headrace.serving.app import App
    from headrace.serving.certificate import Certificate
    from headrace.serving.listener import Listener
    from headrace.serving.manifest import Manifest
    from headrace.serving.traffic import ServedTraffic
    from headrace.serving.worker_metrics import Siblings

LOG = logging.getLogger(__name__)

Mark = tuple[int, int] | None  # of serving.json
LOOK = 0.2  # seconds between looks at serving.json
ASK_STORE = 1.0  # seconds between two looks at an online store that is not on this machine
INTERVAL = 5.0  # seconds between two records of what the server did
TROUBLE = "trouble"


class Follower:
    """Keeps an app at what `<home>/serving.json` says.

    Attributes:
        home: of the model.
        beside: other files that are followed.
        observers: who watches requests.
        siblings: where its counters are left for other processes at the port; None for a process that is alone.
    """

    def __init__(self, app: App, home: Path) -> None:
        self.app, self.home = app, home
        self.beside: Sequence[ApiKeys | Certificate] = ()
        self.observers = Observers(app.counters, app.name)
        self.siblings: Siblings | None = None
        self._listener: Listener | None = None
        self._seen: Mark = None
        self._troubles: dict[str, Path] = {}  # what is wrong, and the file that says so
        self._log_dropped = 0
        self._latency, self._is_slow = Latency(), False
        self._looked = 0.0
        self._since, self._told = datetime.now(UTC), time.monotonic()

    def listen(self, listener: Listener) -> None:
        """From now on the listener's limits, origins and observers are those that the version declares."""
        self._listener = listener
        listener.observers = self.observers.at(None)
        if self.app.traffic is not None:
            self._limit(self.app.traffic.manifest)

    async def watch(self) -> None:
        """Follows, seals the log's segment when no request does, and tells of each interval. What fails is tried again."""
        while True:
            await asyncio.sleep(LOOK)
            if self.changed():
                await self.follow()
            for each in self.beside:
                each.follow()
            if self.siblings is not None:
                self.siblings.write(self.app.counters)
            self.app.writing.tick()
            self._log_told()
            await self._look_at_store()
            if time.monotonic() - self._told > INTERVAL:
                self.tell()

    async def _look_at_store(self) -> None:
        """What `/ready` says of features that are not on this machine."""
        app, now = self.app, time.monotonic()
        traffic = app.traffic
        if traffic is not None and not traffic.primary.features.is_local and now - self._looked > ASK_STORE:
            self._looked = now
            app.published = await asyncio.get_running_loop().run_in_executor(None, traffic.published)

    def changed(self) -> bool:
        """Whether the file is another one than when it was last read."""
        return _mark(self.home / FILE) != self._seen

    async def follow(self) -> None:
        """Loads what the file names, then swaps. What does not load leaves things as they are."""
        app, file = self.app, self.home / FILE
        self._seen = _mark(file)  # before it is read: one that comes meanwhile has another
        if self._seen is None:
            app.trouble = "serving.json is gone; the last version goes on." if app.traffic else NOTHING
            app.withdrawn = app.traffic is not None
            return
        try:
            loaded = await asyncio.get_running_loop().run_in_executor(None, load, file, app.traffic)
            routes = await asyncio.get_running_loop().run_in_executor(None, routes_of, file, loaded.manifest)
            await asyncio.get_running_loop().run_in_executor(None, self.observers.prepare, loaded.manifest.serve)
            self._log_to(loaded.manifest)
        except Exception as error:  # noqa: BLE001  # whatever a package holds, the version at work stays
            self._not_followed(error)
            return
        app.counters.model_reloads += app.traffic is not None
        app.traffic, app.routes, app.trouble, app.withdrawn = loaded, routes, "", False
        self._shadow(loaded)
        self._limit(loaded.manifest)
        self._over("not_followed")
        tell_of(loaded)

    def tell(self, *, last: bool = False) -> None:
        """Counts of the interval that ends, to the log; while that is full, the interval does not end."""
        app = self.app
        for file in self._troubles.values():
            with suppress(OSError):
                os.utime(file)  # still
        self._told = time.monotonic()
        if app.log.trouble and not last:
            return
        interval = app.counters.interval()
        if app.traffic is not None and not isinstance(app.traffic.primary.predictor, ChainPredictor):
            self._slow_told(self._latency.add(interval, milliseconds(app.traffic.manifest.serve.p95)))
        if app.traffic is not None and app.log.spool is not None:
            model = app.traffic.manifest.model
            record = app.log.counted(model, self._since, interval, app.traffic.split)
            if record is not None:
                app.writing.behind([record])
        self._since = datetime.now(UTC)

    def end(self) -> None:
        """The last words, and the log's segment sealed."""
        self.tell(last=True)
        if self.siblings is not None:
            self.siblings.write(self.app.counters)
        if self.app.shadows is not None:
            self.app.shadows.end()
        self.app.writing.end()
        self.observers.end()
        for what in list(self._troubles):
            self._over(what)

    def _untold(self, text: str) -> str:
        """A text as strangers may read it: where files are on this machine is none of their business."""
        for place in (self.home, self.home.resolve()):
            text = text.replace(f"{place.parent.parent}/", "")
        return text

    def _not_followed(self, error: Exception) -> None:
        """In readiness, in the log of the process, and for `headrace up` and `headrace status`."""
        app, known = self.app, isinstance(error, HeadraceError)
        reason = str(error) if known else f"{type(error).__name__}: {error}"
        app.trouble = self._untold(reason) if known else f"{type(error).__name__}; the server's log says more."
        app.counters.model_reload_failures += 1
        LOG.warning("not followed: %s", reason)
        self._trouble("not_followed", reason)

    def _log_told(self) -> None:
        """The same for records that the log did not take."""
        app = self.app
        lost, self._log_dropped = app.counters.log_dropped - self._log_dropped, app.counters.log_dropped
        reason = app.log.trouble or (f"{lost} records came faster than the disk takes them" if lost else "")
        if not reason:
            self._over("log_dropped")
        elif "log_dropped" not in self._troubles:
            LOG.error("not logged: %s", reason)
            self._trouble("log_dropped", reason)

    def _slow_told(self, reason: str) -> None:
        """The same for requests that are slower than declared."""
        if not reason:
            self._over("slow")
        elif not self._is_slow:
            LOG.warning("slow: %s", reason)
            self._trouble("slow", reason)
        self._is_slow = bool(reason)

    def _trouble(self, what: str, reason: str) -> None:
        """Leaves a file that `headrace up` and `headrace status` read."""
        folder = self.home / TROUBLE
        told = {"at": datetime.now(UTC).isoformat(), "what": what, "reason": reason}
        with suppress(OSError):
            folder.mkdir(exist_ok=True)
            making = folder / f".{self.app.name}-{what}"
            making.write_text(json.dumps(told), encoding="utf-8")
            self._troubles[what] = making.replace(folder / f"{self.app.name}-{what}.json")

    def _over(self, what: str) -> None:
        file = self._troubles.pop(what, None)
        if file is not None:
            for ending in (".json", ".told"):
                file.with_suffix(ending).unlink(missing_ok=True)

    def _shadow(self, loaded: ServedTraffic) -> None:
        app = self.app
        if app.shadows is not None and app.shadows.served == loaded.shadows:
            return
        before = app.shadows
        app.shadows = Shadows(self.home, loaded.shadows, app.counters) if loaded.shadows else None
        if before is not None:
            before.end()

    def _limit(self, manifest: Manifest) -> None:
        if (listener := self._listener) is not None:
            serve = manifest.serve
            listener.limits = replace(listener.limits, body=serve.max_body)
            listener.cors = Cors(serve.cors) if serve.cors else None
            listener.observers = self.observers.at(serve)

    def _log_to(self, manifest: Manifest) -> None:
        """The spool that a version declares; the one at work, where it is the same."""
        place, serve = (self.home / manifest.spool).resolve(), manifest.serve
        log, wanted = self.app.log, (place, serve.max_log, serve.fsync)
        if log.spool is not None and (log.spool.folder, log.spool.limit_bytes, log.spool.fsync) == wanted:
            return
        before, log.spool = log.spool, Spool(place, limit_bytes=serve.max_log, fsync=serve.fsync)
        if before is not None:
            before.close()


def tell_of(loaded: ServedTraffic) -> None:
    """On stderr: what is at work, by which tier, and why not by a faster one."""
    for serving in loaded.versions():
        slower = f" ({'; '.join(serving.slower)})" if serving.slower else ""
        role = "" if serving.served.role == "primary" else f", {serving.served.role} of {serving.served.weight:.0%}"
        tier = f"{serving.predictor.tier} tier{slower}"
        LOG.info("%s version %s%s, %s", loaded.manifest.model, serving.served.version, role, tier)
    with suppress(HeadraceError):
        if loaded.primary.features.is_local and (behind := loaded.primary.features.behind()):
            LOG.warning(
                "by key, requests of now find nothing in %s: never published, or longer ago than the look-back. "
                "Next: headrace run publish",
                ", ".join(behind),
            )


def _mark(file: Path) -> Mark:
    """What changes when the file is replaced."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns
