"""A credential is found wherever it stands in a text, and what is kept of the text is without it."""

import time

import pytest

from headrace.core import credentials
from headrace.core.errors import ConfigError
from headrace.core.state import State

HELD = [
    "postgresql://me:hu/hush@host/db",
    "postgresql://me:hu hush@host/db",
    "postgresql://me too:hu hush@host/db",
    "postgresql://me:hu'hush@host/db",
    'postgresql://me:hu"hush@host/db',
    "read https://example.org first, then postgresql://me:hu hush@host/db",
    "postgresql://host/db?password=hu hush",
    "Endpoint=sb://host;SharedAccessKey=hu hush;EntityPath=x",
    "AccountKey=hush",
    "AccountName=a;AccountKey=hush==;x=1",
    "az://container;token=hush",
    "https://host/x?sv=1&sig=hush&se=2",
    "s3://b?AWS_SECRET_ACCESS_KEY='hu hush'",
    "see https://host/x password=hush",
    '{"password": "hu hush", "user": "me"}',
    "postgresql://host/db?p%61ssword=hush",
    "https://host/x?code=hush",
    "select * from t where token = 'hu hush' and n = 1",
    "redis://:hush'hu@host",
    "://u:hu hush@host",
    '://u:hu"hush@host',
    "://u://hush@host",
    "://us#er:hush@host",
    "://us?er:hush@host",
    "://u:hu@hush@host",
    "://u:hu\nhush@host",
    "see x/redis://u:hu hush@host",
    "snowflake://bob@example.org:hush@account/db",
    "jdbc:postgresql://u:hush@host",
    "oracle://scott/hush@host",
    "https://u:8080/hush@host",
    "https://u:8080/x hush@host",
    "//user:hush@host/db",
    "see //user:hush@host/db",
    "x = //user:hu'hush@host/db",
    "passcode=hush",
    "jwt=hush",
    "dbpw=hush",
    "tok=hush",
    "PassWord[]=hush",
    "login[password]=hush",
    "\uff50assword=hush",
    "\uff50\uff41\uff53\uff53word=hush",
    "--password=hush",
    "_password=hush",
    "(password=hush)",
    "password='#hush'",
    "token=…hush",
    "odbc_connect=PWD=hush",
    "state = {secret = 'hush'}",
]
PLAIN = [
    "sqlite:///state.db",
    "see https://example.org:8080/x, said bob@example.org",
    "https://me@github.com/a/b",
    "the labels came late: ask bob@example.org",
    "select count(*) from shop.orders where placed_at > '2024-01-01 10:00'",
    "s3://bucket/folder?region=eu-1",
    "sqlite:////data/10:00/me@home.db",
    "https://me@github.com:443/a",
    "abfss://container@account.dfs.core.windows.net/x",
    "token=…&password='…'",
    "postgresql://me:…@host/db",
    "state = {secret = 'STATE'}",
]


@pytest.mark.parametrize("text", HELD)
def test_a_credential_is_found_and_not_kept(text):
    assert credentials.is_in(text)
    assert "hu" not in credentials.hidden(text)
    assert not credentials.is_in(credentials.hidden(text))


@pytest.mark.parametrize("text", PLAIN)
def test_what_holds_none_is_kept_as_it_is(text):
    assert not credentials.is_in(text)
    assert credentials.hidden(text) == text


def test_the_rest_of_a_text_is_kept():
    assert credentials.hidden("postgresql://me:hu sh@host/db") == "postgresql://me:…@host/db"
    assert credentials.hidden("select 1 where token = 'hu sh' and n = 1") == "select 1 where token = … and n = 1"


def test_an_error_of_a_driver_repeats_no_password_with_a_space():
    url = "postgresql://me:hu sh@host/db"
    assert "hu sh" not in credentials.without("cannot log in as me with 'hu sh'", url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:hunt?er2@h:bad/db?x=1", "postgresql://u@h:bad/db"),
        ("bogus://u:hunt;er2@h/db", "bogus://u@h/db"),
        ("bogus://us#er:hunter2@h/db", "bogus://us@h/db"),
        ("postgresql://u:hunt@er2@h/db", "postgresql://u@h/db"),
        ("//u:hunt?er2@h/db", "…"),
        ("u:hunter2@h/db", "…"),
        ("postgresql://me@h:5432/db?sslmode=require", "postgresql://me@h:5432/db"),
        ("sqlite:///x.db", "sqlite:///x.db"),
    ],
)
def test_a_url_is_shown_without_its_password(url, shown):
    assert credentials.shown(url) == shown


@pytest.mark.parametrize(
    ("url", "text", "kept"),
    [
        ("postgresql://u:p@ss@h/db", "no pump at postgresql://u:p@ss@h/db", "no pump at postgresql://u@h/db"),
        ("postgresql://u:p@ss@h/db", "wrong p@ss of a peer", "wrong … of a peer"),
        ("postgresql://u:p%40ss@h/db", "wrong p@ss of a peer", "wrong … of a peer"),
        ("postgresql://u:abc@h/db", "abc is the alphabet", "abc is the alphabet"),
        ("postgresql://u:hush@h/db@x", "not hush", "not …"),
        ("sc://h/;token=hush", "not hush", "not …"),
    ],
)
def test_a_driver_s_error_keeps_what_is_no_secret(url, text, kept):
    assert credentials.without(text, url) == kept


@pytest.mark.parametrize(
    "url", ["bogus://u:hunt;er2@h/db", "postgresql://u:hunt?er2@h:bad/db", "u:hunt er2@h", "hunter2", "//u:hunter2@h"]
)
def test_a_state_database_that_cannot_be_is_said_without_its_password(url):
    with pytest.raises(ConfigError) as error:
        State(url)
    assert "hunt" not in str(error.value)
    assert "er2" not in str(error.value)


@pytest.mark.parametrize(
    "piece",
    ["://a:", "=a:", "/a=", "/password=", "http://", "a ", "a", "a@", "://a:@", "'a:", '"', "?code=", "{secret='A", " ",
     "//", "/://", "/a:a@", 'a="', "%25", "\uff50=", "e\u0301\u0323", "\u0301\u0323", "http://a:1/ "],
)  # fmt: skip
@pytest.mark.parametrize(
    "look",
    [credentials.hidden, credentials.shown, lambda text: credentials.without(text, text)],
    ids=["hidden", "shown", "without"],
)
def test_a_crafted_text_takes_no_longer_than_another(look, piece):
    text = (piece * 40_000)[:40_000]

    begun = time.process_time()
    look(text)
    look(f"{text}@h")
    assert time.process_time() - begun < 5  # a quadratic look takes far longer
