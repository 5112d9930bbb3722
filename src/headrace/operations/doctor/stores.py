"""Whether the stores of an environment answer: each is asked something that changes nothing, with a short time-out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from headrace.core import credentials
from headrace.core.errors import HeadraceError, UnavailableError
from headrace.core.state import DRIVERS, State, present
from headrace.operations.doctor.clock import ask_http, skew
from headrace.operations.doctor.finding import of_error, ok
from headrace.operations.doctor.limits import Check, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from headrace.environments.config import Config, Environment
    from headrace.environments.secret import Value
    from headrace.operations.doctor.finding import CheckFinding

SECONDS = 12.0  # for all stores together, which are asked at the same time
CONNECT = 3  # seconds, of a database
QUICK = {"connect_timeout": "3s", "timeout": "5s", "max_retries": "0", "retry_timeout": "5s"}  # of delta-rs
STATE, LAKEHOUSE, TRACKING = "state database", "lakehouse", "tracking server"
WAY = "Is it up, and can it be reached from here?"
ENDPOINTS = ("aws_endpoint_url", "aws_endpoint", "endpoint_url", "endpoint")


def ask_stores(config: Config, environment: Environment) -> list[CheckFinding]:
    """Asks each store that is not in a folder of this machine."""
    return run([Check(name, look, WAY) for name, look in _stores(config, environment)], seconds=SECONDS)


def ask_channels(
    environment: Environment, unusable: Callable[[], Mapping[str, HeadraceError]]
) -> Iterator[CheckFinding]:
    """Whether the channels of notifications could be made, with their secrets; nothing is posted."""
    if not environment.notify:
        return
    wrong = unusable()
    yield from (replace(of_error(f"notify {name}", error), result="failed") for name, error in wrong.items())
    if well := [name for name in environment.notify if name not in wrong]:
        yield ok("notify", f"{', '.join(well)} can be made; nothing was posted")


def _stores(config: Config, environment: Environment) -> Iterator[tuple[str, Callable[[], Iterator[CheckFinding]]]]:
    if not _is_file(environment.state):
        yield STATE, partial(_database, STATE, lambda: environment.state_url)
    if "://" in environment.lakehouse_root and not environment.lakehouse_root.startswith("file:"):
        yield LAKEHOUSE, partial(_object_store, LAKEHOUSE, environment.lakehouse_root, environment)
    if environment.artifacts_declared and environment.artifacts_root.startswith("s3://"):
        yield "artifacts", partial(_object_store, "artifacts", environment.artifacts_root, environment)
    if not _is_file(environment.tracking):
        yield TRACKING, partial(_tracking, environment)
    if not isinstance(environment.online, str) or "://" in environment.online:
        yield "online store", partial(_online, config, environment)
    for name, value in environment.databases.items():
        if not _is_file(value):
            yield f"database {name}", partial(_database, f"database {name}", partial(environment.database_url, name))
    for name in environment.kafka:
        yield f"kafka {name}", partial(_kafka, environment, name)
    if environment.spark is not None:
        yield "spark", partial(_spark, environment)


def _is_file(value: Value) -> bool:
    return isinstance(value, str) and (value.startswith(("sqlite", "file:")) or "://" not in value)


def _database(check: str, url: Callable[[], str]) -> Iterator[CheckFinding]:
    text = url()
    if text.startswith("sqlite"):
        return
    database = State(_hurried(text))
    try:
        before = datetime.now(UTC)
        with database.read() as connection:
            theirs = connection.execute(select(present(connection))).scalar_one()
        after = datetime.now(UTC)
    except SQLAlchemyError:
        raise UnavailableError(f"{credentials.shown(text)} cannot be asked.", hint=WAY) from None
    finally:
        database.close()
    yield ok(check, f"{credentials.shown(text)} answers")
    if text.startswith("postgresql"):
        yield skew(f"the {check}", theirs, before, after)


def _hurried(text: str) -> str:
    """The URL of a database that is not waited for: drivers wait for minutes."""
    try:
        url = make_url(text)
        if url.get_dialect().driver not in DRIVERS or "connect_timeout" in url.query:
            return text
    except (ArgumentError, ValueError, SQLAlchemyError, ImportError):  # said where it is opened
        return text
    return url.update_query_dict({"connect_timeout": str(CONNECT)}).render_as_string(hide_password=False)


def _object_store(check: str, root: str, environment: Environment) -> Iterator[CheckFinding]:
    from headrace.lakehouse.storage import Place

    options = environment.storage_options
    Place.at(root, {**QUICK, **options}).owner()
    yield ok(check, f"{root} answers")
    endpoint = next((value for name, value in options.items() if name.lower() in ENDPOINTS), None)
    if endpoint is not None and check == LAKEHOUSE:
        _, clock = ask_http(endpoint, "/", "the object store")
        yield from [clock] if clock else []


def _tracking(environment: Environment) -> Iterator[CheckFinding]:
    url = environment.tracking_url
    if not url.startswith(("http://", "https://")):
        yield from _database(TRACKING, lambda: url) if "://" in url else ()
        return
    shown, clock = ask_http(url, "/health", "the tracking server")
    yield ok(TRACKING, f"{shown} answers")
    yield from [clock] if clock else []


def _online(config: Config, environment: Environment) -> Iterator[CheckFinding]:
    from headrace.features.online.opening import open_store

    store = open_store(environment.online_address, config.folder)
    if Path(store.place).is_absolute():  # a file
        return
    store.owner()
    yield ok("online store", f"{store.place} answers")


def _kafka(environment: Environment, name: str) -> Iterator[CheckFinding]:
    from headrace.inference.streaming.clients import check_cluster

    brokers = check_cluster(environment.cluster(name))
    yield ok(f"kafka {name}", f"{brokers} broker{'s' if brokers != 1 else ''}")


def _spark(environment: Environment) -> Iterator[CheckFinding]:
    from headrace.inference.engines.spark import check_listens

    check_listens(environment.spark_url)
    yield ok("spark", "listens")
