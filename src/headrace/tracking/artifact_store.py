"""Access to an object store with artifacts: the environment's `storage_options` in the form of MLflow's S3 client.

MLflow and boto3 read only process variables. These are set while a store is used and no code of a model runs; the
copies in boto3's default session and in MLflow's cached clients are removed with them.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from threading import RLock
from typing import TYPE_CHECKING, Any

from headrace.core import vault
from headrace.core.errors import MissingExtraError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

COPY = "headrace-model-"  # how the temporary folder of a downloaded copy begins
S3 = ("s3://", "s3a://")
CLIENT = ("boto3", "botocore")
_one = RLock()  # the variables are of the whole process
# Options as delta-rs takes them, in small letters and without `aws_`, and the variable that MLflow or boto3 reads.
VARIABLES = {
    "access_key_id": "AWS_ACCESS_KEY_ID",
    "secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "session_token": "AWS_SESSION_TOKEN",
    "token": "AWS_SESSION_TOKEN",
    "region": "AWS_DEFAULT_REGION",
    "default_region": "AWS_DEFAULT_REGION",
    "endpoint": "MLFLOW_S3_ENDPOINT_URL",
    "endpoint_url": "MLFLOW_S3_ENDPOINT_URL",
    "allow_invalid_certificates": "MLFLOW_S3_IGNORE_TLS",
}
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
S3_SAID = re.compile(r"An error occurred \((?P<code>\w+)\) when calling .*")  # as boto3 words it
MISSING = ("404", "NoSuchKey")  # an answer, not a refusal
OF_ANOTHER = ("AWS_SESSION_TOKEN", "AWS_PROFILE")  # what the keys of an option do not go with


def variables(options: Mapping[str, str]) -> dict[str, str | None]:
    """The process variables that say what these options of an object store say; None for one that must not be set."""
    found: dict[str, str | None] = {}
    for name, value in options.items():
        option = name.lower().removeprefix("aws_")
        if option in VARIABLES:
            found[VARIABLES[option]] = value
        elif option == "virtual_hosted_style_request":
            found["MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE"] = "virtual" if value.lower() == "true" else "path"
        elif option == "skip_signature" and value.lower() == "true":
            found["MLFLOW_EXPERIMENTAL_S3_SIGNATURE_VERSION"] = "unsigned"
        elif name.isupper() and name.startswith(vault.LIBRARIES):
            found[name] = value
    if all(key in found for key in KEYS):
        found = {**dict.fromkeys(OF_ANOTHER), **found}
    return found


def check_client(place: str) -> None:
    """Says before anything is fitted that artifacts could not be kept.

    Raises:
        MissingExtraError: artifacts are on S3, and its client is not installed.
    """
    if place.startswith(S3) and find_spec("boto3") is None:
        raise MissingExtraError("boto3", "s3", f"artifacts = {place!r}")


def repository(uri: str, store: str | None = None) -> Any:
    """MLflow's own reader and writer of the place that a URI means, which may name a model or a run.

    Args:
        uri: of artifacts.
        store: the URL of the tracking store that knows it; default: the one of MLflow's fluent calls.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    found: Any = get_artifact_repository(uri, tracking_uri=store, registry_uri=store)
    while (inner := getattr(found, "repo", None)) is not None:
        found = inner
    return found


def is_here(kept: Any) -> bool:
    """Whether a place of artifacts is a folder of this machine, which is read where it is."""
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    return isinstance(kept, LocalArtifactRepository)


class ArtifactStore:
    """Where artifacts are, and what gives access.

    Args:
        place: the folder or URL; for messages.
        options: gives the options of the object store, secrets in clear; None where there are none.
    """

    def __init__(self, place: str, options: Callable[[], Mapping[str, str]] | None) -> None:
        self._place, self._options = place, options
        self._session: Any = None  # of boto3, with what it has loaded

    @contextmanager
    def reached(self) -> Generator[None]:
        """While artifacts are read or written, and no code of a model runs: MLflow finds what gives access.

        Raises:
            UnavailableError: the object store does not answer, or refuses.
            MissingExtraError: its client is not installed.
        """
        given = variables(self._options()) if self._options is not None else {}
        with _one, vault.lent(), _set(given), self._own_session():
            try:
                yield
            except ModuleNotFoundError as error:
                if (error.name or "").partition(".")[0] not in CLIENT:
                    raise
                raise MissingExtraError("boto3", "s3", f"Artifacts at {self._place}") from None
            except Exception as error:
                if (reason := _refusal(error)) is not None:
                    raise UnavailableError(
                        f"artifacts at {self._place} cannot be reached: {reason.splitlines()[0][:300]}",
                        hint=f"Is the bucket there, and do {self._named} name its endpoint and keys?",
                    ) from error
                raise

    @property
    def _named(self) -> str:
        if self._options is None:
            return "MLFLOW_S3_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        return "storage_options in headrace.toml"

    @contextmanager
    def _own_session(self) -> Generator[None]:
        """Other code of this process gets no client, and no credentials, that were made meanwhile."""
        before = _swap(self._session)
        _forget_clients()
        try:
            yield
        finally:
            self._session = _swap(before)
            _forget_clients()


def _swap(session: Any) -> Any:
    """Puts a default session in the place of boto3's; gives the one that was there."""
    boto3: Any = sys.modules.get("boto3")
    if boto3 is None:
        return None
    before, boto3.DEFAULT_SESSION = boto3.DEFAULT_SESSION, session
    return before


def _forget_clients() -> None:
    clients: Any = sys.modules.get("mlflow.store.artifact.s3_artifact_repo")
    if clients is not None:
        clients._cached_get_s3_client.cache_clear()  # noqa: SLF001


def _refusal(error: Exception) -> str | None:
    """What the object store said when it did not answer, or refused; None where it is something else that happened.

    MLflow raises its own error for what the client of S3 raised, and tells of failed downloads in a text only.
    """
    mlflow: Any = sys.modules.get("mlflow.exceptions")
    refusals = _refusals()
    if not refusals:
        return None
    if isinstance(error, refusals):
        return str(error)
    if mlflow is None or not isinstance(error, mlflow.MlflowException):
        return None
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, refusals) and _code(inner) not in MISSING:
            return str(inner)
        for told in S3_SAID.finditer(str(inner)):
            if told["code"] not in MISSING:
                return told[0]
        inner = inner.__cause__ or inner.__context__
    return None


def _code(error: BaseException) -> str:
    answered: Any = getattr(error, "response", None) or {}
    return str(answered.get("Error", {}).get("Code", ""))


def _refusals() -> tuple[type[Exception], ...]:
    """What the client of S3 raises; nothing where it was not imported."""
    if "botocore" not in sys.modules or "boto3" not in sys.modules:
        return ()
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    return (Boto3Error, BotoCoreError, ClientError)


@contextmanager
def _set(given: Mapping[str, str | None]) -> Generator[None]:
    before = {name: os.environ.get(name) for name in given}
    _write(given)
    try:
        yield
    finally:
        _write(before)


def _write(given: Mapping[str, str | None]) -> None:
    for name, value in given.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
