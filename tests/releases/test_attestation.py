"""A statement in an envelope: what is signed is what is read, and nothing else is."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.serialization import load_der_public_key
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import ConfigError, DataError
from headrace.environments.signing_keys import PublicKey
from headrace.releases.attestation import Attestation, new_pair, public_of, sign, verify

PUBLIC, PRIVATE = new_pair()
KEY = PublicKey(name="ci", public=PUBLIC)
DER = bytes.fromhex("302a300506032b6570032100")  # before the 32 bytes, in RFC 8410's form of an Ed25519 key
ATTESTED = Attestation(
    project="shop",
    environment="staging",
    commit="a" * 40,
    tree="b" * 40,
    lock="c" * 64,
    headrace="0.1.0",
    passed=("refresh", "train late"),
    failed=(),
    skipped=("stream late",),
    at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
)
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=20)


@given(
    project=WORDS,
    commit=WORDS,
    lock=st.none() | WORDS,
    passed=st.lists(WORDS, max_size=3).map(tuple),
    failed=st.lists(WORDS, max_size=2).map(tuple),
    at=st.datetimes(timezones=st.just(UTC), min_value=datetime(2000, 1, 1)),  # noqa: DTZ001
)
def test_what_was_signed_is_read_again(project, commit, lock, passed, failed, at):
    made = replace(ATTESTED, project=project, commit=commit, lock=lock, passed=passed, failed=failed, at=at)
    assert verify(sign(made, "ci", PRIVATE), [KEY]) == (made, "ci")


def test_the_envelope_is_dsse_and_the_statement_in_toto():
    envelope = json.loads(sign(ATTESTED, "ci", PRIVATE))
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    payload = base64.b64decode(envelope["payload"])
    # the encoding of DSSE v1, written out: "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body
    signed = b"DSSEv1 28 application/vnd.in-toto+json " + str(len(payload)).encode() + b" " + payload
    key = load_der_public_key(DER + base64.b64decode(PUBLIC.removeprefix("ed25519:")))
    key.verify(base64.b64decode(envelope["signatures"][0]["sig"]), signed)  # raises where it is not the signature
    statement = json.loads(payload)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert statement["subject"] == [{"name": "shop", "digest": {"gitCommit": "a" * 40, "gitTree": "b" * 40}}]
    assert statement["predicate"]["result"] == "PASSED"
    assert statement["predicate"]["passedTests"] == ["refresh", "train late"]


def test_another_key_did_not_sign_it():
    other, other_private = new_pair()
    assert verify(sign(ATTESTED, "ci", other_private), [KEY]) is None  # whatever it calls itself
    assert verify(sign(ATTESTED, "ci", PRIVATE), [PublicKey(name="ci", public=other)]) is None
    assert verify(sign(ATTESTED, "x", PRIVATE), [PublicKey(name="other", public=other), KEY]) == (ATTESTED, "ci")
    assert verify(sign(ATTESTED, "ci", PRIVATE), []) is None


@given(place=st.integers(0), bit=st.integers(0, 7))
def test_one_changed_bit_is_seen(place, bit):
    envelope = json.loads(sign(ATTESTED, "ci", PRIVATE))
    part = bytearray(base64.b64decode(envelope["payload"]))
    part[place % len(part)] ^= 1 << bit
    envelope["payload"] = base64.b64encode(bytes(part)).decode()
    assert verify(json.dumps(envelope), [KEY]) is None


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", "{}", '{"payloadType": "x"}', '{"payloadType": "application/vnd.in-toto+json", "payload": 3}',
     '{"payloadType": "application/vnd.in-toto+json", "payload": "e30=", "signatures": [{"sig": "é"}]}', "[" * 100_000],
)  # fmt: skip
def test_what_is_no_envelope_is_none(text):
    assert verify(text, [KEY]) is None


def test_a_trusted_key_that_signed_something_else_is_told(monkeypatch):
    monkeypatch.setattr(Attestation, "statement", lambda _: b'{"_type": "https://in-toto.io/Statement/v1"}')
    with pytest.raises(DataError, match="no attestation of a test"):
        verify(sign(ATTESTED, "ci", PRIVATE), [KEY])


@pytest.mark.parametrize("wrong", ["PASSED", "FAILED"])
def test_a_result_that_its_own_steps_deny_is_none(monkeypatch, wrong):
    statement = json.loads(replace(ATTESTED, failed=("train late",) if wrong == "PASSED" else ()).statement())
    statement["predicate"]["result"] = wrong
    monkeypatch.setattr(Attestation, "statement", lambda _: json.dumps(statement).encode())
    with pytest.raises(DataError, match="no attestation of a test"):
        verify(sign(ATTESTED, "ci", PRIVATE), [KEY])


@pytest.mark.parametrize(
    "private",
    ["", "secret-of-ours", PUBLIC, PRIVATE[:-8], "ed25519-private:éé"],
    ids=["empty", "a word", "the public key", "cut short", "not base64"],
)
def test_what_is_no_private_key_is_told_without_it(private):
    with pytest.raises(ConfigError, match="holds no private key") as error:
        sign(ATTESTED, "ci", private)
    assert not private or private not in str(error.value)


def test_the_public_key_of_a_private_one():
    assert public_of(f"  {PRIVATE}\n", "ci") == PUBLIC
