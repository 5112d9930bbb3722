"""What holds for every channel: those of Headrace, and one from outside that the same configuration names."""

import json
import os
import socket
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent

import pytest
from tests.support.listeners import url

from headrace.core.channels.email import Email
from headrace.core.channels.registry import KINDS
from headrace.core.channels.webhook import Webhook
from headrace.core.errors import ConfigError, HeadraceError, NotFoundError
from headrace.core.events import Event, Outbox, publish
from headrace.core.state import State
from headrace.environments.config import load

EVENT = Event(
    id=7, name="alert.opened", subject="late/1", payload={"rule": "auc < 1"}, at=datetime(2024, 1, 2, tzinfo=UTC)
)
PROJECT = '[project]\nname = "shop"\nmodule = "shop"\n[env.dev]\n'
SECRET = "hush-hush"
PAGER = """
import json
import os
from pathlib import Path

import headrace as hr


class Pager(hr.Channel):
    kind = "pager"
    settings = (hr.ChannelSetting(name="path", required=True), hr.ChannelSetting(name="key", secret=True))

    def __init__(self, path, key):
        self.path, self.key = Path(path), key

    def send(self, event):
        if self.path.is_dir():
            raise RuntimeError(f"{self.path} is a folder, says {self.key}")
        line = json.dumps({"id": event.id, "name": event.name, "subject": event.subject})
        with self.path.open("a") as file:
            file.write(f"{line}\\n")
            file.flush()
            os.fsync(file.fileno())
        folder = os.open(self.path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
"""


class Told:
    """A channel as `headrace.toml` describes it, with a far side that can be looked at and can be made to fail.

    Attributes:
        place: what its errors call the far side.
        file: that it writes on this machine; None where there is none.
        failures: the methods that make the far side fail.
    """

    file = None
    failures = ("refuse", "away")

    def __init__(self, toml, folder):
        (folder / "headrace.toml").write_text(PROJECT + toml)
        (self.send,) = load(folder).environment("dev").channels().values()


class OfWebhook(Told):
    failures = (*Told.failures, "hang_up")

    def __init__(self, far, folder):
        self.far, self.place = far, f"127.0.0.1:{far.server_port}"
        toml = '[env.dev.notify.hook]\nkind = "webhook"\nurl = {secret = "ADDRESS"}\nsigned_with = {secret = "WORD"}\n'
        super().__init__(toml, folder)

    def texts(self):
        return [json.dumps(event) for event in self.far.taken]

    def ids(self):
        return [event["id"] for event in self.far.taken]

    def refuse(self):
        self.far.statuses = [500]

    def hang_up(self):
        self.far.statuses = ["hang up"]

    def away(self):
        end(self.far)

    def recover(self):
        self.far.statuses = []


class OfEmail(Told):
    failures = (*Told.failures, "log_in_clear")

    def __init__(self, far, folder):
        self.far, self.folder = far, folder
        port = far.server_address[1]
        self.place = f"127.0.0.1:{port}"
        self.toml = f'[env.dev.notify.email]\nhost = "127.0.0.1"\nport = {port}\nsender = "a@x.org"\nto = ["b@x.org"]\n'
        super().__init__(self.toml, folder)

    def texts(self):
        return [text.decode() for text in self.far.taken]

    def ids(self):
        return [int(text.split("X-Headrace-Event: ")[1].split("\r\n")[0]) for text in self.texts()]

    def refuse(self):
        self.far.unknown = ["b@x.org"]

    def log_in_clear(self):
        super().__init__(f'{self.toml}user = "me"\npassword = {{secret = "WORD"}}\n', self.folder)

    def away(self):
        end(self.far)

    def recover(self):
        self.far.unknown = []


