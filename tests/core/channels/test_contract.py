"""What holds for every channel: those of Headrace, and one from outside that the same configuration names."""

import json
import sys
from datetime import UTC, datetime
from textwrap import dedent

import pytest
from tests.support.listeners import url

from headrace.core.errors import ConfigError, HeadraceError, NotFoundError
from headrace.core.events import Event
from headrace.environments.config import load

EVENT = Event(
    id=7, name="alert.opened", subject="late/1", payload={"rule": "auc < 1"}, at=datetime(2024, 1, 2, tzinfo=UTC)
)
PROJECT = '[project]\nname = "shop"\nmodule = "shop"\n[env.dev]\n'
SECRET = "hush-hush"
PAGER = """
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
        with self.path.open("a") as file:
            file.write(f"{event.id} {event.name}\\n")
"""


class Told:
    """A channel as `headrace.toml` describes it, with a far side that can be looked at and can be made to refuse."""

    def __init__(self, toml, folder):
        (folder / "headrace.toml").write_text(PROJECT + toml)
        (self.send,) = load(folder).environment("dev").channels().values()


class OfWebhook(Told):
    def __init__(self, far, folder):
        self.far = far
        super().__init__(
            f'[env.dev.notify.hook]\nkind = "webhook"\nurl = "{url(far)}"\nsigned_with = {{secret = "WORD"}}\n', folder
        )

    def ids(self):
        return [event["id"] for event in self.far.taken]

    def refuse(self):
        self.far.statuses = [500]


class OfEmail(Told):
    def __init__(self, far, folder):
        self.far = far
        port = far.server_address[1]
        toml = f'[env.dev.notify.email]\nhost = "127.0.0.1"\nport = {port}\nsender = "a@x.org"\nto = ["b@x.org"]\n'
        super().__init__(toml, folder)

    def ids(self):
        return [int(text.split(b"X-Headrace-Event: ")[1].split(b"\r\n")[0]) for text in self.far.taken]

    def refuse(self):
        self.far.unknown = ["b@x.org"]


class OfPager(Told):
    def __init__(self, folder):
        self.path = folder / "told"
        toml = f'[env.dev.notify.ops]\nkind = "ops_pager:Pager"\npath = "{self.path}"\nkey = {{secret = "WORD"}}\n'
        super().__init__(toml, folder)

    def ids(self):
        return [int(line.split()[0]) for line in self.path.read_text().splitlines()]

    def refuse(self):
        self.path.mkdir()


@pytest.fixture(params=["webhook", "email", "from outside"])
def told(request, tmp_path, monkeypatch):
    monkeypatch.setenv("WORD", SECRET)
    if request.param == "webhook":
        return OfWebhook(request.getfixturevalue("hook"), tmp_path)
    if request.param == "email":
        return OfEmail(request.getfixturevalue("post"), tmp_path)
    installed(tmp_path, monkeypatch, PAGER)
    return OfPager(tmp_path)


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


def test_what_is_not_taken_is_an_error_of_headrace_without_a_secret(told):
    told.refuse()

    with pytest.raises(HeadraceError) as error:
        told.send(EVENT)

    assert SECRET not in f"{error.value} {error.value!r} {error.value.__cause__!r}"
    assert "Traceback" not in str(error.value)


def test_it_goes_on_after_what_was_not_taken(told):
    told.send(EVENT)
    kept = told.ids()

    assert kept == [7]


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
