"""A credential is found wherever it stands in a text, and what is kept of the text is without it."""

import pytest

from headrace.core import credentials

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
]
PLAIN = [
    "sqlite:///state.db",
    "see https://example.org:8080/x, said bob@example.org",
    "https://me@github.com/a/b",
    "the labels came late: ask bob@example.org",
    "select count(*) from shop.orders where placed_at > '2024-01-01 10:00'",
    "s3://bucket/folder?region=eu-1",
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