class OfPager(Told):
    def __init__(self, folder):
        self.file = folder / "pager" / "told"
        self.file.parent.mkdir()
        self.place = str(self.file)
        toml = f'[env.dev.notify.ops]\nkind = "ops_pager:Pager"\npath = "{self.file}"\nkey = {{secret = "WORD"}}\n'
        super().__init__(toml, folder)

    def texts(self):
        return self.file.read_text().splitlines() if self.file.is_file() else []

    def ids(self):
        return [json.loads(line)["id"] for line in self.texts()]

    def refuse(self):
        self.file.mkdir()

    def away(self):
        self.file.parent.rmdir()

    def recover(self):
        self.file.rmdir()


def end(server):
    """Nobody listens there any more."""
    server.shutdown()
    server.server_close()


def of_webhook(request, folder, monkeypatch):
    hook = request.getfixturevalue("hook")
    monkeypatch.setenv("ADDRESS", f"{url(hook)}?token={SECRET}")
    return OfWebhook(hook, folder)


def of_email(request, folder, monkeypatch):
    return OfEmail(request.getfixturevalue("post"), folder)


def of_pager(request, folder, monkeypatch):
    installed(folder, monkeypatch, PAGER)
    return OfPager(folder)


CASES = {"webhook": of_webhook, "email": of_email, "from outside": of_pager}
FAILURES = [
    (kind, how)
    for kind, of in (("webhook", OfWebhook), ("email", OfEmail), ("from outside", OfPager))
    for how in of.failures
]


@pytest.fixture(params=CASES)
def told(request, tmp_path, monkeypatch):
    monkeypatch.setenv("WORD", SECRET)
    return CASES[request.param](request, tmp_path, monkeypatch)


def installed(folder, monkeypatch, text):
    """A module that can be imported, as an installed one."""
    (folder / "site").mkdir(exist_ok=True)
    (folder / "site" / "ops_pager.py").write_text(dedent(text))
    monkeypatch.syspath_prepend(folder / "site")
    monkeypatch.delitem(sys.modules, "ops_pager", raising=False)


def test_an_event_arrives_and_the_same_one_again_arrives_with_the_same_id(told):
    told.send(EVENT)
    told.send(EVENT)

    assert told.ids() == [7, 7]


def test_it_says_of_what_the_event_is(told):
    told.send(EVENT)

    (text,) = told.texts()
    assert EVENT.name in text
    assert EVENT.subject in text


def test_one_event_is_one_message_whatever_is_in_its_texts(told):
    told.send(replace(EVENT, subject="late\r\nBcc: eve@x.org\n\n8 ä'\"<b>", payload={"rule": "\r\n.\r\n ü"}))
    told.send(replace(EVENT, id=8))

    assert told.ids() == [7, 8]


@pytest.mark.parametrize(("told", "how"), FAILURES, indirect=["told"])
def test_what_is_not_taken_is_an_error_of_headrace_that_names_the_far_side_and_no_secret(told, how):
    getattr(told, how)()

    with pytest.raises(HeadraceError) as error:
        told.send(EVENT)

    assert told.place in str(error.value)
    assert SECRET not in f"{error.value} {error.value!r} {error.value.__cause__!r}"
    assert "Traceback" not in str(error.value)


def test_what_was_refused_comes_again_in_its_turn_and_arrives_once(told, tmp_path):
    state = State(f"sqlite:///{tmp_path}/state.db")
    outbox, channels = Outbox(state), {"one": told.send}
    for name in "abc":
        with state.begin() as connection:
            publish(connection, name, "late/1", {})
    told.refuse()

    (trouble,) = outbox.deliver(channels, patient=False)
    assert (trouble.event.name, trouble.attempts) == ("a", 1)
    assert told.place in outbox.stuck()["one"]
    assert SECRET not in outbox.stuck()["one"]
    assert told.ids() == []

    told.recover()
    assert [outbox.deliver(channels, patient=False) for _ in range(2)] == [[], []]
    assert told.ids() == [1, 2, 3]
    assert outbox.stuck() == {}
    state.close()


