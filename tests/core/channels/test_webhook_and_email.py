"""Channels against real servers: what arrives, what is signed, what is tried again, and that no secret leaks."""

import base64
import hashlib
import hmac
import json
import socket
from datetime import UTC, datetime
from email import message_from_bytes, policy

import pytest
from tests.support.listeners import url

from headrace.core.channels.email import Email
from headrace.core.channels.webhook import SIGNATURE, Webhook
from headrace.core.errors import ConfigError, HeadraceError
from headrace.core.events import Event, Outbox, publish
from headrace.core.state import State

EVENT = Event(
    id=7, name="alert.opened", subject="late/1", payload={"rule": "ä < 1"}, at=datetime(2024, 1, 2, 3, tzinfo=UTC)
)


def test_an_event_is_posted_as_one_json_object(hook):
    Webhook(url=url(hook)).send(EVENT)

    ((path, headers, body),) = hook.asked
    assert path == "/hook"
    assert headers["Content-Type"] == "application/json"
    assert SIGNATURE not in headers
    assert json.loads(body) == {
        "id": 7,
        "name": "alert.opened",
        "subject": "late/1",
        "at": "2024-01-02T03:00:00+00:00",
        "payload": {"rule": "ä < 1"},
    }


def test_with_a_secret_the_body_is_signed(hook):
    Webhook(url=url(hook), signed_with="hush").send(EVENT)

    ((_, headers, body),) = hook.asked
    assert headers[SIGNATURE] == "sha256=" + hmac.new(b"hush", body, hashlib.sha256).hexdigest()
    assert b"hush" not in body


def test_credentials_of_the_url_are_sent_and_never_shown(hook):
    webhook = Webhook(url=url(hook, "/services/tok3n?key=tok3n", user="me:p%40ss@"), signed_with="hush")
    hook.statuses = [500]

    with pytest.raises(HeadraceError) as error:
        webhook.send(EVENT)

    ((path, headers, _),) = hook.asked
    assert path == "/services/tok3n?key=tok3n"
    assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")) == b"me:p@ss"
    said = f"{error.value!r} {error.value} {webhook!r} {error.value.__cause__!r}"
    assert f"http://127.0.0.1:{hook.server_port}/…" in said
    assert not [secret for secret in ("p@ss", "p%40ss", "tok3n", "hush") if secret in said]


@pytest.mark.parametrize("status", [400, 404, 500, "hang up"])
def test_what_is_not_taken_raises(hook, status):
    hook.statuses = [status]

    with pytest.raises(HeadraceError, match=f"answered {status}" if isinstance(status, int) else "broke off|reached"):
        Webhook(url=url(hook)).send(EVENT)


def test_a_redirection_is_not_followed(hook):
    hook.statuses, hook.elsewhere = [302], url(hook, "/elsewhere")

    with pytest.raises(HeadraceError, match="answered 302"):
        Webhook(url=url(hook), signed_with="hush").send(EVENT)

    assert [path for path, *_ in hook.asked] == ["/hook"]


def test_nobody_there_and_nobody_answering_raise():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        with pytest.raises(HeadraceError, match="cannot be reached"):
            Webhook(url=f"http://127.0.0.1:{port}/").send(EVENT)
        silent.listen()
        with pytest.raises(HeadraceError, match=r"broke off|cannot be reached"):
            Webhook(url=f"http://127.0.0.1:{port}/", time_out=0.1).send(EVENT)


@pytest.mark.parametrize("bad", ["file:///etc/passwd", "ftp://example.org/x", "example.org", "https://", ""])
def test_only_http_is_posted_to(bad):
    with pytest.raises(ConfigError, match="starts with https://"):
        Webhook(url=bad)


def test_a_url_that_cannot_be_read_is_not_shown():
    with pytest.raises(ConfigError) as told:
        Webhook(url="https://user:pa/ss@host/x")
    assert "pa" not in str(told.value).split("credentials")[0]


def test_a_webhook_that_fails_twice_gets_each_event_once_and_in_order(hook, tmp_path):
    state = State(f"sqlite:///{tmp_path}/state.db")
    outbox, channels = Outbox(state), {"webhook": Webhook(url=url(hook)).send}
    for name in "abc":
        with state.begin() as connection:
            publish(connection, name, "late/1", {})
    hook.statuses = [503, "hang up"]

    troubles = [outbox.deliver(channels, patient=False) for _ in range(4)]

    assert [len(trouble) for trouble in troubles] == [1, 1, 0, 0]
    assert "answered 503 to event 1" in troubles[0][0].error
    assert [event["name"] for event in hook.taken] == ["a", "b", "c"]
    state.close()


def email(server, **more):
    port = server.server_address[1]
    return Email(host="127.0.0.1", port=port, sender="headrace@x.org", to=["ann@x.org", "bob@x.org"], **more)


def test_an_event_is_mailed_to_everybody(post):
    email(post).send(EVENT)

    (raw,) = post.taken
    message = message_from_bytes(raw, policy=policy.default)
    assert (message["From"], message["To"]) == ("headrace@x.org", "ann@x.org, bob@x.org")
    assert message["Subject"] == "[headrace] alert.opened late/1"
    assert message["X-Headrace-Event"] == "7"
    assert message["Date"].datetime == EVENT.at
    assert json.loads(message.get_content()) == {"rule": "ä < 1"}


def test_a_line_break_in_an_event_makes_no_header(post):
    email(post).send(Event(id=1, name="a", subject="late\r\nBcc: eve@x.org", payload={}, at=EVENT.at))

    message = message_from_bytes(post.taken[0], policy=policy.default)
    assert message["Bcc"] is None
    assert message["Subject"] == "[headrace] a late Bcc: eve@x.org"


def test_when_nobody_is_known_there_it_raises_and_when_somebody_is_they_get_it_once(post):
    post.unknown = ["ann"]
    email(post).send(EVENT)
    assert len(post.taken) == 1

    post.unknown = ["ann", "bob"]
    with pytest.raises(HeadraceError, match=r"refused ann@x\.org, bob@x\.org"):
        email(post).send(EVENT)
    assert len(post.taken) == 1


def test_nobody_logs_in_where_others_can_listen(post):
    with pytest.raises(HeadraceError, match="not encrypted") as error:
        email(post, user="me", password="hush").send(EVENT)

    assert post.taken == []
    assert "hush" not in f"{error.value} {email(post, password='hush')!r}"


def test_a_mail_server_that_is_away_raises():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        mail = Email(host="127.0.0.1", port=nobody.getsockname()[1], sender="a@x", to=["b@x"])
        with pytest.raises(HeadraceError, match="cannot be reached"):
            mail.send(EVENT)
