"""What a test of a commit says: an in-toto statement with the predicate "test result", in a signed DSSE envelope.

Sources: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md,
https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md and
https://github.com/secure-systems-lab/dsse/blob/master/protocol.md.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from headrace.core.clock import instant
from headrace.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from headrace.environments.signing_keys import PublicKey

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://in-toto.io/attestation/test-result/v0.1"
PAYLOAD = "application/vnd.in-toto+json"
MOST = 8  # signatures of an envelope that are looked at
PRIVATE = "ed25519-private:"  # before the 32 bytes of a private key, in base64


@dataclass(frozen=True, kw_only=True)
class Attestation:
    """The result of an integration test of one commit.

    Attributes:
        project: the name of the project.
        environment: the environment that was tested in: `staging`.
        commit: git's id of the commit.
        tree: git's id of the project's tree in it. Commits with the same tree have the same code.
        lock: the SHA-256 of the lock file in that commit; None where it has none.
        headrace: the version that ran the test.
        passed: the steps that passed.
        failed: the steps that failed: of an attestation that counts there are none.
        skipped: the steps that did not apply.
        at: when the test ended.
    """

    project: str
    environment: str
    commit: str
    tree: str
    lock: str | None
    headrace: str
    passed: tuple[str, ...]
    failed: tuple[str, ...]
    skipped: tuple[str, ...]
    at: datetime

    def statement(self) -> bytes:
        """The in-toto statement as JSON."""
        subject = {"name": self.project, "digest": {"gitCommit": self.commit, "gitTree": self.tree}}
        configuration = [{"name": "headrace", "annotations": {"version": self.headrace}}]
        if self.lock is not None:
            configuration.append({"name": "requirements.lock", "digest": {"sha256": self.lock}})
        predicate = {
            "result": "FAILED" if self.failed else "PASSED",
            "configuration": configuration,
            "passedTests": list(self.passed),
            "failedTests": list(self.failed),
            "skippedTests": list(self.skipped),
            "environment": self.environment,
            "finishedOn": self.at.isoformat(),
        }
        statement = {"_type": STATEMENT, "subject": [subject], "predicateType": PREDICATE, "predicate": predicate}
        return json.dumps(statement, sort_keys=True, separators=(",", ":")).encode()

    @staticmethod
    def of(statement: bytes) -> Attestation:
        """Reads a statement.

        Raises:
            DataError: it is no statement of a test result of one commit.
        """
        try:
            told: Any = json.loads(statement)
            if (told["_type"], told["predicateType"]) != (STATEMENT, PREDICATE):
                raise ValueError(told["predicateType"])  # noqa: TRY301
            (subject,) = told["subject"]
            predicate = told["predicate"]
            versions = {str(each["name"]): each for each in predicate["configuration"]}
            failed = _texts(predicate["failedTests"])
            if (predicate["result"] == "PASSED") == bool(failed):
                raise ValueError("result")  # noqa: TRY301
            lock = versions.get("requirements.lock")
            return Attestation(
                project=str(subject["name"]),
                environment=str(predicate["environment"]),
                commit=str(subject["digest"]["gitCommit"]),
                tree=str(subject["digest"]["gitTree"]),
                lock=None if lock is None else str(lock["digest"]["sha256"]),
                headrace=str(versions["headrace"]["annotations"]["version"]),
                passed=_texts(predicate["passedTests"]),
                failed=failed,
                skipped=_texts(predicate["skippedTests"]),
                at=instant(str(predicate["finishedOn"])),
            )
        except (ValueError, KeyError, TypeError, ConfigError) as error:
            raise DataError(f"this is no attestation of a test: {type(error).__name__}: {error}") from error


def sign(attestation: Attestation, key: str, private: str) -> str:
    """The attestation in an envelope, on one line.

    Args:
        attestation: what is attested.
        key: the name of the key.
        private: the private key, as `new_pair` gives it.

    Raises:
        ConfigError: this is no private key. It is not repeated.
    """
    return seal(attestation.statement(), key, private)


def seal(payload: bytes, key: str, private: str) -> str:
    """An in-toto statement in a signed envelope, on one line.

    Args:
        payload: the statement as JSON.
        key: the name of the key.
        private: the private key, as `new_pair` gives it.

    Raises:
        ConfigError: this is no private key. It is not repeated.
    """
    signature = _private(private, key).sign(_pre_authentication(payload))
    envelope = {
        "payloadType": PAYLOAD,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": key, "sig": base64.b64encode(signature).decode()}],
    }
    return json.dumps(envelope, separators=(",", ":"))


def verify(envelope: str, trusted: Iterable[PublicKey]) -> tuple[Attestation, str] | None:
    """What an envelope attests, and the name of the trusted key that signed it; None where none of these keys did.

    A name in the envelope is a hint: the signature is what counts.

    Raises:
        DataError: one of the keys signed it, and it is no attestation of a test.
    """
    opened = unseal(envelope, trusted)
    return None if opened is None else (Attestation.of(opened[0]), opened[1])


def unseal(envelope: str, trusted: Iterable[PublicKey]) -> tuple[bytes, str] | None:
    """The statement in an envelope, and the name of the trusted key that signed it; None where none of these keys did."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        told: Any = json.loads(envelope)
        if told["payloadType"] != PAYLOAD:
            return None
        payload = base64.b64decode(told["payload"], validate=True)
        signatures = [base64.b64decode(each["sig"], validate=True) for each in told["signatures"][:MOST]]
    except (ValueError, KeyError, TypeError, binascii.Error, RecursionError):
        return None
    for key in trusted:
        for signature in signatures:
            try:
                Ed25519PublicKey.from_public_bytes(key.content).verify(signature, _pre_authentication(payload))
            except InvalidSignature:
                continue
            return payload, key.name
    return None


def new_pair() -> tuple[str, str]:
    """A new pair of keys: the public one as `headrace.toml` has it, and the private one as the variable has it."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from headrace.environments.signing_keys import ALGORITHM

    key = Ed25519PrivateKey.generate()
    public = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    return f"{ALGORITHM}{public}", f"{PRIVATE}{base64.b64encode(key.private_bytes_raw()).decode()}"


def public_of(private: str, key: str) -> str:
    """The public key that belongs to a private one.

    Raises:
        ConfigError: this is no private key. It is not repeated.
    """
    from headrace.environments.signing_keys import ALGORITHM

    return f"{ALGORITHM}{base64.b64encode(_private(private, key).public_key().public_bytes_raw()).decode()}"


def _private(text: str, key: str) -> Any:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    content = text.strip()
    try:
        if not content.startswith(PRIVATE):
            raise ValueError  # noqa: TRY301
        return Ed25519PrivateKey.from_private_bytes(base64.b64decode(content.removeprefix(PRIVATE), validate=True))
    except (ValueError, binascii.Error):
        raise ConfigError(
            f"the variable of the key {key!r} holds no private key.",
            hint=f"It begins with {PRIVATE}; headrace release keygen {key} makes a new pair.",
        ) from None


def _pre_authentication(payload: bytes) -> bytes:
    """What is signed: DSSE's encoding of type and content, which no other type can be mistaken for."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD), PAYLOAD.encode(), len(payload), payload)


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in cast("Sequence[object]", value)):
        raise TypeError(f"{value!r} is no list of names")
    return tuple(cast("list[str]", value))