def test_what_it_writes_in_a_file_is_on_the_disk_when_it_returns(told, monkeypatch):
    """Each time: what a process does after the first event may differ from what it did at the first one."""
    synced = {}
    fsync = os.fsync

    def watched(number):
        fsync(number)
        number = number if isinstance(number, int) else number.fileno()
        synced[str(Path(f"/proc/self/fd/{number}").readlink())] = os.fstat(number).st_size

    monkeypatch.setattr(os, "fsync", watched)
    for number in (1, 2):
        told.send(replace(EVENT, id=number))
        if told.file is not None:
            assert synced[str(told.file)] == told.file.stat().st_size
            assert str(told.file.parent) in synced
    assert told.ids() == [1, 2]


def test_a_far_side_that_says_nothing_is_left_alone_after_a_while():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        channels = {
            "webhook": Webhook(url=f"http://127.0.0.1:{port}/", time_out=0.2),
            "email": Email(host="127.0.0.1", port=port, sender="a@x.org", to=["b@x.org"], time_out=0.2),
        }
        assert set(channels) == set(KINDS)
        for each in channels.values():
            began = time.monotonic()
            with pytest.raises(HeadraceError, match=f"127.0.0.1:{port}"):
                each.send(EVENT)
            assert time.monotonic() - began < 4


def test_every_kind_of_channel_is_in_this_suite():
    assert set(KINDS) <= set(CASES)


def channel(folder, toml):
    (folder / "headrace.toml").write_text(PROJECT + toml)
    (send,) = load(folder).environment("dev").channels().values()
    return send


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("class Pager: pass", "is no channel"),
        ("Pager = 3", "is no channel"),
        ("", "is no channel"),
        ("raise ValueError('hush-hush')", "cannot be imported: ValueError"),
    ],
)
def test_a_class_from_outside_that_is_no_channel_is_told_when_an_event_comes(tmp_path, monkeypatch, text, says):
    installed(tmp_path, monkeypatch, text)
    send = channel(tmp_path, '[env.dev.notify.ops]\nkind = "ops_pager:Pager"\n')

    with pytest.raises(HeadraceError, match=says) as error:
        send(EVENT)
    assert SECRET not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ('colour = "red"', "unknown key 'colour'.\n"),
        ("", "there is no 'path'"),
        ('path = "x"', "missing 1 required"),
    ],
)
def test_settings_of_a_channel_from_outside_are_held_against_its_own_list(tmp_path, monkeypatch, settings, says):
    installed(tmp_path, monkeypatch, PAGER)

    with pytest.raises(HeadraceError) as error:
        channel(tmp_path, f'[env.dev.notify.ops]\nkind = "ops_pager:Pager"\n{settings}\n')(EVENT)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ('[env.dev.notify.ops]\nkind = "pidgeon"\n', "kind 'pidgeon' is no kind of channel"),
        ('[env.dev.notify.ops]\nkind = "a:b:c"\n', "no kind of channel"),
        (
            '[env.dev.notify.ops]\nkind = "a:B"\nkey = "hush-hush"\napi_token = "hush-hush"\n',
            "does not belong in a file",
        ),
        ('[env.dev.notify.hook]\nkind = "webhook"\n', "there is no 'url'"),
        ('[env.dev.notify.hook]\nkind = "webhook"\nurl = "https://x"\nuser = "me"\n', "unknown key 'user'"),
    ],
)
def test_what_can_be_known_before_an_event_comes_is_told_when_the_file_is_read(tmp_path, toml, says):
    with pytest.raises((ConfigError, NotFoundError)) as error:
        channel(tmp_path, toml)
    assert says in str(error.value)
    assert SECRET not in str(error.value)


def test_two_channels_of_one_kind_have_names_of_their_own(tmp_path, hook):
    (tmp_path / "headrace.toml").write_text(
        f'{PROJECT}[env.dev.notify]\nwebhook = "{url(hook, "/one")}"\nother = {{kind = "webhook", url = "{url(hook, "/two")}"}}\n'
    )
    channels = load(tmp_path).environment("dev").channels()
    for send in channels.values():
        send(EVENT)

    assert list(channels) == ["webhook", "other"]
    assert [path for path, *_ in hook.asked] == ["/one", "/two"]
    assert json.loads(hook.asked[0][2])["id"] == 7
